package ingest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
)

// acks collects tokens and what the log held when they came.
type acks struct {
	log *ingesttest.Log

	mu     sync.Mutex
	tokens []uint64
	rows   int // on the log at the last acknowledgement
}

func (a *acks) Ack(tokens []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tokens = append(a.tokens, tokens...)
	a.rows = len(a.log.Rows()) + len(a.log.Rejected())
}

func (a *acks) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.tokens)
}

const now = int64(1_764_000_000_000)

func message(topic, payload string, token uint64) *ingest.Envelope {
	return &ingest.Envelope{Topic: []byte(topic), Payload: []byte(payload), Received: now, Token: token, PacketID: uint16(token)}
}

func handle(t *testing.T, s *ingest.Session, e *ingest.Envelope) {
	t.Helper()
	if err := s.Handle(e); err != nil {
		t.Fatalf("Handle(%s): %v", e.Topic, err)
	}
}

func flush(t *testing.T, p *ingest.Pump) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// balance checks the sum of the counters and that nothing is on its way.
func balance(t *testing.T, p *ingest.Pump) ingest.Stats {
	t.Helper()
	s := p.Stats()
	if s.Received != s.Decoded+s.Rejected+s.Ignored+s.InFlight || s.InFlight != 0 {
		t.Errorf("received %d, want decoded %d + rejected %d + ignored %d and none in flight, have %d", s.Received, s.Decoded, s.Rejected, s.Ignored, s.InFlight)
	}
	return s
}

func TestStoresAndAcks(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	handle(t, s, message("city/lighting/pole-1/telemetry", fmt.Sprintf(`{"ts":%d,"power_w":83.2,"status":"ok"}`, now-1500), 1))
	handle(t, s, message("city/lighting/pole-2/telemetry", `{"on":true}`, 2))
	flush(t, p)
	want := map[string]ingesttest.Row{
		"pole-1 power_w": {Time: now - 1500, Received: now, Domain: "lighting", Device: "pole-1", Metric: "power_w", Value: 83.2, Quality: devices.QualityUnknown},
		"pole-1 status":  {Time: now - 1500, Received: now, Domain: "lighting", Device: "pole-1", Metric: "status", Text: "ok", Quality: devices.QualityUnknown},
		"pole-2 on":      {Time: now, Received: now, Domain: "lighting", Device: "pole-2", Metric: "on", Value: 1, Quality: devices.QualityUnknown},
	}
	got := map[string]ingesttest.Row{}
	for _, r := range l.Rows() {
		got[r.Device+" "+r.Metric] = r
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("rows %+v\nwant %+v", got, want)
	}
	if a.count() != 2 || a.rows != 3 {
		t.Errorf("%d acknowledged with %d rows on the log, want 2 with 3", a.count(), a.rows)
	}
	if s := balance(t, p); s.Decoded != 2 || s.Observations != 3 {
		t.Errorf("stats %+v, want 2 decoded and 3 observations", s)
	}
}

// A message is not acknowledged before the log has it.
func TestNoAckBeforeTheLog(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	l.Block()
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":1}`, 1))
	handle(t, s, message("city/lighting/pole-1/telemetry", `not json`, 2))
	time.Sleep(60 * time.Millisecond) // well beyond the linger: an early acknowledgement would be here
	if n := a.count(); n != 0 {
		t.Errorf("%d acknowledged while the log is blocked, want 0", n)
	}
	if st := p.Stats(); st.InFlight != 2 || st.Received != 2 {
		t.Errorf("stats %+v, want 2 in flight", st)
	}
	l.Unblock()
	flush(t, p)
	if n := a.count(); n != 2 {
		t.Errorf("%d acknowledged, want 2", n)
	}
	balance(t, p)
}

