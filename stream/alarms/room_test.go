package alarms

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// TestWholeOrNothing: an act on many that there is no room for is not begun, by however many it is asked for at once, and
// has room once the worker was there.
func TestWholeOrNothing(t *testing.T) {
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	const n, most = 20, 50
	b.book.most = most
	for i := range n {
		b.publish(event("hot", fmt.Sprint(i), "major", "raised", 0))
	}
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	b.tick(t0)
	x := Act{Action: "comment", By: "ada", Note: "n"}
	all := func() error {
		done, refused, _, err := b.book.ActAll(t.Context(), Query{}, n, x)
		if err == nil && (done != n || len(refused) > 0) {
			t.Errorf("%d of a whole, %v", done, refused)
		}
		return err
	}
	for round := range 3 {
		var g sync.WaitGroup
		var taken, refused atomic.Int64
		for range 6 {
			g.Go(func() {
				switch err := all(); {
				case err == nil:
					taken.Add(1)
				case errors.Is(err, ErrBusy):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		g.Wait()
		for all() == nil { // some may have been refused for what was on its way
			taken.Add(1)
		}
		if taken.Load() != most/n || refused.Load() == 0 || b.book.waiting != most/n*n {
			t.Fatalf("round %d: %d taken, %d refused, %d acts wait; want %d taken whole", round, taken.Load(), refused.Load(), b.book.waiting, most/n)
		}
		if _, err := b.book.Act(t.Context(), []string{ID("hot", "0")}, x); err != nil {
			t.Errorf("an act that there is room for: %v", err)
		}
		b.tick(t0)
		rows, again := b.rows()
		if want := n + (round+1)*(most/n*n+1); len(rows) != want || again != 0 {
			t.Errorf("round %d: %d rows on the log, %d again; want %d once", round, len(rows), again, want)
		}
	}
}
