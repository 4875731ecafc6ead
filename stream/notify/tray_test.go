package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// memory is a log, a store and a bucket in memory, and the receiver at the end.
type memory struct {
	mu     sync.Mutex
	seq    uint64
	events chan streamlog.Message
	kept   map[string][]byte
	sent   []sent
	fail   func() error
}

type sent struct {
	at time.Time
	m  Message
}

func newMemory() *memory {
	return &memory{events: make(chan streamlog.Message, 1000), kept: map[string][]byte{}}
}

func (m *memory) Read(context.Context, uint64) (Reader, error) { return m, nil }
func (m *memory) Last(context.Context) (uint64, error)         { return 0, nil }
func (m *memory) Next(ctx context.Context) (streamlog.Message, error) {
	select {
	case e := <-m.events:
		return e, nil
	case <-ctx.Done():
		return streamlog.Message{}, ctx.Err()
	}
}
func (m *memory) Close() {}
func (m *memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.kept[key]
	return b, ok, nil
}
func (m *memory) Put(_ context.Context, key string, v []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[key] = v
	return nil
}
func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.kept, key)
	return nil
}
func (m *memory) Watch(ctx context.Context, _ func(string, []byte), synced func()) error {
	synced()
	<-ctx.Done()
	return ctx.Err()
}

type memorySender struct{ *memory }

func (s memorySender) Close() error { return nil }
func (s memorySender) Send(_ context.Context, m *Message) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, sent{time.Now(), *m})
	if s.fail != nil {
		return s.fail()
	}
	return nil
}

// told is what was sent since the last call: when, after begin, and what.
func (m *memory) told(begin time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for _, s := range m.sent {
		out = append(out, fmt.Sprintf("%v %s %s %v", s.at.Sub(begin), s.m.Kind, s.m.Status, alarmIDs([]Message{s.m})))
	}
	m.sent = nil
	return out
}

func (m *memory) publish(t *testing.T, events ...batch.Event) {
	data, err := batch.EncodeEvents(events)
	if err != nil {
		t.Fatal(err)
	}
	m.seq++
	m.events <- streamlog.Message{Seq: m.seq, Data: data}
}

