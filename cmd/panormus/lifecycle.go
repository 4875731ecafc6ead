package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// A stage is a set of parts that run until the stage is told to stop. Stages stop one after the
// other, sources first, so that what was taken in is finished.
type stage struct {
	ctx  context.Context
	stop context.CancelFunc
	log  *slog.Logger
	wg   sync.WaitGroup
	fail func(name string, err error)
}

func newStage(log *slog.Logger, fail func(string, error)) *stage {
	ctx, stop := context.WithCancel(context.Background())
	return &stage{ctx: ctx, stop: stop, log: log, fail: fail}
}

// must runs a part whose end before the stage's is the end of the process.
func (s *stage) must(name string, run func(context.Context) error) {
	s.wg.Go(func() {
		err := run(s.ctx)
		if s.ctx.Err() == nil {
			s.fail(name, err)
		} else if err != nil && s.ctx.Err() != err {
			s.log.Warn("a part ended badly", "part", name, "error", err)
		}
	})
}

// once runs a part that may end before the stage does.
func (s *stage) once(name string, run func(context.Context) error) {
	s.wg.Go(func() {
		if err := run(s.ctx); err != nil && s.ctx.Err() == nil {
			s.log.Error("a part failed", "part", name, "error", err)
		}
	})
}

// Pauses of a part that is run again.
const (
	firstPause = 200 * time.Millisecond
	longPause  = 15 * time.Second
	// calm is how long a part must have run for its pauses to start anew.
	calm = time.Minute
)

// again runs a part, and again each time it fails, after growing, jittered pauses. This is the one
// place where parts are retried.
func (s *stage) again(name string, run func(context.Context) error) {
	s.wg.Go(func() { s.repeat(s.ctx, name, run) })
}

// repeat is again for a part of a part: it returns when ctx ends.
func (s *stage) repeat(ctx context.Context, name string, run func(context.Context) error) {
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		began := time.Now()
		err := run(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > calm {
			pause = firstPause
		}
		s.log.Error("a part failed and starts again", "part", name, "error", err, "pause", pause)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// end stops the stage and waits for its parts.
func (s *stage) end() {
	s.stop()
	s.wg.Wait()
}