func TestQuality(t *testing.T) {
	l := ingesttest.NewLog()
	reg := ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.Registry = reg })
	low, high := 0.0, 400.0
	ctx := context.Background()
	if err := reg.PutProfile(ctx, devices.Profile{ID: "lamp", Metrics: map[string]devices.Metric{"power_w": {Min: &low, Max: &high}}}); err != nil {
		t.Fatal(err)
	}
	if err := reg.PutDevice(ctx, devices.Device{ID: "pole-1", Domain: "lighting", Profile: "lamp"}); err != nil {
		t.Fatal(err)
	}
	s := p.Session("test", "c1", nil, nil)
	n := 0
	f := func(topic, payload string, at int64, want ...devices.Quality) {
		t.Helper()
		handle(t, s, message(topic, payload, 0))
		flush(t, p)
		rows := l.Rows()[n:]
		n += len(rows)
		if len(rows) != len(want) {
			t.Fatalf("%s: %d rows, want %d", payload, len(rows), len(want))
		}
		for i, r := range rows {
			if r.Quality != want[i] || r.Time != at {
				t.Errorf("%s: row %d: quality %06b at %d, want %06b at %d", payload, i, r.Quality, r.Time, want[i], at)
			}
		}
	}
	const pole, minute = "city/lighting/pole-1/telemetry", 60_000
	ts := func(ms int64, rest string) string { return fmt.Sprintf(`{"ts":%d,%s}`, ms, rest) }
	f(pole, ts(now, `"power_w":83,"x":1`), now, 0, 0)
	f(pole, ts(now, `"power_w":400,"y":1`), now, 0, 0)
	f(pole, ts(now, `"power_w":400.1,"x":1`), now, devices.QualityRange, 0)
	f(pole, ts(now, `"x":1,"power_w":-0.1`), now, 0, devices.QualityRange)
	f(pole, ts(now, `"power_w":"much"`), now, 0)
	f(pole, ts(now+10*minute, `"x":1`), now+10*minute, 0)
	f(pole, ts(now+10*minute+1, `"x":1`), now, devices.QualityClock)
	f(pole, `{"ts":"2015-01-01T00:00:00Z","x":1}`, 1420070400000, 0)
	f(pole, `{"ts":"2014-12-31T23:59:59Z","x":1}`, now, devices.QualityClock)
	f(pole, `{"ts":0,"power_w":500}`, now, devices.QualityClock|devices.QualityRange)
	f("city/mobility/pole-1/telemetry", ts(now, `"x":9`), now, devices.QualityIdentity)
	f("city/lighting/stranger/telemetry", ts(now, `"x":1`), now, devices.QualityUnknown)
	f("city/waste/stranger/telemetry", ts(now, `"x":2`), now, devices.QualityUnknown|devices.QualityIdentity)
	if err := reg.PutDevice(ctx, devices.Device{ID: "stranger", Domain: "waste"}); err != nil {
		t.Fatal(err)
	}
	f("city/waste/stranger/telemetry", ts(now, `"x":3`), now, 0)
}

func TestRefuseUnknown(t *testing.T) {
	l := ingesttest.NewLog()
	reg := ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.Registry, c.RefuseUnknown = reg, true })
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":1}`, 1))
	if err := reg.PutDevice(context.Background(), devices.Device{ID: "pole-1", Domain: "lighting"}); err != nil {
		t.Fatal(err)
	}
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":2}`, 2))
	flush(t, p)
	st := balance(t, p)
	if st.RejectedBy[ingest.ReasonUnknownDevice] != 1 || st.Decoded != 1 || a.count() != 2 {
		t.Errorf("stats %+v, %d acknowledged; want one rejected, one decoded, both acknowledged", st, a.count())
	}
}

func TestMaxDevices(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.MaxDevices = 3 })
	s := p.Session("test", "c1", nil, nil)
	for i := range 5 {
		handle(t, s, message(fmt.Sprintf("city/lighting/pole-%d/telemetry", i), `{"a":1}`, 0))
	}
	flush(t, p)
	if st := balance(t, p); st.Decoded != 3 || st.RejectedBy[ingest.ReasonUnknownDevice] != 2 {
		t.Errorf("stats %+v, want 3 decoded and 2 rejected", st)
	}
}

