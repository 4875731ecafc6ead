package rules

import (
	"context"
	"log/slog"
	"sync"
	"time"

	streamlog "panormus/stream/log"
)

// A pastReader reads for a worker what the past of its baselines was, of those that have not learned it: of a rule
// that is new, or that has lost its state. One is read after the other, beside the evaluation, and none before what
// the log held at the start is evaluated: a replay finds no more known than there was. What was read is to be kept before
// anything else is evaluated: every replay begins with it, or does without it as the first run did.
type pastReader struct {
	hours   func(ctx context.Context, q HoursQuery, each func(Hour) error) error // nil: nothing is kept of the past
	log     *slog.Logger
	read    chan pastRead
	reading bool
	after   int64 // processing time before which it is not tried again, Unix ms
	all     sync.WaitGroup
}

// pastRead is what reading the past of a baseline came to.
type pastRead struct {
	*lesson
	to  time.Time
	err error
}

// pastAgainMs is how long the worker waits after the database did not answer.
const pastAgainMs = 60_000

func newPastReader(hours func(context.Context, HoursQuery, func(Hour) error) error, log *slog.Logger) *pastReader {
	return &pastReader{hours: hours, log: log, read: make(chan pastRead, 1)}
}

// ready reports whether another may be read now (Unix ms).
func (p *pastReader) ready(now int64) bool { return p.hours != nil && !p.reading && now >= p.after }

// begin begins to read what l is to be taught, up to a time; it comes through read.
func (p *pastReader) begin(ctx context.Context, l *lesson, to time.Time) {
	got := pastRead{lesson: l, to: to}
	p.reading = true
	p.all.Go(func() {
		got.err = p.hours(ctx, l.query(to), l.take)
		p.read <- got
	})
}

// whole reports whether what came can be taught.
func (p *pastReader) whole(ctx context.Context, got pastRead) bool {
	p.reading = false
	if got.err == nil {
		return true
	}
	if ctx.Err() == nil {
		p.after = time.Now().UnixMilli() + pastAgainMs
		p.log.Warn("the past of a baseline cannot be read and is asked for again", "on", got.on, "domain", got.of.domain, "metric", got.of.metric, "error", got.err)
	}
	return false
}

// known says that a lesson is taught and kept.
func (p *pastReader) known(got pastRead) {
	p.log.Info("a baseline knows its past", "on", got.on, "domain", got.of.domain, "metric", got.of.metric, "devices", len(got.order), "left_out", got.left)
}

// readPast begins to read the past of a baseline that does not know it; now is Unix ms.
func (r *run) readPast(ctx context.Context, now int64) {
	if !r.past.ready(now) {
		return
	}
	if all := r.engine.unlearned(r.partitions()); len(all) > 0 {
		r.past.begin(ctx, r.engine.newLesson(all[0]), time.UnixMilli(now))
	}
}

// teach gives the engine what was read, and keeps it.
func (r *run) teach(ctx context.Context, p pastRead) error {
	if !r.past.whole(ctx, p) {
		return nil
	}
	r.engine.teach(p.lesson, r.partitions(), p.to)
	if r.writing.Wait(); r.writeErr != nil {
		return r.writeErr
	}
	pctx, cancel := streamlog.WithGrace(ctx, stopTimeout)
	defer cancel()
	if err := r.write(pctx, r.snapshots()); err != nil {
		return err
	}
	r.past.known(p)
	return nil
}

// readPast begins to read the past of a baseline of rows, or of those who ask for them.
func (r *rowRun) readPast(ctx context.Context, now int64) {
	if !r.past.ready(now) {
		return
	}
	if all := r.engine.unlearned(); len(all) > 0 {
		r.past.begin(ctx, newLesson(&r.engine.cfg, all[0].On, all[0].learned()), time.UnixMilli(now))
	}
}

// teach gives the engine what was read, and keeps it.
func (r *rowRun) teach(ctx context.Context, p pastRead) error {
	if !r.past.whole(ctx, p) {
		return nil
	}
	r.engine.teach(p.lesson, p.to)
	r.taught = true
	if err := r.keep(ctx); err != nil {
		return err
	}
	r.past.known(p)
	return nil
}
