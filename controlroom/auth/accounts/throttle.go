package accounts

import (
	"sync"
	"time"
)

// A throttle makes those wait who were wrong too often, by any key. Its memory is bounded.
type throttle struct {
	mu    sync.Mutex
	wrong map[string]*wrongs
}

type wrongs struct {
	count int
	last  time.Time
	until time.Time
}

const (
	freely     = 5           // wrong ones before there is a pause
	longest    = time.Minute // pause
	forgiven   = 15 * time.Minute
	maxTracked = 10_000
)

// try is how long one has to wait, by any of the keys, before one may try. Where that is not at all the
// try is counted as a wrong one, until right takes it back: many at once are no way around. After some
// there is a pause of a second, twice as long each time.
func (t *throttle) try(now time.Time, keys ...string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var wait time.Duration
	for _, k := range keys {
		if w := t.wrong[k]; w != nil {
			wait = max(wait, w.until.Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	if t.wrong == nil {
		t.wrong = map[string]*wrongs{}
	}
	for _, k := range keys {
		w := t.wrong[k]
		if w == nil {
			if len(t.wrong) >= maxTracked {
				t.forget()
			}
			w = &wrongs{}
			t.wrong[k] = w
		}
		if now.Sub(w.last) > forgiven {
			w.count = 0
		}
		w.count, w.last = w.count+1, now
		if over := w.count - freely; over > 0 {
			w.until = now.Add(min(longest, time.Second<<min(over-1, 10)))
		}
	}
	return 0
}

// forget makes room: of a handful taken at random, the one that was wrong longest ago.
func (t *throttle) forget() {
	oldest, n := "", 0
	for k, w := range t.wrong {
		if oldest == "" || w.last.Before(t.wrong[oldest].last) {
			oldest = k
		}
		if n++; n == 16 {
			break
		}
	}
	delete(t.wrong, oldest)
}

// right forgets what was wrong of a name. Of an address it takes back the one try: somebody with an account
// of his own must not guess at others' for ever.
func (t *throttle) right(name, address string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.wrong, name)
	if w := t.wrong[address]; w != nil {
		w.until = time.Time{}
		if w.count--; w.count <= 0 {
			delete(t.wrong, address)
		}
	}
}