func TestDeadLetter(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	huge := strings.Repeat("x", ingest.MaxPayload+1)
	for i, m := range []struct {
		topic, payload string
		reason         ingest.Reason
	}{
		{"city/lighting/pole-1/telemetry", `{"a":`, ingest.ReasonSyntax},
		{"city/lighting/pole-1/telemetry", "", ingest.ReasonEmpty},
		{"city/lighting/pole-1/telemetry", huge, ingest.ReasonTooLarge},
		{"city/LIGHTING/pole-1/telemetry", `{"a":1}`, ingest.ReasonTopic},
		{"city/lighting/pole 1/telemetry", `{"a":1}`, ingest.ReasonTopic},
		{"city/lighting//telemetry", `{"a":1}`, ingest.ReasonTopic},
		{"city//pole-1/telemetry", `{"a":1}`, ingest.ReasonTopic},
		{"city/lighting/" + strings.Repeat("p", 129) + "/telemetry", `{"a":1}`, ingest.ReasonTopic},
		{"city/lighting/pole-1/telemetry/senml", `{"a":1}`, ingest.ReasonType},
		{"city/lighting/pole-1/telemetry/senml-cbor", `{"a":1}`, ingest.ReasonSyntax},
		{"application/1/device/zz/event/up", `{"object":{"a":1}}`, ingest.ReasonMissing},
	} {
		handle(t, s, message(m.topic, m.payload, uint64(i+1)))
		flush(t, p)
		rows := l.Rejected()
		if len(rows) != i+1 {
			t.Fatalf("%s %.20q: %d in the dead letter, want %d", m.topic, m.payload, len(rows), i+1)
		}
		r := rows[i]
		want := m.payload[:min(len(m.payload), 64<<10)]
		if r.Reason != string(m.reason) || r.Topic != m.topic || r.Source != "test" || string(r.Payload) != want || r.Detail == "" || r.Received.UnixMilli() != now {
			t.Errorf("%s %.20q: %.200s, want reason %s", m.topic, m.payload, fmt.Sprint(r), m.reason)
		}
		if a.count() != i+1 {
			t.Errorf("%d acknowledged, want %d", a.count(), i+1)
		}
	}
	balance(t, p)
}

func TestIgnored(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	old := message("city/lighting/pole-1/telemetry", `{"a":1}`, 1)
	old.Retained = true
	handle(t, s, old)
	handle(t, s, message("application/1/device/7894e8000005874b/event/integration", `{}`, 2))
	handle(t, s, message("something/else", `{}`, 3))
	handle(t, s, message("city/+/x/telemetry", `{"a":1}`, 4)) // no topic a message can have
	s.Ignore(message("city/lighting/pole-1/telemetry", ``, 5))
	flush(t, p)
	st := balance(t, p)
	want := map[string]uint64{"retained": 1, "event": 1, "gathered": 0, "unrouted": 2, "cleared": 1, "duplicate": 0}
	if !reflect.DeepEqual(st.IgnoredBy, want) || st.Ignored != 5 || a.count() != 5 || len(l.Rows()) != 0 {
		t.Errorf("stats %+v, %d acknowledged, %d rows; want %v, all acknowledged, no rows", st, a.count(), len(l.Rows()), want)
	}
}

