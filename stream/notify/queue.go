package notify

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"panormus/stream/batch"
	"panormus/stream/lease"
	streamlog "panormus/stream/log"
)

// An Events is where events are read from.
type Events interface {
	// Read returns a reader of the batches after a sequence.
	Read(ctx context.Context, after uint64) (Reader, error)
	// Last is the sequence of the newest batch.
	Last(ctx context.Context) (uint64, error)
}

// A Reader is a *streamlog.Reader.
type Reader interface {
	Next(ctx context.Context) (streamlog.Message, error)
	Close()
}

// A States keeps the queues' states; the log's Objects is one.
type States interface {
	Get(ctx context.Context, name string) ([]byte, bool, error)
	Put(ctx context.Context, name string, value []byte) error
}

// Bounds of a queue's work.
const (
	firstRetry   = time.Second
	longestRetry = 5 * time.Minute
	longestWish  = time.Hour // of a receiver that says when to come again
	keepEvery    = 5 * time.Second
	lookGraver   = 5 * time.Second // at what escalated
	stopTimeout  = 4 * time.Second
	// leaseFor is how long who sends keeps others waiting. A quarter of it is for what is being kept when it is lost.
	leaseFor = 4 * stopTimeout
)

// A Queue serves one receiver.
type Queue struct {
	name     string
	receiver *Receiver
	sender   Sender
	maxAge   time.Duration // of a message that does not arrive
	timeout  time.Duration // of one attempt
	events   Events
	states   States
	notes    States // of what went since the state was kept
	dead     *DeadLetters
	routes   func() []*Route
	hidden   func(batch.Event) bool // may be nil
	graver   Escalations            // may be nil
	log      *slog.Logger
	metrics  *queueMetrics
	lease    *lease.Lease            // nil where no other process sends
	hook     func(step string) error // a test's, which ends the queue there as a kill would

	mu     sync.Mutex
	status Status
}

// A Status is how a receiver does.
type Status struct {
	Receiver string `json:"receiver"`
	Kind     string `json:"kind"`
	Waiting  int    `json:"waiting" doc:"messages on their way"`
	Open     int    `json:"open" doc:"alarms that are followed for it"`
	Seq      uint64 `json:"seq" doc:"up to which events were taken in"`
	Dead     int    `json:"dead" doc:"dead letters"`
	Running  bool   `json:"running" doc:"this process sends to it"`
	Failing  *Time  `json:"failing" doc:"since when nothing arrives; null while all is well"`
	Error    string `json:"error,omitempty"`
	Sent     *Time  `json:"sent" doc:"when it last took a message, since the start"`
}

// Status is how the receiver does now.
func (q *Queue) Status() Status {
	q.mu.Lock()
	s := q.status
	q.mu.Unlock()
	s.Dead = len(q.dead.All(q.name))
	return s
}

// run is the state of one Run.
type run struct {
	*Queue
	t        *tray
	dirty    bool
	kept     time.Time
	failures int // in a row
	pause    time.Time
	failing  time.Time
	forgot   uint64
	looked   time.Time // at what escalated
	sent     []string  // messages that went since the state was kept whole
	draining bool      // no new messages are formed
	pace     time.Duration
}

// Run serves the receiver until ctx ends. Any other end is an error; a new Run goes on where this one was.
func (q *Queue) Run(ctx context.Context) error {
	once := func(ctx context.Context) error {
		r := &run{Queue: q, t: newTray(q.name, q.routes, q.hidden)}
		err := r.serve(ctx)
		_ = q.sender.Close()
		q.mu.Lock()
		q.status.Running = false
		q.mu.Unlock()
		return err
	}
	if q.lease == nil {
		return q.ended(ctx, once(ctx))
	}
	for {
		err := q.lease.Work(ctx, once)
		if ctx.Err() != nil || err != lease.ErrLost {
			return q.ended(ctx, err)
		}
		q.log.Warn("this process sends to a receiver no more; another does", "receiver", q.name)
	}
}

// ended is what an end means: one that was wanted is none of the receiver's faults, though what was being
// kept in that moment may not be.
func (q *Queue) ended(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	if err != nil && !errors.Is(err, ctx.Err()) {
		q.log.Warn("what a receiver was told last is not kept; it may be told again", "receiver", q.name, "error", err)
	}
	return nil
}

func (r *run) step(name string) error {
	if r.hook == nil {
		return nil
	}
	return r.hook(name)
}

type arrival struct {
	m   streamlog.Message
	err error
}

type outcome struct {
	p   *parcel
	err error
}

