package notify

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"panormus/stream/batch"
)

// counted is a store that counts what is written.
type counted struct {
	*memory
	n int
}

func (c *counted) Put(ctx context.Context, key string, v []byte) error {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.memory.Put(ctx, key, v)
}

// TestManyAreToldAtOnce: in a flood the state, which is large then, is kept once for some fifty messages, and a kill
// after any of them repeats none that was noted.
func TestManyAreToldAtOnce(t *testing.T) {
	const many = 500
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		whole, notes := &counted{memory: newMemory()}, &counted{memory: newMemory()}
		route := &Route{ID: "all", Receivers: []string{"ops"}, GroupBy: []string{"device"}, GroupWait: duration(0), Repeat: duration(0)}
		killed := errors.New("killed")
		for n, kills := range []int{130, 1, 50, 0} { // after so many messages; 0: not
			q := m.queue(route, nil)
			q.states, q.notes = whole, notes
			noted := 0
			q.hook = func(step string) error {
				if step == "noted" {
					noted++
				}
				if kills > 0 && noted == kills {
					return killed
				}
				return nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- q.Run(ctx) }()
			if n == 0 {
				var events []batch.Event
				for i := range many {
					events = append(events, event(i, "raised"))
				}
				m.publish(t, events...)
			}
			time.Sleep(time.Hour)
			cancel()
			if err := <-done; kills > 0 && err != killed || kills == 0 && err != nil {
				t.Fatalf("run %d: %v", n, err)
			}
			// What was read and not kept is read again.
			for len(m.events) > 0 {
				<-m.events
			}
		}
		times := map[string]int{}
		for _, s := range m.sent {
			times[s.m.ID]++
		}
		if len(times) != many || len(m.sent) != many {
			t.Errorf("%d messages sent %d times, want %d once each", len(times), len(m.sent), many)
		}
		if whole.n > many/20 || notes.n != many {
			t.Errorf("kept whole %d times, and %d notes; want at most %d and %d", whole.n, notes.n, many/20, many)
		}
	})
}