func TestDuplicates(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	a := &acks{log: l}
	s, other := p.Session("test", "c1", a, nil), p.Session("test", "c2", a, nil)
	const pole = "city/lighting/pole-1/telemetry"
	timed := fmt.Sprintf(`{"ts":%d,"a":1}`, now)
	dup := func(e *ingest.Envelope) *ingest.Envelope {
		e.Dup = true
		return e
	}
	n, dups := 0, 0
	f := func(s *ingest.Session, e *ingest.Envelope, stored bool) {
		t.Helper()
		handle(t, s, e)
		flush(t, p)
		if stored {
			n++
		} else {
			dups++
		}
		if got := len(l.Rows()); got != n {
			t.Fatalf("%s dup=%v id=%d: %d rows, want %d", e.Payload, e.Dup, e.PacketID, got, n)
		}
	}
	f(s, message(pole, timed, 1), true)
	f(s, dup(message(pole, timed, 1)), false)                           // sent again
	f(s, message(pole, timed, 7), false)                                // published again by the client's library
	f(other, message(pole, timed, 0), false)                            // over another connection, at QoS 0
	f(s, message("city/lighting/pole-2/telemetry", timed, 2), true)     // another device
	f(s, message(pole, fmt.Sprintf(`{"ts":%d,"a":1}`, now+1), 3), true) // another time
	f(s, message(pole, `{"a":1}`, 4), true)                             // no time: the same again is news…
	f(s, message(pole, `{"a":1}`, 4), true)                             // …also under a packet id used again…
	f(s, dup(message(pole, `{"a":1}`, 4)), false)                       // …but not when sent again
	f(s, dup(message(pole, `{"a":1}`, 5)), true)                        // whose first sending never came
	f(other, dup(message(pole, `{"a":1}`, 4)), true)                    // another client's packet 4
	// Not all of it has a time: news, and two rows each.
	for range 2 {
		n++
		f(s, message(pole, fmt.Sprintf(`[{"ts":%d,"b":1},{"b":2}]`, now), 0), true)
	}
	st := balance(t, p)
	if st.Duplicates != uint64(dups) || a.count() != 10 {
		t.Errorf("%d duplicates and %d acknowledged, want %d and 10", st.Duplicates, a.count(), dups)
	}
}

// The acknowledgement of a repetition waits for the original.
func TestDuplicateWaitsForOriginal(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	l.Block()
	payload := fmt.Sprintf(`{"ts":%d,"a":1}`, now)
	handle(t, s, message("city/lighting/pole-1/telemetry", payload, 1))
	ingesttest.Eventually(t, "the first batch is on its way", func() bool { return p.Stats().InFlight == 1 })
	handle(t, s, message("city/lighting/pole-1/telemetry", payload, 2))
	time.Sleep(30 * time.Millisecond)
	if n := a.count(); n != 0 {
		t.Errorf("%d acknowledged while the original is not on the log, want 0", n)
	}
	l.Unblock()
	flush(t, p)
	if a.count() != 2 || len(l.Rows()) != 1 {
		t.Errorf("%d acknowledged, %d rows; want 2 and 1", a.count(), len(l.Rows()))
	}
	balance(t, p)
}

// While the log is blocked a lane holds a bounded number of rows and Handle blocks; the end of the
// session frees it.
func TestBackpressure(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.BatchRows = 100 })
	done := make(chan struct{})
	s := p.Session("test", "c1", nil, done)
	l.Block()
	blocked := make(chan error, 1)
	handled := make(chan int, 1)
	go func() {
		for i := range 10_000 {
			if err := s.Handle(message("city/lighting/pole-1/telemetry", `{"a":1,"b":2}`, uint64(i+1))); err != nil {
				handled <- i
				blocked <- err
				return
			}
		}
		blocked <- nil
	}()
	ingesttest.Eventually(t, "blocked", func() bool { return p.Stats().Blocked == 1 })
	if n := p.Stats().InFlight; n > 100 {
		t.Errorf("%d messages held, want at most 100: two batches of 50", n)
	}
	close(done)
	if err := <-blocked; err != ingest.ErrClosed {
		t.Errorf("Handle: %v, want ErrClosed", err)
	}
	n := <-handled
	l.Unblock()
	flush(t, p)
	if st := balance(t, p); st.Decoded != uint64(n) || st.Blocked != 0 {
		t.Errorf("stats %+v, want %d decoded", st, n)
	}
}