func (r *run) serve(ctx context.Context) error {
	if err := r.restore(ctx); err != nil {
		return err
	}
	reader, err := r.events.Read(ctx, r.t.Seq)
	if err != nil {
		return err
	}
	in, sent := make(chan arrival), make(chan outcome, 1)
	rctx, stop := context.WithCancel(ctx)
	sctx, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer func() {
		stop()
		giveUp()
		wg.Wait()
		reader.Close()
	}()
	wg.Go(func() {
		for {
			m, err := reader.Next(rctx)
			select {
			case in <- arrival{m, err}:
			case <-rctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	})
	var sending *parcel
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if err := r.tidy(ctx, now, sending); err != nil {
			return err
		}
		var wake time.Time
		if sending == nil && !now.Before(r.pause) {
			p, at := r.t.ready(now)
			if p != nil {
				if !p.kept {
					if err := r.keep(ctx); err != nil {
						return err
					}
				}
				sending = p
				wg.Go(func() {
					tctx, cancel := context.WithTimeout(sctx, r.timeout)
					defer cancel()
					sent <- outcome{p, r.sender.Send(tctx, p.Message)}
				})
			}
			wake = at
		} else if sending == nil {
			wake = r.pause
		}
		if due := r.t.next(); !r.draining && !due.IsZero() && (wake.IsZero() || due.Before(wake)) {
			wake = due
		}
		if keep := r.kept.Add(r.pace); r.dirty && (wake.IsZero() || keep.Before(wake)) {
			wake = keep
		}
		if look := r.looked.Add(lookGraver); r.graver != nil && (wake.IsZero() || look.Before(wake)) {
			wake = look
		}
		if timer.Stop(); !wake.IsZero() {
			timer.Reset(max(0, wake.Sub(now)))
		}
		r.publish()
		from := in
		if r.draining {
			from = nil // the log keeps the rest
		}
		select {
		case <-ctx.Done():
			if context.Cause(ctx) == lease.ErrLost { // what is kept is another's now
				return lease.ErrLost
			}
			return r.finish(ctx, sending, sent, giveUp)
		case a := <-from:
			if a.err != nil {
				return a.err
			}
			r.take(a.m)
		case o := <-sent:
			sending = nil
			if err := r.settle(ctx, o); err != nil && ctx.Err() != nil && context.Cause(ctx) != lease.ErrLost {
				// It was to end just when it noted what was sent: it does now, or that went out twice.
				return r.finish(ctx, nil, nil, giveUp)
			} else if err != nil {
				return err
			}
		case <-timer.C:
		case <-r.dead.replays(r.name):
		}
	}
}

// finish waits for the message in hand, for a while, and keeps the state.
func (r *run) finish(ctx context.Context, sending *parcel, sent <-chan outcome, giveUp func()) error {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if sending != nil {
		hurry := time.AfterFunc(stopTimeout/2, giveUp)
		defer hurry.Stop()
		select {
		case o := <-sent:
			if arrived(o.err) {
				r.t.remove(o.p)
				r.metrics.sent.Inc()
			}
		case <-last.Done():
		}
	}
	return r.keep(last)
}

// tidy forms what is due, buries what is too old, and takes up what is to be replayed.
func (r *run) tidy(ctx context.Context, now time.Time, sending *parcel) error {
	// Messages are formed many together: the state is kept whole before the first of them goes.
	r.draining = r.t.full() || r.draining && len(r.t.Outbox) > maxOutbox/2
	if r.graver != nil && !r.draining && now.Sub(r.looked) >= lookGraver {
		r.looked = now
		if all, known := r.graver.Escalated(r.t.Seq); known && r.t.escalate(all, now) {
			r.dirty = true
		}
	}
	if at := r.t.next(); !at.IsZero() && !now.Before(at) && !r.draining {
		r.t.tick(now)
		r.dirty, r.draining = true, r.t.full()
	}
	if n := r.t.forgotten - r.forgot; n > 0 {
		r.metrics.forgotten.Add(float64(n))
		r.forgot = r.t.forgotten
	}
	for _, p := range append([]*parcel{}, r.t.Outbox...) {
		if p != sending && now.Sub(p.Since) >= r.maxAge && (p.Attempts > 0 || r.failures > 0) {
			if err := r.bury(ctx, p, now, p.LastError); err != nil {
				return err
			}
		}
	}
	for _, l := range r.dead.All(r.name) {
		if !l.Replay || r.t.full() {
			continue
		}
		known := false
		for _, p := range r.t.Outbox {
			known = known || p.Message.ID == l.Message.ID
		}
		if !known {
			r.t.Outbox = append(r.t.Outbox, &parcel{Message: l.Message, Since: now})
			r.log.Info("a dead letter is sent again", "receiver", r.name, "message", l.Message.ID)
		}
		if err := r.keep(ctx); err != nil {
			return err
		}
		if err := r.dead.remove(ctx, l.ID); err != nil {
			return err
		}
	}
	if r.dirty && now.Sub(r.kept) >= r.pace {
		return r.keep(ctx)
	}
	return nil
}

func (r *run) take(m streamlog.Message) {
	if m.Seq <= r.t.Seq {
		return
	}
	if gap := m.Seq - r.t.Seq - 1; gap > 0 {
		r.metrics.missed.Add(float64(gap))
		r.log.Error("events were purged from the log before a receiver could be told of them", "receiver", r.name, "batches", gap, "after", r.t.Seq)
	}
	events, err := batch.DecodeEvents(m.Data)
	if err != nil {
		r.metrics.unreadable.Inc()
		r.log.Error("unreadable events in the log", "receiver", r.name, "seq", m.Seq, "error", err)
	}
	now := time.Now()
	for i := range events {
		r.t.take(&events[i], now)
	}
	r.t.Seq, r.dirty = m.Seq, true
}

// settle is what becomes of a message that was tried.
func (r *run) settle(ctx context.Context, o outcome) error {
	now := time.Now()
	if arrived(o.err) {
		if err := r.step("sent"); err != nil {
			return err
		}
		r.t.remove(o.p)
		r.dirty = true
		r.metrics.sent.Inc()
		if r.failures > 0 {
			r.log.Info("a receiver takes messages again", "receiver", r.name, "after", now.Sub(r.failing).Round(time.Second))
		}
		r.failures, r.pause, r.failing = 0, time.Time{}, time.Time{}
		failed := ""
		if o.err != nil {
			failed = cut(o.err.Error(), maxText)
			r.log.Error("some addresses of a receiver do not take messages", "receiver", r.name, "message", o.p.Message.ID, "error", o.err)
		}
		r.mu.Lock()
		r.status.Sent, r.status.Error = &Time{now}, failed
		r.mu.Unlock()
		// Noted at once: what is sent twice is sent because of a kill in this moment only.
		return r.note(ctx, o.p.Message)
	}
	r.metrics.failed.Inc()
	o.p.Attempts++
	o.p.LastError = cut(o.err.Error(), maxText)
	r.dirty = true
	r.mu.Lock()
	r.status.Error = o.p.LastError
	r.mu.Unlock()
	if refused, ok := errors.AsType[*Refused](o.err); ok {
		return r.bury(ctx, o.p, now, refused.Error())
	}
	if r.failures++; r.failures == 1 {
		r.failing = now
		r.log.Warn("a receiver takes nothing; its messages wait", "receiver", r.name, "error", o.err)
	}
	pause := time.Duration(0)
	if later, ok := errors.AsType[*Later](o.err); ok {
		pause = min(later.Pause, longestWish)
	}
	o.p.notBefore = now.Add(max(pause, backoff(o.p.Attempts)))
	r.pause = now.Add(max(pause, backoff(r.failures)))
	return nil
}

// backoff is how long to wait after n failures in a row: growing, and never the same for two.
func backoff(n int) time.Duration {
	d := longestRetry
	if n < 10 {
		d = min(longestRetry, firstRetry<<(n-1))
	}
	return d/2 + rand.N(d/2)
}

// bury makes a dead letter of a message; it is there before the message is gone.
func (r *run) bury(ctx context.Context, p *parcel, now time.Time, cause string) error {
	gone, err := r.dead.bury(ctx, p, now, cause)
	if err != nil {
		return err
	}
	if err := r.step("buried"); err != nil {
		return err
	}
	r.metrics.dead.Inc()
	r.metrics.discarded.Add(float64(gone))
	r.log.Error("a message did not reach its receiver and is a dead letter", "receiver", r.name, "message", p.Message.ID, "attempts", p.Attempts, "error", cause)
	r.t.remove(p)
	return r.keep(ctx)
}

func (r *run) publish() {
	r.metrics.waiting.Set(float64(len(r.t.Outbox)))
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.status
	s.Running, s.Waiting, s.Open, s.Seq, s.Failing = true, len(r.t.Outbox), len(r.t.index), r.t.Seq, nil
	if !r.failing.IsZero() {
		s.Failing = &Time{r.failing}
	}
}
