package notify

import (
	"context"
	"log/slog"
	"slices"
	"testing"

	"panormus/stream/lease"
	"panormus/stream/log/logtest"
)

// TestTwoProcessesTellOnce: of two desks on one log one sends, the other goes on where it ends.
func TestTwoProcessesTellOnce(t *testing.T) {
	l := logtest.New(t, nil)
	bucket, err := l.KV(t.Context(), "notify_leases")
	if err != nil {
		t.Fatal(err)
	}
	h := newHook(t, nil)
	var desks []*Desk
	var stops []func()
	for range 2 {
		d := testDesk(t, l, webhookTo(t, "ops", h.URL))
		d.queues[0].lease = &lease.Lease{Bucket: bucket, Key: "ops", Last: leaseFor, Log: slog.New(slog.DiscardHandler)}
		desks, stops = append(desks, d), append(stops, start(t, d.runs()...))
		if len(desks) == 1 {
			awaitRunning(t, d)
		}
	}
	told := func(n int) func([]Message) bool {
		return func(m []Message) bool { return len(unique(alarmIDs(m))) == n }
	}
	for i := range 10 {
		publish(t, l, event(i, "raised"))
	}
	h.await(told(10))
	if desks[1].Receivers()[0].Running {
		t.Error("the second sends though the first is there")
	}
	stops[0]()
	for i := range 10 {
		publish(t, l, event(10+i, "raised"))
	}
	taken := h.await(told(20))
	awaitRunning(t, desks[1])
	if ids := alarmIDs(taken); len(ids) != len(unique(slices.Clone(ids))) {
		t.Errorf("told twice: %v", ids)
	}
}

// TestReceiversComeAndGo: settings that change take effect in a desk that serves, and disturb nobody else.
func TestReceiversComeAndGo(t *testing.T) {
	l := logtest.New(t, nil)
	stays, goes, comes := newHook(t, nil), newHook(t, nil), newHook(t, nil)
	settings := func(receivers ...Receiver) Settings {
		s := Settings{Receivers: receivers}
		for _, r := range receivers {
			s.Routes = append(s.Routes, Route{ID: "to-" + r.ID, Receivers: []string{r.ID}, GroupWait: duration(0)})
		}
		return s
	}
	one, two, three := webhookTo(t, "one", stays.URL), webhookTo(t, "two", goes.URL), webhookTo(t, "two", comes.URL)
	d := testDeskWith(t, l, settings(one, two))
	start(t, func(ctx context.Context) error { return d.Run(ctx, func() {}) }, func(ctx context.Context) error { return d.Dead.Run(ctx, func() {}) },
		func(ctx context.Context) error {
			return d.Serve(ctx, func(ctx context.Context, name string, run func(context.Context) error) {
				if err := run(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		})
	awaitRunning(t, d)
	first := d.queues[0]
	publish(t, l, event(1, "raised"))
	is := func(want ...string) func([]Message) bool {
		return func(m []Message) bool { return slices.Equal(alarmIDs(m), want) }
	}
	stays.await(is("1-raised"))
	goes.await(is("1-raised"))

	// The second has another address.
	if err := d.Apply(settings(one, three)); err != nil {
		t.Fatal(err)
	}
	publish(t, l, event(2, "raised"))
	stays.await(is("1-raised", "2-raised"))
	comes.await(is("2-raised"))
	if d.queues[0] != first {
		t.Error("a receiver whose settings are as before was started anew")
	}

	// What cannot be used changes nothing.
	bad := settings(one)
	bad.Routes[0].Receivers = []string{"nobody"}
	if err := d.Apply(bad); err == nil {
		t.Error("a route to a receiver that is not there was taken")
	}
	if err := d.Apply(settings(one, one)); err == nil {
		t.Error("two receivers of one name were taken")
	}
	// The first has gone; its route too.
	if err := d.Apply(settings(three)); err != nil {
		t.Fatal(err)
	}
	if rs, routes := d.Receivers(), d.All(); len(rs) != 1 || rs[0].Receiver != "two" || len(routes) != 1 {
		t.Errorf("receivers %+v, routes %+v", rs, routes)
	}
	publish(t, l, event(3, "raised"))
	comes.await(is("2-raised", "3-raised"))
	if taken := goes.await(func([]Message) bool { return true }); len(taken) != 1 {
		t.Errorf("who is gone was told %v", alarmIDs(taken))
	}
}