// Messages without rows and repetitions are bounded as well, by their number.
func TestBackpressureWithoutRows(t *testing.T) {
	for _, payload := range []string{`{"a":null}`, fmt.Sprintf(`{"ts":%d,"a":1}`, now)} {
		l := ingesttest.NewLog()
		p := ingesttest.NewPump(t, l, nil)
		done := make(chan struct{})
		s := p.Session("test", "c1", nil, done)
		l.Block()
		handled := make(chan int, 1)
		go func() {
			n := 0
			// The first goes out and holds the log; what follows is all the same.
			for s.Handle(message("city/lighting/pole-1/telemetry", `{"b":1}`, 1)) == nil && s.Handle(message("city/lighting/pole-1/telemetry", payload, 2)) == nil && n < 200_000 {
				for n++; n%1000 != 0; n++ {
					if s.Handle(message("city/lighting/pole-1/telemetry", payload, 2)) != nil {
						handled <- n
						return
					}
				}
			}
			handled <- n
		}()
		ingesttest.Eventually(t, "blocked", func() bool { return p.Stats().Blocked == 1 })
		close(done)
		if n := <-handled; n > 3*16384 {
			t.Errorf("%s: %d handled while the log is blocked, want two batches' worth", payload, n)
		}
		l.Unblock()
		flush(t, p)
		balance(t, p)
	}
}

// Texts bound a batch by bytes, before it has many rows.
func TestBatchBytes(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.BatchBytes = 10_000 })
	s := p.Session("test", "c1", nil, nil)
	for i := range 50 {
		handle(t, s, message("city/lighting/pole-1/telemetry", fmt.Sprintf(`{"a":"%d%s"}`, i, strings.Repeat("x", 1000)), 0))
	}
	flush(t, p)
	if st := balance(t, p); st.Batches < 5 || len(l.Rows()) != 50 {
		t.Errorf("%d batches and %d rows, want at least 5 and 50", st.Batches, len(l.Rows()))
	}
}

// A log that takes small batches only gets small ones, with every row that fits in; a message that does not fit is
// rejected with its reason, and of a large rejected one a part is kept.
func TestSmallLog(t *testing.T) {
	l := ingesttest.NewLog()
	l.Most = 256 << 10
	p := ingesttest.NewPump(t, l, nil)
	var wg sync.WaitGroup
	want := make([]int, 4) // rows
	for c := range want {
		wg.Go(func() {
			s := p.Session("test", fmt.Sprint(c), nil, nil)
			random := rand.New(rand.NewPCG(1, uint64(c)))
			for i := range 300 {
				var b strings.Builder
				n := 1 + random.IntN(1<<random.IntN(8)) // records
				for j := range n {
					fmt.Fprintf(&b, `,{"a%d":%d,"b":"%s"}`, random.IntN(50), j, strings.Repeat("x", random.IntN(1<<random.IntN(10))))
				}
				topic := fmt.Sprintf("city/lighting/%s-%d-%d/telemetry", strings.Repeat("p", random.IntN(100)), c, i)
				if err := s.Handle(message(topic, "["+b.String()[1:]+"]", 0)); err != nil {
					t.Error(err)
				}
				want[c] += 2 * n
			}
		})
	}
	wg.Wait()
	flush(t, p)
	rows := 0
	for _, n := range want {
		rows += n
	}
	if got := len(l.Rows()); got != rows || len(l.Rejected()) != 0 {
		t.Errorf("%d rows and %d rejected, want %d and none", got, len(l.Rejected()), rows)
	}
	s := p.Session("test", "large", nil, nil)
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":"`+strings.Repeat("x", 300_000)+`"}`, 0))
	handle(t, s, message("city/lighting/pole-1/telemetry", strings.Repeat("{", 300_000), 0))
	flush(t, p)
	rejected := l.Rejected()
	if len(rejected) != 2 || rejected[0].Reason != string(ingest.ReasonTooLarge) || !strings.Contains(rejected[0].Detail, "max_payload") ||
		!strings.Contains(rejected[1].Detail, "are kept") || len(rejected[1].Payload) < 100_000 {
		t.Errorf("%d rejected, want 2: the first as too_large by max_payload, the second cut", len(rejected))
	}
	balance(t, p)
}

