package rules

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// State lies in the bucket of objects "rules": a snapshot a partition and one of the shared shard, all of a
// checkpoint written together, whole or not at all, and the checkpoint before it is kept.
// A checkpoint is taken between rounds, a snapshot after one round and the next after another: evaluation
// waits for one of them and never for all. So each is of a sequence of its own, that of the shared shard, which
// is taken last, the newest: each partition is replayed from its own sequence, and the shared shard, never older
// than any, takes no transition twice. The positions are those of the oldest of the checkpoint before, and moved
// last: what they let go of nobody needs, and a start that finds the newest broken has all it wants for that one.
//
// Where several workers share the partitions, each partition has an object and a position of its own, and no
// shared shard: see WorkerConfig.Partitions. They have folders of their own, and begin with what one worker that
// had all of the work left, wherever that is newer.

// consumers are the worker's names at the log, each with a position: one a partition where others have
// the rest of them.
func (w *Worker) consumers() []string {
	if !w.own() {
		return []string{Consumer}
	}
	var out []string
	for _, p := range w.cfg.Partitions {
		out = append(out, ownConsumer(p))
	}
	return out
}

func ownConsumer(partition int) string { return fmt.Sprintf("%s-%02d", Consumer, partition) }

// position is the lowest of the worker's.
func (r *run) position(ctx context.Context, kind batch.Kind) (uint64, error) {
	lowest := ^uint64(0)
	for _, name := range r.consumers() {
		p, err := r.cfg.Log.Position(ctx, name, kind)
		if err != nil {
			return 0, err
		}
		lowest = min(lowest, p.Seq)
	}
	return lowest, nil
}

// claim has the log keep from now on what a replay will need. One worker that has all of the work drops
// the positions of those that shared it.
func (r *run) claim(ctx context.Context) error {
	for _, kind := range []batch.Kind{batch.KindObservations, batch.KindEvents} {
		for _, name := range r.consumers() {
			p, err := r.cfg.Log.Position(ctx, name, kind)
			if err == nil {
				err = r.cfg.Log.SetPosition(ctx, name, kind, p)
			}
			if err != nil {
				return err
			}
		}
		if r.own() || r.cfg.Spanning {
			continue
		}
		for p := range r.cfg.Log.Partitions() {
			if err := r.cfg.Log.DropPosition(ctx, ownConsumer(p), kind); err != nil {
				return err
			}
		}
	}
	return nil
}

// shards are those that are kept: the shared one, which is -1, is first.
func (w *Worker) shards() []int {
	if w.own() {
		return w.partitions()
	}
	return append([]int{-1}, w.partitions()...)
}

// filter is the partitions that are read; nil for all.
func (w *Worker) filter() []int {
	if w.own() {
		return w.cfg.Partitions
	}
	return nil
}

func (w *Worker) partitions() []int {
	if w.own() {
		return w.cfg.Partitions
	}
	return allPartitions(w.cfg.Log.Partitions())
}

