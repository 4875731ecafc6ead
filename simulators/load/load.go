package load

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
)

// connectionsAWorker is how many connections a goroutine looks after: it can look at each of them
// every tick with time to spare.
const connectionsAWorker = 128

// Run connects everything, sends as o says and returns the books. The end of ctx stops new
// messages; those in flight are still waited for, o.Drain long. The error says that o is not
// acceptable or that no connection came about; what went wrong later is in the report, which is
// whole whenever the error is nil.
func Run(ctx context.Context, o Options) (Report, error) {
	o, err := o.withDefaults()
	if err != nil {
		return Report{}, fmt.Errorf("load options: %w", err)
	}
	var tag [3]byte
	_, _ = rand.Read(tag[:]) // never fails
	conns := make([]*connection, o.Connections)
	for i := range conns {
		conns[i] = newConnection(&o, i, fmt.Sprintf("%s-%s-%d", o.Prefix, hex.EncodeToString(tag[:]), i))
	}
	if err := connectAll(ctx, &o, conns); err != nil {
		return Report{}, err
	}

	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	s := &schedule{start: time.Now(), intake: ctx, drain: o.Drain}
	if o.Duration > 0 {
		s.stop = s.start.Add(o.Duration)
	}
	used := cpuTime()
	var wg sync.WaitGroup
	for part := range slices.Chunk(conns, connectionsAWorker) {
		wg.Go(func() { work(s, part) })
	}
	reported := make(chan struct{})
	go func() {
		defer close(reported)
		watch(watching, &o, s, conns)
	}()
	wg.Wait()
	elapsed := time.Since(s.start)
	used = cpuTime() - used
	s.away.Wait()
	cancel()
	<-reported
	return report(&o, s, conns, elapsed, used), nil
}

// connectAll connects conns, a few at a time so that no listener's backlog overflows.
func connectAll(ctx context.Context, o *Options, conns []*connection) error {
	ctx, cancel := context.WithTimeout(ctx, o.Connecting)
	defer cancel()
	errs := make([]error, len(conns))
	gate := make(chan struct{}, 32)
	var wg sync.WaitGroup
	for i, c := range conns {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			n, err := c.seek(ctx)
			if err == nil {
				err = c.take(n)
			}
			if errs[i] = err; err != nil {
				cancel() // one that cannot is enough
			}
		})
	}
	wg.Wait()
	var first error
	for _, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
	}
	if first == nil {
		return nil
	}
	for _, c := range conns {
		if c.net != nil {
			_ = c.net.Close()
		}
	}
	return fmt.Errorf("load: %w", first)
}

// watch calls o.Progress every second until ctx ends.
func watch(ctx context.Context, o *Options, s *schedule, conns []*connection) {
	if o.Progress == nil {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			p := Progress{Elapsed: now.Sub(s.start)}
			for _, c := range conns {
				p.Sent += c.sent.Load()
				p.Acked += c.acked.Load()
				if c.connected.Load() {
					p.Connected++
				}
			}
			o.Progress(p)
		}
	}
}

// cpuTime is what the process has used so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
