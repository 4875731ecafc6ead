package feed

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/live"
)

// A shared is a message in the making that many clients get: its body is encoded once, and once more
// for each name that clients gave to the subscription.
type shared struct {
	mu     sync.Mutex
	encode func() []byte // the body
	header func(id string) []byte
	tail   []byte
	kind   int // of websocket message
	body   []byte
	byID   map[string]message
}

// maxNames is how many encodings of one body are kept, one a subscription id.
const maxNames = 64

// A message is ready to be written.
type message struct {
	prepared *websocket.PreparedMessage
	data     []byte  // what prepared was made of, and holds
	fanout   *fanout // nil: nobody wants to know when it was written
}

// A fanout is when a frame was written to the first of its clients and to the last so far.
type fanout struct {
	first, last atomic.Int64 // Unix ns; 0: to nobody yet
}

func (f *fanout) note(at time.Time) {
	ns := at.UnixNano()
	f.first.CompareAndSwap(0, ns)
	for last := f.last.Load(); last < ns && !f.last.CompareAndSwap(last, ns); last = f.last.Load() {
	}
}

// took is how long after the first client the last one got the frame, and false if nobody did.
func (f *fanout) took() (time.Duration, bool) {
	first := f.first.Load()
	return time.Duration(max(0, f.last.Load()-first)), first != 0
}

func prepare(kind int, data []byte) message {
	p, err := websocket.NewPreparedMessage(kind, data)
	if err != nil {
		panic("BUG: a message that cannot be prepared: " + err.Error())
	}
	return message{prepared: p, data: data}
}

func text(data []byte) message { return prepare(websocket.TextMessage, data) }

// message is the one for a subscription called id.
func (s *shared) message(id string) message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.byID[id]; ok {
		return m
	}
	if s.body == nil {
		s.body = s.encode()
	}
	data := s.header(id)
	data = append(append(data, s.body...), s.tail...)
	m := prepare(s.kind, data)
	if len(s.byID) < maxNames {
		if s.byID == nil {
			s.byID = map[string]message{}
		}
		s.byID[id] = m
	}
	return m
}

// release forgets the encodings; asked for again, they are made again.
func (s *shared) release() {
	s.mu.Lock()
	s.body, s.byID = nil, nil
	s.mu.Unlock()
}

func appendHead(dst []byte, kind, id string, seq uint64) []byte {
	dst = append(append(append(dst, `{"type":"`...), kind...), `","id":`...)
	dst = live.AppendString(dst, id)
	return strconv.AppendUint(append(dst, `,"seq":`...), seq, 10)
}

func deltaHead(id string, seq uint64) []byte {
	return append(appendHead(nil, "delta", id, seq), `,"items":[`...)
}

var deltaTail = []byte(`]}`)

func snapshotHead(id, epoch string, seq uint64, more bool) []byte {
	dst := appendHead(nil, "snapshot", id, seq)
	dst = live.AppendString(append(dst, `,"epoch":`...), epoch)
	dst = strconv.AppendBool(append(dst, `,"more":`...), more)
	return append(dst, `,"items":[`...)
}