func allPartitions(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// restore brings the engine to its last checkpoint and reads which events came after it.
func (r *run) restore(ctx context.Context) error {
	var err error
	if r.objects, err = r.cfg.Log.Objects(ctx, Consumer); err != nil {
		return err
	}
	r.objects.Before = r.step
	position, err := r.position(ctx, batch.KindObservations)
	if err != nil {
		return err
	}
	events, err := r.position(ctx, batch.KindEvents)
	if err != nil {
		return err
	}
	if err := r.claim(ctx); err != nil {
		return err
	}
	r.restored = make([]uint64, r.cfg.Log.Partitions())
	if err := r.restoreShards(ctx, position); err != nil {
		return err
	}
	first := ^uint64(0)
	for _, p := range r.partitions() {
		first = min(first, r.restored[p])
	}
	r.engine.disown(r.judges)
	r.from, r.seq, r.events, r.repeats = first, first, events, events
	if err := r.readEvents(ctx, events); err != nil {
		return err
	}
	r.engine.reopen(r.open)
	r.applied.Store(first)
	r.cfg.Logger.Info("rules start", "rules", len(r.engine.Set().Rules), "devices", r.engine.Devices(), "after", first, "events_known", len(r.have))
	return nil
}

// readEvents notes which events the log has after a sequence.
func (r *run) readEvents(ctx context.Context, after uint64) error {
	r.open = openings{}
	return r.known(ctx, after, func(seq uint64, err error) {
		r.cfg.Logger.Error("a batch of events cannot be read", "sequence", seq, "error", err)
	}, func(ev *batch.Event) {
		if r.judges(ev) {
			r.open.note(ev)
		}
	})
}

// judges reports whether an event is, or may have been, this worker's: one of a rule about rows is not.
func (r *run) judges(ev *batch.Event) bool {
	rule := r.engine.Set().Rule(ev.Rule)
	spans := ev.Key != ev.Device
	if rule != nil {
		if rule.engine() != onObservations {
			return false
		}
		spans = rule.wide()
	}
	switch {
	case r.cfg.Spanning:
		return spans
	case r.own():
		return !spans && slices.Contains(r.cfg.Partitions, partition(ev.Device, r.cfg.Log.Partitions()))
	}
	return true
}

// openEpisodes names the episodes that are raised now.
func (e *Engine) openEpisodes() map[string]bool {
	out := map[string]bool{}
	for _, s := range e.shards {
		for d := range s.devices.all() {
			for _, w := range d.windows {
				if w != nil && w.raised {
					out[eventID(w.rule.ID, d.id, w.newest().id, "episode")] = true
				}
			}
			for _, ep := range d.episodes.all() {
				if ep.state == raised {
					r := d.plan.rules[ep.rule]
					out[eventID(r.ID, d.id, d.toldAs(r, ep.start), "episode")] = true
				}
			}
		}
	}
	for k, w := range e.shared.keyed {
		if w.raised {
			out[eventID(k.rule, k.key, w.newest().id, "episode")] = true
		}
	}
	if st := e.shared.settler; st != nil {
		st.open(out)
		return out
	}
	for k, g := range e.shared.groups {
		if g.state == raised {
			out[eventID(k.rule, k.key, g.start, "episode")] = true
		}
	}
	return out
}

// A checkpoint holds a snapshot of every partition, each with the place in the log that it is of, and last,
// newer than any, that of the shared shard.
type checkpoint struct {
	seq, events uint64 // positions, which are the oldest of its snapshots'
	partitions  []int
	data        [][]byte // those taken so far
}

func (r *run) newCheckpoint() *checkpoint {
	c := &checkpoint{seq: r.seq, events: r.repeats, partitions: r.partitions()}
	if r.replayed {
		// Not before: what was read at the start belongs to messages that this checkpoint may not have yet.
		c.events = r.events
	}
	return c
}

func (c *checkpoint) whole() bool { return len(c.data) > len(c.partitions) }

// take writes the next snapshot to memory.
func (r *run) take(c *checkpoint) {
	began := time.Now()
	if n := len(c.data); n < len(c.partitions) {
		p := c.partitions[n]
		c.data = append(c.data, r.engine.Snapshot(p, max(r.seq, r.restored[p])))
	} else {
		c.data = append(c.data, r.engine.Snapshot(-1, r.sharedSeq()))
	}
	r.metrics.pause.Observe(time.Since(began).Seconds())
}

// snapshots writes all at once, side by side: where nothing is evaluated meanwhile.
func (r *run) snapshots() *checkpoint {
	r.taking = nil
	c := r.newCheckpoint()
	c.data = make([][]byte, len(c.partitions)+1)
	var wg sync.WaitGroup
	for i, p := range c.partitions {
		wg.Go(func() { c.data[i] = r.engine.Snapshot(p, max(r.seq, r.restored[p])) })
	}
	c.data[len(c.partitions)] = r.engine.Snapshot(-1, r.sharedSeq())
	wg.Wait()
	return c
}

// sharedSeq is what the shared shard has applied: during a replay no less than it was restored with.
func (r *run) sharedSeq() uint64 { return max(r.seq, r.engine.shared.seq) }

// keep begins a checkpoint, unless the last is still being taken or written, or nothing came since.
func (r *run) keep(ctx context.Context) error {
	if r.taking != nil || r.busy.Load() {
		return nil
	}
	if r.writeErr != nil {
		return r.writeErr
	}
	if r.replayed {
		r.passEvents(ctx)
	}
	if now := (keptMark{r.seq, r.events}); now != r.kept {
		r.kept, r.taking = now, r.newCheckpoint()
	}
	return nil
}

// part is ready where a checkpoint wants its next snapshot.
func (r *run) part() <-chan struct{} {
	if r.taking == nil {
		return nil
	}
	return r.always
}

// keepPart takes one snapshot of the checkpoint under way, so that evaluation waits for no more than that
// between two rounds. When it was the last, all are written, beside the evaluation.
func (r *run) keepPart(ctx context.Context) {
	c := r.taking
	if r.take(c); !c.whole() {
		return
	}
	r.taking = nil
	r.busy.Store(true)
	r.writing.Go(func() {
		defer r.busy.Store(false)
		pctx, cancel := streamlog.WithGrace(ctx, stopTimeout)
		defer cancel()
		r.writeErr = r.write(pctx, c)
	})
}

// abandon gives up the checkpoint under way, whose snapshots are of other rules; the next tick begins anew.
func (r *run) abandon() {
	if r.taking != nil {
		r.taking, r.kept = nil, keptMark{}
	}
}

// write puts a checkpoint on the log's server.
func (r *run) write(ctx context.Context, c *checkpoint) error {
	began := time.Now()
	at := map[string]uint64{atObservations: c.seq, atEvents: c.events}
	if r.own() {
		for i, p := range c.partitions {
			if err := r.writeOne(ctx, objectName(r.folder(), p), []string{ownConsumer(p)}, at, c.data[i]); err != nil {
				return err
			}
		}
	} else {
		whole := append([][]byte{c.data[len(c.partitions)]}, c.data[:len(c.partitions)]...) // as r.shards() has them
		if err := r.writeOne(ctx, r.folder(), r.consumers(), at, whole...); err != nil {
			return err
		}
	}
	size := 0
	for _, data := range c.data {
		size += len(data)
	}
	r.metrics.checkpointSeconds.Set(time.Since(began).Seconds())
	r.metrics.checkpointBytes.Set(float64(size))
	return nil
}

// writeOne writes an object and then moves the positions of its consumers to where the one before it was taken.
func (r *run) writeOne(ctx context.Context, name string, consumers []string, at map[string]uint64, parts ...[]byte) error {
	all, err := r.objects.Write(ctx, name, at, parts...)
	if err != nil {
		return err
	}
	if all[0].Number == 1 && name == r.folder() {
		for _, p := range r.shards() {
			if err := r.objects.Forget(ctx, objectName(name, p)); err != nil {
				return err
			}
		}
	}
	if err := r.step("positions"); err != nil {
		return err
	}
	before := all[len(all)-1].At
	for _, consumer := range consumers {
		for kind, at := range map[batch.Kind]string{batch.KindObservations: atObservations, batch.KindEvents: atEvents} {
			if err := r.cfg.Log.SetPosition(ctx, consumer, kind, streamlog.Position{Seq: before[at]}); err != nil {
				return err
			}
		}
	}
	return nil
}
