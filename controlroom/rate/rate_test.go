package rate

import (
	"strconv"
	"testing"
	"time"
)

func TestTake(t *testing.T) {
	var l Limiter
	const perMinute = 60
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name      string
		after     time.Duration // since the one before
		n         int           // requests at that instant
		let       int
		remaining int
		full      time.Duration
		wait      time.Duration
	}{
		{name: "a full bucket", n: 1, let: 1, remaining: 59, full: time.Second},
		{name: "all of it at once", n: 60, let: 59, remaining: 0, full: time.Minute, wait: time.Second},
		{name: "half of a token", after: 500 * time.Millisecond, n: 1, remaining: 0, full: 59500 * time.Millisecond, wait: 500 * time.Millisecond},
		{name: "a token", after: 500 * time.Millisecond, n: 1, let: 1, full: time.Minute},
		{name: "the pace", after: 10 * time.Second, n: 20, let: 10, full: time.Minute, wait: time.Second},
		{name: "a clock put back fills nothing", after: -5 * time.Second, n: 1, full: time.Minute, wait: time.Second},
		{name: "never more than full", after: time.Hour, n: 61, let: 60, full: time.Minute, wait: time.Second},
	} {
		now = now.Add(tc.after)
		let := 0
		var left Left
		for range tc.n {
			var ok bool
			if left, ok = l.Take("k", perMinute, now); ok {
				let++
			}
		}
		if let != tc.let || left.Remaining != tc.remaining || left.Full != tc.full || left.Wait != tc.wait {
			t.Errorf("%s: %d of %d let in, %+v; want %d, remaining %d, full %v, wait %v", tc.name, let, tc.n, left, tc.let, tc.remaining, tc.full, tc.wait)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	var l Limiter
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	l.Take("busy", 1, now)
	for i := range 3 * MaxKeys {
		l.Take(strconv.Itoa(i), 1, now)
		if i%1000 == 0 {
			if _, ok := l.Take("busy", 1, now); ok {
				t.Fatalf("after %d other keys one that asks all the time was forgotten", i)
			}
		}
	}
	if len(l.held) != MaxKeys || l.order.Len() != MaxKeys {
		t.Errorf("%d and %d keys are held, want %d", len(l.held), l.order.Len(), MaxKeys)
	}
	if _, ok := l.Take("0", 1, now); !ok {
		t.Error("a key that was forgotten has no full bucket")
	}
}
