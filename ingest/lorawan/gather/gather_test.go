package gather

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"panormus/ingest"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
)

// sink keeps what it is handed, and acknowledges when told.
type sink struct {
	mu    sync.Mutex
	got   []string
	acks  []uint64
	fails error
	hold  chan struct{} // if not nil, Handle waits for it
}

func (s *sink) Handle(e *ingest.Envelope) error {
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var p envelope.Parser
	var m envelope.Message
	if err := p.Bridge("up", e.Parsed.AppendPayload(nil), &m); err != nil {
		return err
	}
	line := fmt.Sprintf("%s %x at %d:", e.Topic, m.Payload.Raw, e.Received)
	for _, r := range m.Radio.Receptions {
		line += " " + r.Gateway
	}
	s.got = append(s.got, line)
	if e.Token != 0 {
		s.acks = append(s.acks, e.Token)
	}
	return s.fails
}

func (s *sink) Reject(e *ingest.Envelope, why *ingest.Reject) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, fmt.Sprintf("rejected %s %s", e.Topic, why.Reason))
	return nil
}

func (s *sink) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

type acker struct {
	mu  sync.Mutex
	got []uint64
}

func (a *acker) Ack(tokens []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, tokens...)
}

// uplink is a frame with the last byte n, as a gateway heard it.
func uplink(n byte, gateway string, snr float64) *envelope.Message {
	m := &envelope.Message{Kind: envelope.Uplink}
	m.Payload.Raw = []byte{0x40, 4, 3, 2, 1, 0, 7, 0, 9, 9, 9, n}
	m.Radio.Receptions = []envelope.Reception{{Gateway: gateway, SNRdB: snr}}
	return m
}

func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events []string
		g := New(Config{Event: func(m *envelope.Message, _ int64) { events = append(events, m.Kind.String()) }})
		var s sink
		var a acker
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx, &s) }()
		add := func(m *envelope.Message, received int64, token uint64) {
			t.Helper()
			if err := g.Add(m, received, &a, token); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := s.take(); !slices.Equal(got, want) {
				t.Errorf("handed on %q, want %q", got, want)
			}
		}
		add(uplink(1, "far", -5), 1000, 11)
		time.Sleep(50 * time.Millisecond)
		add(uplink(1, "near", 9), 1050, 12)
		add(uplink(2, "far", -5), 1051, 0)
		expect()
		time.Sleep(151 * time.Millisecond)
		expect("lorawan/01020304/frame 400403020100070009090901 at 1000: near far")
		time.Sleep(50 * time.Millisecond)
		expect("lorawan/01020304/frame 400403020100070009090902 at 1051: far")
		if len(a.got) != 0 {
			t.Errorf("acknowledged %v before the log has it", a.got)
		}
		g.Ack(s.acks)
		if !slices.Equal(a.got, []uint64{11, 12}) {
			t.Errorf("acknowledged %v, want both copies", a.got)
		}
		add(uplink(1, "late", 9), 1300, 13) // is known, dropped and acknowledged
		down := uplink(3, "x", 0)
		down.Payload.Raw[0] = 0x60
		add(down, 1300, 14)
		add(&envelope.Message{Kind: envelope.Stats}, 1300, 15)
		if !slices.Equal(a.got, []uint64{11, 12, 13, 14, 15}) || !slices.Equal(events, []string{"stats"}) {
			t.Errorf("acknowledged %v, events %v", a.got, events)
		}
		if err := g.Refuse("lorawan/udp", []byte("x"), frame.Rejectf(frame.ReasonShort, "short"), 1300); err != nil {
			t.Fatal(err)
		}
		expect("rejected lorawan/udp frame_short")
		add(uplink(4, "a", 0), 1400, 0)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		expect("lorawan/01020304/frame 400403020100070009090904 at 1400: a")
		if err := g.Add(uplink(5, "a", 0), 1500, nil, 0); !errors.Is(err, ingest.ErrClosed) {
			t.Errorf("Add after the end: %v", err)
		}
		if st := g.Stats(); st.Copies != 5 || st.Frames != 3 || st.Late != 1 || st.Downlinks != 1 || st.Waiting != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestAddBlocksWhileTheLogIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Max: 1})
		s := sink{hold: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx, &s) }()
		const n = 3 * queueBound
		added := 0
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range n {
				m := uplink(byte(i), "a", 0)
				m.Payload.Raw[1], m.Payload.Raw[2] = byte(i>>8), byte(i>>16)
				if err := g.Add(m, 0, nil, 0); err != nil {
					t.Error(err)
				}
				added++
			}
		})
		synctest.Wait()
		if added >= n || added < queueBound {
			t.Errorf("%d were added while nothing was taken, want some %d", added, queueBound)
		}
		close(s.hold)
		wg.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := len(s.take()); got != n {
			t.Errorf("%d handed on, want %d", got, n)
		}
	})
}

func TestRunEndsWithItsSink(t *testing.T) {
	g := New(Config{Window: time.Millisecond})
	s := sink{fails: ingest.ErrClosed}
	if err := g.Add(uplink(1, "a", 0), 0, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context(), &s); !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("Run: %v", err)
	}
	if err := g.Add(uplink(2, "a", 0), 0, nil, 0); !errors.Is(err, ingest.ErrClosed) {
		t.Errorf("Add: %v", err)
	}
}

type counting struct {
	n    int
	each func()
}

func (c *counting) Handle(*ingest.Envelope) error                 { c.n++; c.each(); return nil }
func (c *counting) Reject(*ingest.Envelope, *ingest.Reject) error { return nil }

func BenchmarkGather(b *testing.B) {
	g := New(Config{Window: time.Millisecond})
	s := counting{each: func() {}}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx, &s) }()
	m := uplink(0, "0102030405060708", 5)
	b.ReportAllocs()
	i := 0
	for ; b.Loop(); i++ {
		m.Payload.Raw[1], m.Payload.Raw[2], m.Payload.Raw[3] = byte(i), byte(i>>8), byte(i>>16)
		if err := g.Add(m, 0, nil, 0); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil || s.n != i {
		b.Fatalf("%d of %d handed on, %v", s.n, i, err)
	}
}