func (m *memory) queue(route *Route, hidden func(batch.Event) bool) *Queue {
	quiet := slog.New(slog.DiscardHandler)
	return &Queue{
		name: "ops", sender: memorySender{m}, maxAge: time.Hour, timeout: time.Second, events: m, states: m, notes: newMemory(), dead: NewDeadLetters(newMemory(), quiet),
		routes: func() []*Route { return []*Route{route} }, hidden: hidden, log: quiet, metrics: newMetrics(nil).of("ops"),
	}
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != len(want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func TestGroupsRepeatsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		hidden := map[string]bool{}
		var mu sync.Mutex
		q := m.queue(&Route{ID: "all", Receivers: []string{"ops"}, Repeat: duration(time.Hour)}, func(e batch.Event) bool {
			mu.Lock()
			defer mu.Unlock()
			return hidden[e.Key]
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		begin := time.Now()
		low := event(8, "raised")
		low.Severity = "info"
		shadow := event(9, batch.ShadowState+"raised")
		m.publish(t, event(1, "raised"), low, shadow)
		time.Sleep(10 * time.Second)
		m.publish(t, event(2, "raised"), event(1, "raised"))
		time.Sleep(19 * time.Second)
		expect(t, "within the wait", m.told(begin))
		time.Sleep(2 * time.Second)
		expect(t, "after the wait", m.told(begin), "30s alarm firing [1-raised 2-raised]")
		time.Sleep(time.Hour)
		expect(t, "after an hour", m.told(begin), "1h0m30s repeat firing [1-raised 2-raised]")
		// One is shelved: it is not repeated, and its end is told all the same.
		mu.Lock()
		hidden["pole-1"] = true
		mu.Unlock()
		time.Sleep(time.Hour)
		expect(t, "after two hours", m.told(begin), "2h0m30s repeat firing [2-raised]")
		end := event(1, "cleared")
		end.Time = end.Time.Add(time.Minute)
		other := event(3, "raised")
		mu.Lock()
		hidden["pole-3"] = true
		mu.Unlock()
		m.publish(t, end, other)
		time.Sleep(time.Minute)
		expect(t, "after the end", m.told(begin), "2h1m1s alarm resolved [1-cleared]")
		mu.Lock()
		hidden["pole-3"] = false
		mu.Unlock()
		time.Sleep(2 * time.Minute)
		expect(t, "after the shelving", m.told(begin), "2h2m1s alarm firing [3-raised]")
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestPausesGrowAndOldMessagesDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.fail = func() error { return errors.New("away") }
		q := m.queue(&Route{ID: "all", Receivers: []string{"ops"}, GroupWait: duration(0), Repeat: duration(0)}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		m.publish(t, event(1, "raised"))
		time.Sleep(59 * time.Minute)
		m.mu.Lock()
		attempts := m.sent
		m.mu.Unlock()
		// 1, 2, 4 … 256 s and then 5 min, each between half and whole: about 20 in an hour.
		if n := len(attempts); n < 15 || n > 40 {
			t.Errorf("%d attempts in an hour, want 15 to 40", n)
		}
		for i := 1; i < len(attempts); i++ {
			pause, most := attempts[i].at.Sub(attempts[i-1].at), min(longestRetry, firstRetry<<min(i-1, 9))
			if pause < most/2 || pause > most {
				t.Errorf("pause %d is %v, want %v to %v", i, pause, most/2, most)
			}
		}
		if n := len(q.dead.All("ops")); n != 0 {
			t.Errorf("%d dead letters before the time", n)
		}
		time.Sleep(10 * time.Minute)
		if dead := q.dead.All("ops"); len(dead) != 1 || dead[0].Error != "away" {
			t.Errorf("dead letters %+v, want the one", dead)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

// TestKilledAfterSending kills the queue when the message has arrived and this is not kept: what comes
// meanwhile must not get into the message that is sent again.
func TestKilledAfterSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		route := &Route{ID: "all", Receivers: []string{"ops"}, GroupWait: duration(2 * time.Second), Repeat: duration(0)}
		q := m.queue(route, nil)
		q.hook = func(step string) error {
			if step == "sent" {
				return errKilled
			}
			return nil
		}
		m.publish(t, event(1, "raised"))
		if err := q.Run(t.Context()); !errors.Is(err, errKilled) {
			t.Fatalf("run: %v, want the kill", err)
		}
		m.seq = 0
		m.publish(t, event(1, "raised")) // the log has it still
		m.publish(t, event(2, "raised"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- m.queue(route, nil).Run(ctx) }()
		time.Sleep(time.Minute)
		m.mu.Lock()
		var ids []string
		for _, s := range m.sent {
			ids = append(ids, s.m.ID)
		}
		m.mu.Unlock()
		if len(ids) != 3 || ids[0] != ids[1] || ids[2] == ids[0] {
			t.Errorf("messages %v, want the first one twice and another", ids)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestFullOutboxStopsReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		away := true
		m.fail = func() error {
			if away {
				return errors.New("away")
			}
			return nil
		}
		q := m.queue(&Route{ID: "all", Receivers: []string{"ops"}, GroupBy: []string{"device"}, GroupWait: duration(0), Repeat: duration(0)}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- q.Run(ctx) }()
		const n = 3 * maxOutbox
		for i := range n {
			m.publish(t, event(i, "raised"))
		}
		time.Sleep(time.Minute)
		if s := q.Status(); s.Waiting != maxOutbox || s.Seq >= n {
			t.Errorf("status %+v, want %d messages and the rest unread", s, maxOutbox)
		}
		m.mu.Lock()
		away, m.sent = false, nil
		m.mu.Unlock()
		time.Sleep(10 * time.Minute)
		m.mu.Lock()
		got := map[string]int{}
		for _, s := range m.sent {
			got[s.m.Alarms[0].ID]++
		}
		m.mu.Unlock()
		if len(got) != n {
			t.Errorf("%d alarms arrived, want %d", len(got), n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

func TestClosedRouteHoldsBack(t *testing.T) {
	nights := []Span{{Days: []string{"mon", "tue", "wed", "thu", "fri"}, From: "20:00", To: "06:00"}}
	r := &Route{ID: "night", Receivers: []string{"ops"}, Schedule: nights, GroupWait: duration(0)}
	tr := newTray("ops", func() []*Route { return []*Route{r} }, nil)
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, rome()) // a Wednesday
	stays, goes := event(1, "raised"), event(2, "raised")
	tr.take(&stays, noon)
	tr.take(&goes, noon)
	if tr.tick(noon) {
		t.Fatal("told while the route is closed")
	}
	if at := tr.next(); !at.Equal(noon.Add(8 * time.Hour)) {
		t.Errorf("told at %v, want at 20:00", at)
	}
	end := event(2, "cleared")
	end.Time = end.Time.Add(time.Minute)
	tr.take(&end, noon.Add(time.Hour))
	if !tr.tick(noon.Add(8*time.Hour)) || len(tr.Outbox) != 1 || fmt.Sprint(alarmIDs([]Message{*tr.Outbox[0].Message})) != "[1-raised]" {
		t.Errorf("outbox %+v, want what still stands at 20:00", tr.Outbox)
	}
}

func TestSchedule(t *testing.T) {
	nights := Span{Days: []string{"fri"}, From: "20:00", To: "06:00"}
	for _, tc := range []struct {
		span Span
		at   string
		want bool
	}{
		{Span{}, "2026-07-01T12:00:00Z", true},
		{Span{From: "08:00", To: "20:00"}, "2026-07-01T05:59:59Z", false}, // 07:59 in summer
		{Span{From: "08:00", To: "20:00"}, "2026-07-01T06:00:00Z", true},
		{Span{From: "08:00", To: "20:00"}, "2026-12-01T06:59:59Z", false}, // 07:59 in winter
		{Span{From: "08:00", To: "20:00"}, "2026-12-01T07:00:00Z", true},
		{Span{From: "08:00", To: "20:00"}, "2026-07-01T18:00:00Z", false},
		{nights, "2026-07-03T18:00:00Z", true},  // Friday 20:00
		{nights, "2026-07-04T03:59:00Z", true},  // Saturday 05:59
		{nights, "2026-07-04T04:00:00Z", false}, // Saturday 06:00
		{nights, "2026-07-03T03:00:00Z", false}, // Friday 05:00 is Thursday's night
		{Span{From: "22:00", To: "24:00"}, "2026-07-01T21:59:00Z", true},
	} {
		at, err := time.Parse(time.RFC3339, tc.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := tc.span.contains(at); got != tc.want {
			t.Errorf("%+v contains %s: %v, want %v", tc.span, tc.at, got, tc.want)
		}
	}
}
