package video

import (
	"bytes"
	"container/heap"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"time"
)

// Options says where messages go.
type Options struct {
	// Broker is host:port or a URL of an MQTT broker.
	Broker             string
	Username, Password string
	TLS                *tls.Config // for ssl:// URLs; nil for the defaults
	// Dial, where not nil, makes the connections to the broker in place of the network.
	Dial func() (net.Conn, error)
	// Push, where set, is the address of an HTTP server (http://host:port) that takes what Hikvision
	// cameras post at /vds/push/{camera}; every other one of them then does, its id and secret being
	// user and password.
	Push string
	// ClientID names the connection ("sim-video").
	ClientID string
	// Drain is how long what is in flight at the end may take to be acknowledged (3 s).
	Drain time.Duration
	// Log takes lost connections; nil: nobody hears of them.
	Log *slog.Logger
}

// A Message is one that a camera sent, as Play tells it.
type Message struct {
	Camera  string
	Topic   string
	Payload []byte
	Retain  bool
}

// Play calls each with what all cameras send from one time until before another, in order, and keeps
// the books as Run does, without waiting for the clock. An error of each ends it. It is for a System
// that does not run.
func (s *System) Play(from, to time.Time, each func(m Message) error) error {
	q := s.turns(from)
	for len(q) > 0 && q[0].at < to.UnixMilli() {
		t := &q[0]
		for _, m := range t.step(t.at) {
			if err := each(Message{t.c.device.ID, m.topic, m.payload, m.retain}); err != nil {
				return fmt.Errorf("message of %s: %w", t.c.device.ID, err)
			}
		}
		t.at += t.c.period.Milliseconds()
		heap.Fix(&q, 0)
	}
	return nil
}

// A turn is when a camera next looks.
type turn struct {
	*watcher
	at int64 // Unix ms
}

type turns []turn

func (q turns) Len() int           { return len(q) }
func (q turns) Less(i, j int) bool { return q[i].at < q[j].at }
func (q turns) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *turns) Push(x any)        { *q = append(*q, x.(turn)) }
func (q *turns) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// turns are all cameras', from a time on.
func (s *System) turns(from time.Time) turns {
	q := make(turns, 0, len(s.cameras))
	for i := range s.cameras {
		c := &s.cameras[i]
		period, phase := c.period.Milliseconds(), c.phase.Milliseconds()
		at := (from.UnixMilli()-phase+period-1)/period*period + phase
		q = append(q, turn{s.watcher(i), at})
	}
	heap.Init(&q)
	return q
}

// late is how far Run may be behind before it leaves pictures out, as after a machine's sleep, ms.
const late = 5000

// Run sends until ctx ends, by the clock of the machine; what is in flight then has o.Drain to be
// acknowledged. Call Run once. The error says that the options are not acceptable.
func (s *System) Run(ctx context.Context, o Options) error {
	if o.Broker == "" {
		return errors.New("simulate: video: no broker, want host:port")
	}
	if o.ClientID == "" {
		o.ClientID = "sim-video"
	}
	if o.Drain <= 0 {
		o.Drain = 3 * time.Second
	}
	p := dialPublisher(&o, &s.counters)
	defer p.client.Disconnect(50)
	r := runner{System: s, options: &o, publisher: p, http: &http.Client{Timeout: 30 * time.Second}}
	r.loop(ctx)
	return nil
}

type runner struct {
	*System
	options   *Options
	publisher *publisher
	http      *http.Client
}

func (r *runner) loop(ctx context.Context) {
	giveUp := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(r.options.Drain, func() { close(giveUp) }) })()
	r.publisher.stop = giveUp
	q := r.turns(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(q) > 0 && ctx.Err() == nil {
		t, now := &q[0], time.Now().UnixMilli()
		if wait := t.at - now; wait > 0 {
			timer.Reset(time.Duration(wait) * time.Millisecond)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			continue
		}
		for _, m := range t.step(t.at) {
			r.hand(t.c, &m)
		}
		period := t.c.period.Milliseconds()
		if t.at += period; now-t.at > late {
			t.at += (now - t.at) / period * period
		}
		heap.Fix(&q, 0)
	}
	// What was stepped has been booked and handed over.
	for len(r.publisher.window) > 0 {
		select {
		case <-giveUp:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// hand passes a message on. What has been booked is handed over whether ctx has ended or not.
func (r *runner) hand(c *camera, m *message) {
	if r.options.Push != "" && m.push && c.variant%2 == 0 {
		if err := r.post(c, m.payload); err != nil {
			r.counters.errors.Add(1)
			if r.options.Log != nil {
				r.options.Log.Warn("simulated camera cannot push", "camera", c.device.ID, "error", err)
			}
		}
		return
	}
	r.publisher.publish(m.topic, m.payload, m.retain)
}

// post pushes an alert as Hikvision cameras do, with a picture behind it; they never try again.
func (r *runner) post(c *camera, payload []byte) error {
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	for _, part := range []struct {
		name, kind string
		content    []byte
	}{
		{"Event.xml", "application/xml", payload},
		{"picture.jpg", "image/jpeg", []byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\xff\xd9")},
	} {
		head := textproto.MIMEHeader{}
		head.Set("Content-Disposition", fmt.Sprintf(`form-data; name=%q; filename=%q`, part.name, part.name))
		head.Set("Content-Type", part.kind)
		p, err := parts.CreatePart(head)
		if err != nil {
			return err
		}
		if _, err := p.Write(part.content); err != nil {
			return err
		}
	}
	if err := parts.Close(); err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(r.options.Push, "/")+"/vds/push/"+c.device.ID, &body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", parts.FormDataContentType())
	req.SetBasicAuth(c.device.ID, c.device.Secret)
	resp, err := r.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("answer %s, want 2xx", resp.Status)
	}
	r.counters.pushed.Add(1)
	return nil
}
