package live

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/log"
)

// past is a database that holds what the test says.
type past struct {
	latest       []Latest
	open, recent []batch.Event
	signs        []CameraSign
	fail         error
}

func (p *past) LatestValues(_ context.Context, each func(Latest) error) error {
	for _, l := range p.latest {
		if err := each(l); err != nil {
			return err
		}
	}
	return p.fail
}

func (p *past) OpenEpisodes(context.Context) ([]batch.Event, error)      { return p.open, nil }
func (p *past) RecentEvents(context.Context, int) ([]batch.Event, error) { return p.recent, nil }

func (p *past) CameraSigns(context.Context) ([]CameraSign, error) { return p.signs, nil }

func openLog(t *testing.T) *log.Log {
	t.Helper()
	l, err := log.Open(t.Context(), log.Config{Dir: t.TempDir(), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func publish(t *testing.T, l *log.Log, o *batch.Observations) uint64 {
	t.Helper()
	data, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	seq, err := l.Publish(t.Context(), batch.KindObservations, l.Partition(o.Device.At(0)), "", data)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func publishEvents(t *testing.T, l *log.Log, events ...batch.Event) {
	t.Helper()
	data, err := batch.EncodeEvents(events)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), batch.KindEvents, 0, "", data); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass in a minute")
		}
	}
}

// run starts the state and returns once it is ready, with what stops it.
func run(t *testing.T, s *State, f Feeding) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	f.Ready = func() { close(ready) }
	go func() { done <- s.Run(ctx, f) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatalf("it ended before it was ready: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("not ready in a minute")
	}
	return func() error {
		cancel()
		return <-done
	}
}

// TestRestoreAndFollow begins with a database that is complete up to the writer's position and goes
// on with the log, over a stop and a second run.
func TestRestoreAndFollow(t *testing.T) {
	l := openLog(t)
	ms := func(n int64) time.Time { return time.UnixMilli(n).UTC() }
	stored := publish(t, l, one("a", "m", 1000, 1, ""))
	publish(t, l, one("a", "m", 2000, 2, "")) // logged, not stored
	publish(t, l, one("b", "m", 1500, 5, ""))
	if err := l.SetPosition(t.Context(), "writer", batch.KindObservations, log.Position{Seq: stored}); err != nil {
		t.Fatal(err)
	}
	publishEvents(t, l, event("1", "hot", "a", "major", "raised", 1), event("2", "dark", "b", "info", "raised", 2), event("3", "dark", "b", "info", "cleared", 3))
	reg := &fakeRegistry{}
	for _, id := range []string{"a", "b", "c"} {
		reg.put(devices.Device{ID: id, Domain: "lighting"})
	}
	h := &past{
		latest: []Latest{
			{Domain: "lighting", Device: "a", Metric: "m", Time: ms(1000), Value: 1},
			{Domain: "lighting", Device: "a", Metric: "status", Time: ms(900), Value: math.NaN(), Text: "ok"},
			{Domain: "lighting", Device: "c", Metric: "m", Time: ms(3), Value: 9},
			{Domain: "lighting", Device: "removed since", Metric: "m", Time: ms(3), Value: 9},
		},
		open:   []batch.Event{event("1", "hot", "a", "major", "raised", 1)}, // the log tells of it again
		recent: []batch.Event{event("1", "hot", "a", "major", "raised", 1)},
	}
	s := New(reg, nil, nil)
	f := Feeding{Log: l, History: h, Writer: "writer"}
	stop := run(t, s, f)
	if it := item(t, s, "a"); it.Values["m"] != 2.0 || it.Values["status"] != "ok" || it.Alarm == nil || *it.Alarm != "major" {
		t.Errorf("a is %+v, want m 2 from the log, status from the database, alarm major", it)
	}
	if item(t, s, "b").Values["m"] != 5.0 || item(t, s, "c").Values["m"] != 9.0 || s.Lookup("removed since") != nil {
		t.Errorf("b %v, c %v, removed %v", item(t, s, "b").Values, item(t, s, "c").Values, s.Lookup("removed since"))
	}
	if n := len(s.RecentEvents(10, nil)); n != 3 || len(s.episodes.open) != 1 {
		t.Errorf("%d events and %d open episodes, want 3 and 1: none twice", n, len(s.episodes.open))
	}
	publish(t, l, one("a", "m", 3000, 3, ""))
	eventually(t, func() bool { return item(t, s, "a").Values["m"] == 3.0 })
	reg.put(devices.Device{ID: "a", Domain: "lighting", Name: "Lamp A"})
	eventually(t, func() bool { return item(t, s, "a").Name == "Lamp A" })
	if err := stop(); err != nil {
		t.Errorf("the end of ctx gives %v", err)
	}

	publish(t, l, one("a", "m", 4000, 4, ""))
	if _, err := l.Publish(t.Context(), batch.KindObservations, 0, "", []byte("no batch")); err != nil {
		t.Fatal(err)
	}
	publish(t, l, one("b", "m", 4000, 8, ""))
	h.fail = errors.New("the database is asked once only")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, f) }()
	eventually(t, func() bool { return item(t, s, "a").Values["m"] == 4.0 && item(t, s, "b").Values["m"] == 8.0 })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("the second run ends with %v", err)
	}
}

// TestRestoreFails leaves the state as it is and can be tried again.
func TestRestoreFails(t *testing.T) {
	l := openLog(t)
	h := &past{fail: errors.New("away")}
	s := New(nil, nil, nil)
	if err := s.Run(t.Context(), Feeding{Log: l, History: h, Writer: "writer"}); !errors.Is(err, h.fail) {
		t.Fatalf("%v, want the database's error", err)
	}
	h.fail = nil
	if err := run(t, s, Feeding{Log: l, History: h, Writer: "writer"})(); err != nil {
		t.Error(err)
	}
}

// TestManyRestored goes past the size of one batch.
func TestManyRestored(t *testing.T) {
	h := &past{}
	for i := range 2*batch.MaxRows + 5 {
		h.latest = append(h.latest, Latest{Domain: "lighting", Device: fmt.Sprintf("d%d", i%1000), Metric: fmt.Sprintf("m%d", i/1000), Time: time.UnixMilli(5), Value: math.NaN(), Text: fmt.Sprint(i)})
	}
	s := New(nil, nil, nil)
	if err := s.restoreHistory(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, d := range s.Devices() {
		it, _ := s.Item(d)
		n += len(it.Values)
	}
	if n != len(h.latest) {
		t.Errorf("%d values restored, want %d", n, len(h.latest))
	}
}