// A log that takes less than it did, or more, is kept to from the next batch on.
func TestLogThatBecomesSmaller(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	s := p.Session("test", "c", nil, nil)
	for i, tc := range []struct{ most, rejected int }{{0, 0}, {256 << 10, 1}, {0, 1}} {
		l.Most = tc.most
		handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":"small"}`, 0))
		flush(t, p)
		handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":"`+strings.Repeat("x", 300_000)+`"}`, 0))
		flush(t, p)
		if got := len(l.Rejected()); got != tc.rejected {
			t.Errorf("round %d, a log that takes %d bytes: %d rejected till now, want %d", i, l.MaxBatch(), got, tc.rejected)
		}
	}
	balance(t, p)
}

// Many senders at once: every message once, acknowledged once, in the lane of its device.
func TestConcurrentSenders(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.BatchRows = 64 })
	const senders, messages = 8, 400
	var wg sync.WaitGroup
	all := make([]*acks, senders)
	for i := range senders {
		all[i] = &acks{log: ingesttest.NewLog()}
		wg.Go(func() {
			s := p.Session("test", fmt.Sprint("c", i), all[i], nil)
			defer s.Release()
			for n := range messages {
				payload := fmt.Sprintf(`{"ts":%d,"a":1,"b":2}`, now+int64(n))
				if n%50 == 49 {
					payload = "garbage"
				}
				if err := s.Handle(message(fmt.Sprintf("city/lighting/pole-%d-%d/telemetry", i, n%7), payload, uint64(n+1))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	flush(t, p)
	st := balance(t, p)
	if want := uint64(senders * messages); st.Received != want || st.Rejected != want/50 {
		t.Errorf("stats %+v, want %d received, %d of them rejected", st, want, want/50)
	}
	seen := map[string]bool{}
	for _, r := range l.Rows() {
		key := fmt.Sprint(r.Device, r.Time, r.Metric)
		if seen[key] {
			t.Fatalf("%s twice", key)
		}
		seen[key] = true
	}
	if want := senders * messages * 49 / 50 * 2; len(seen) != want {
		t.Errorf("%d rows, want %d", len(seen), want)
	}
	for i, a := range all {
		if a.count() != messages {
			t.Errorf("sender %d: %d acknowledged, want %d", i, a.count(), messages)
		}
	}
}

// What is in hand when the pump stops goes to the log, and nothing is taken in after.
func TestStop(t *testing.T) {
	l := ingesttest.NewLog()
	p, err := ingest.New(ingest.Config{Log: l, Registry: ingesttest.NewRegistry(), Decoders: ingesttest.Decoders(), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	s := p.Session("test", "c1", nil, nil)
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":1}`, 1))
	handle(t, s, message("city/lighting/pole-1/telemetry", `bad`, 2))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(l.Rows()) != 1 || len(l.Rejected()) != 1 {
		t.Errorf("%d rows, %d rejected; want 1 and 1", len(l.Rows()), len(l.Rejected()))
	}
	if err := s.Handle(message("city/lighting/pole-1/telemetry", `{"a":2}`, 3)); err != ingest.ErrClosed {
		t.Errorf("Handle after the end: %v, want ErrClosed", err)
	}
	balance(t, p)
}

func TestDecoderPanics(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) {
		c.Decoders = map[string]ingest.Decoder{"boom": func(*ingest.Input, *ingest.Decoded) error { panic("boom") }}
		c.Routes = []ingest.Route{{Filter: "x/+", Decoder: "boom", Domain: "lighting"}}
	})
	s := p.Session("test", "c1", nil, nil)
	handle(t, s, message("x/1", `{}`, 0))
	flush(t, p)
	if r := l.Rejected(); len(r) != 1 || r[0].Reason != string(ingest.ReasonInternal) || !strings.Contains(r[0].Detail, "boom") {
		t.Errorf("%+v, want one internal", r)
	}
	balance(t, p)
}

func TestUplinks(t *testing.T) {
	l := ingesttest.NewLog()
	reg := ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.Registry = reg })
	a := &acks{log: l}
	s := p.Session("test", "c1", a, nil)
	const topic = "application/1/device/7894e8000005874b/event/up"
	event := func(n int) string {
		return fmt.Sprintf(`{"time":"2025-11-24T16:00:0%d+00:00","deviceInfo":{"devEui":"7894E8000005874B","tags":{"domain":"waste"}},"fCnt":%d,"object":{"fill_pct":40},"rxInfo":[{"gatewayId":"g1","rssi":-110},{"gatewayId":"g2","rssi":-90,"snr":3}]}`, n, n)
	}
	handle(t, s, message(topic, event(1), 1))
	flush(t, p)
	if err := reg.PutDevice(context.Background(), devices.Device{ID: "bin-5", Domain: "waste", LoRaWAN: &devices.LoRaWAN{DevEUI: "7894E8000005874B"}}); err != nil {
		t.Fatal(err)
	}
	handle(t, s, message(topic, event(2), 2))
	flush(t, p)
	rows, ups := l.Rows(), l.Uplinks()
	if len(rows) != 2 || rows[0].Device != "7894e8000005874b" || rows[0].Domain != "waste" || rows[1].Device != "bin-5" || rows[1].Quality != 0 {
		t.Errorf("rows %+v, want one of the DevEUI and one of bin-5", rows)
	}
	if len(ups) != 4 || ups[0].Device != "7894e8000005874b" || ups[3].Device != "bin-5" || ups[3].Gateway != "g2" || ups[3].DevEUI != "7894e8000005874b" {
		t.Errorf("uplinks %+v, want two of each", ups)
	}
	balance(t, p)
}

func TestMetricsBalance(t *testing.T) {
	reg := prometheus.NewRegistry()
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.Metrics = reg })
	s := p.Session("test", "c1", nil, nil)
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a":1}`, 0))
	handle(t, s, message("city/lighting/pole-1/telemetry", `{"a"`, 0))
	handle(t, s, message("nowhere", `{}`, 0))
	flush(t, p)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sum[f.GetName()] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	const prefix = "panormus_ingest_"
	if received := sum[prefix+"received_messages_total"]; received != 3 || received != sum[prefix+"decoded_messages_total"]+sum[prefix+"rejected_messages_total"]+sum[prefix+"ignored_messages_total"]+sum[prefix+"in_flight_messages"] {
		t.Errorf("metrics %v, want 3 received that balance", sum)
	}
}

