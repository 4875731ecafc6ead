package rules

import (
	"context"
	"time"

	streamlog "panormus/stream/log"
)

// pastRead is what reading the past of a baseline came to.
type pastRead struct {
	*lesson
	to  time.Time
	err error
}

// pastAgainMs is how long the worker waits after the database did not answer.
const pastAgainMs = 60_000

// readPast begins to read the past of a baseline that has not learned it: of a rule that is new, or that has
// lost its state. One is read after the other, beside the evaluation, and none before what the log held at
// the start is evaluated: a replay finds no more known than there was.
func (r *run) readPast(ctx context.Context, now int64) {
	if r.cfg.Hours == nil || r.reading || now < r.readAfter {
		return
	}
	all := r.engine.unlearned(r.partitions())
	if len(all) == 0 {
		return
	}
	p := pastRead{lesson: r.engine.newLesson(all[0]), to: time.UnixMilli(now)}
	r.reading = true
	r.readingAll.Go(func() {
		p.err = r.cfg.Hours(ctx, p.query(p.to), p.take)
		r.past <- p
	})
}

// teach gives the engine what was read, and keeps it before anything else is evaluated: every replay
// begins with it, or does without it as the first run did.
func (r *run) teach(ctx context.Context, p pastRead) error {
	r.reading = false
	if p.err != nil {
		if ctx.Err() == nil {
			r.readAfter = time.Now().UnixMilli() + pastAgainMs
			r.cfg.Logger.Warn("the past of a baseline cannot be read and is asked for again", "domain", p.of.domain, "metric", p.of.metric, "error", p.err)
		}
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
	r.cfg.Logger.Info("a baseline knows its past", "domain", p.of.domain, "metric", p.of.metric, "devices", len(p.order), "left_out", p.left)
	return nil
}
