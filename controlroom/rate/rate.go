// Package rate bounds how often somebody may ask. Each key has a bucket of tokens that fills at an even
// pace: who was quiet may ask a minute's worth at once, who asks all the time gets the even pace.
//
// Memory is bounded: of more than MaxKeys keys the one that asked longest ago is forgotten, and begins
// with a full bucket when it asks again.
package rate

import (
	"container/list"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// MaxKeys bounds the keys that are remembered, some 300 bytes each.
const MaxKeys = 20_000

// A Limiter is safe for concurrent use. The zero value is ready.
type Limiter struct {
	mu    sync.Mutex
	held  map[string]*list.Element // of bucket
	order list.List                // the one that asked last in front
}

type bucket struct {
	key string
	*rate.Limiter
}

// Left is what a key has left.
type Left struct {
	Remaining int
	Full      time.Duration // until the bucket is full
	Wait      time.Duration // until a token is there; 0 where one is
}

// Take takes a token of a key's bucket, which holds perMinute and fills in a minute. ok is false where
// there was none. A key may be given another perMinute at any time.
func (l *Limiter) Take(key string, perMinute int, now time.Time) (left Left, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.bucket(key, perMinute)
	limit := float64(perMinute)
	pace := limit / time.Minute.Seconds() // tokens a second
	if b.Burst() != perMinute {
		b.SetLimitAt(now, rate.Limit(pace))
		b.SetBurstAt(now, perMinute)
	}
	ok = b.AllowN(now, 1)
	tokens := max(b.TokensAt(now), 0)
	if !ok {
		left.Wait = seconds((1 - tokens) / pace)
	}
	left.Remaining = int(tokens)
	left.Full = seconds((limit - tokens) / pace)
	return left, ok
}

func seconds(s float64) time.Duration {
	return time.Duration(math.Ceil(s * float64(time.Second)))
}

func (l *Limiter) bucket(key string, perMinute int) *bucket {
	if e, ok := l.held[key]; ok {
		l.order.MoveToFront(e)
		return e.Value.(*bucket)
	}
	if l.held == nil {
		l.held = map[string]*list.Element{}
	}
	if len(l.held) >= MaxKeys {
		oldest := l.order.Back()
		delete(l.held, l.order.Remove(oldest).(*bucket).key)
	}
	b := &bucket{key, rate.NewLimiter(rate.Limit(float64(perMinute)/time.Minute.Seconds()), perMinute)}
	l.held[key] = l.order.PushFront(b)
	return b
}
