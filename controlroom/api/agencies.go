package api

import (
	"sync"
	"time"
)

// questions remember what was asked a moment ago, so that somebody who asks the same again and again
// is written down once a minute. The zero value is ready.
type questions struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const (
	questionEvery = time.Minute
	maxQuestions  = 4096
)

// forget has a question asked as if for the first time.
func (q *questions) forget(question string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.last, question)
}

// fresh reports whether a question was not asked within the last minute. Where there are too many, all
// are forgotten: one is written down twice rather than not at all.
func (q *questions) fresh(question string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if at, ok := q.last[question]; ok && now.Sub(at) < questionEvery {
		return false
	}
	if q.last == nil || len(q.last) >= maxQuestions {
		q.last = map[string]time.Time{}
	}
	q.last[question] = now
	return true
}