func TestConfigErrors(t *testing.T) {
	f := func(want string, change func(*ingest.Config)) {
		t.Helper()
		cfg := ingest.Config{Log: ingesttest.NewLog(), Registry: ingesttest.NewRegistry(), Decoders: ingesttest.Decoders()}
		change(&cfg)
		if _, err := ingest.New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want an error with %q", err, want)
		}
	}
	f("batches of 65536 bytes, want at least 131072", func(c *ingest.Config) {
		l := ingesttest.NewLog()
		l.Most = 64 << 10
		c.Log = l
	})
	route := func(r ingest.Route) func(*ingest.Config) {
		return func(c *ingest.Config) { c.Routes = []ingest.Route{r} }
	}
	f("linger 51ms, want 1 ms to 50ms", func(c *ingest.Config) { c.Linger = 51 * time.Millisecond })
	f(`route 1, "a/+/+": decoder "xml", want one of bridge, `, route(ingest.Route{Filter: "a/+/+", Decoder: "xml"}))
	f(`no + level`, route(ingest.Route{Filter: "a/b", Decoder: "json"}))
	f(`want two or a domain`, route(ingest.Route{Filter: "a/+", Decoder: "json"}))
	f(`level "b+"`, route(ingest.Route{Filter: "a/b+/+/+", Decoder: "json"}))
	f(`level "#"`, route(ingest.Route{Filter: "a/#/+/+", Decoder: "json"}))
	f(`domain: `, route(ingest.Route{Filter: "a/+", Decoder: "json", Domain: "No Good"}))
}
