package api

import (
	"fmt"
	"io"
	"net/http"
	"time"
)

// A pace is how fast the body of a request has to come: Grace for its beginning, and then at least so many
// bytes a second, on the whole. A body that keeps it may take its time, whatever its length; one that
// dribbles has its end with its connection.
type pace struct {
	Grace  time.Duration
	Second int64 // bytes
}

// bodyPace lets what a mobile network carries come, and 64 MiB hold a connection for 35 minutes at most.
var bodyPace = pace{Grace: 30 * time.Second, Second: 32 << 10}

func (p pace) String() string {
	return fmt.Sprintf("it to come within %v, or at %d bytes a second after them", p.Grace, p.Second)
}

// paced gives the body of a request its time, whether somebody reads it or nobody.
func (p pace) paced(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b := &pacedBody{ReadCloser: r.Body, pace: p, connection: http.NewResponseController(w), begun: time.Now()}
	b.extend()
	r.Body = b
}

// pacedBody moves the deadline of its connection on with what has come.
type pacedBody struct {
	io.ReadCloser
	pace
	connection *http.ResponseController
	begun      time.Time
	came       int64
	ended      bool
}

// extend sets the deadline. Where there is none to set, in tests, nobody dribbles.
func (b *pacedBody) extend() {
	_ = b.connection.SetReadDeadline(b.begun.Add(b.Grace + time.Duration(b.came)*time.Second/time.Duration(b.Second)))
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if !b.ended {
		b.extend()
	}
	n, err := b.ReadCloser.Read(p)
	b.came += int64(n)
	if err == io.EOF && !b.ended {
		b.ended = true
		// Else it would end the request while it is worked on: the server goes on to read, to see whether
		// the client is still there.
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}
