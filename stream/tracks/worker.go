package tracks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// Consumer is the worker's name at the log.
const Consumer = "tracks"

// WorkerConfig is what a worker is made of. Log is wanted, the rest has defaults.
type WorkerConfig struct {
	Log *streamlog.Log
	// Engine is the engine's configuration; Partitions is the log's.
	Engine Config
	// Partitions this worker reads; nil for all.
	Partitions []int
	// Checkpoint is how often state is kept; default 30 s, which a new start reads again in one or two.
	Checkpoint time.Duration
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
}

// A Worker reads detections from the log and publishes the tracks and counts that come of them.
// What it made is on the log before the checkpoint moves: after a crash it makes again what came
// after the checkpoint, the same tracks under the same ids and the same cells under no lesser
// versions, so that a reader that keeps the last of each has every one once. Should the newest
// checkpoint be broken, the one before it serves: the log keeps what comes after that.
type Worker struct {
	cfg     WorkerConfig
	engine  atomic.Pointer[Engine]
	applied atomic.Uint64 // sequence of detections
	metrics *metrics

	// Tests set these. hook is told of every step and may end the worker there, as a kill would; now
	// is the time that ticks tell.
	hook  func(step string) error
	now   func() time.Time
	every time.Duration // between ticks
	most  int           // batches of a round
}

// NewWorker makes a worker; Run starts it.
func NewWorker(cfg WorkerConfig) *Worker {
	if cfg.Checkpoint <= 0 {
		cfg.Checkpoint = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Engine.Partitions = cfg.Log.Partitions()
	w := &Worker{cfg: cfg, now: time.Now, every: time.Second, most: roundBatches}
	w.engine.Store(New(cfg.Engine))
	w.metrics = newMetrics(w, cfg.Metrics)
	return w
}

// Stats is what was done since Run began.
func (w *Worker) Stats() Stats { return w.engine.Load().Stats() }

// Lag is how many batches of the log are not read yet.
func (w *Worker) Lag(ctx context.Context) (int64, error) {
	last, err := w.cfg.Log.LastSeq(ctx, batch.KindDetections)
	if err != nil {
		return 0, err
	}
	return int64(last - min(last, w.applied.Load())), nil
}

// Bounds of one round: what is read together between two looks at the clock.
const (
	roundBatches = 128
	roundBytes   = 16 << 20
	rowsABatch   = 8192
	stopTimeout  = 5 * time.Second
)

// Run reads until ctx ends, then keeps its state and returns. Any error ends it; a new Run takes up
// at the last checkpoint.
func (w *Worker) Run(ctx context.Context) error {
	r := &run{Worker: w, engine: New(w.cfg.Engine)}
	err := r.restore(ctx)
	if err == nil {
		w.engine.Store(r.engine)
		err = r.loop(ctx)
	}
	if err != nil {
		if ctx.Err() != nil && r.seq == 0 {
			return nil
		}
		return err
	}
	// The end of ctx stops the intake; what was read is kept, so that the next start replays little.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return r.keep(last)
}

func (w *Worker) step(name string) error {
	if w.hook == nil {
		return nil
	}
	return w.hook(name)
}

// run is the state of one Run. Its fields belong to the goroutine of loop.
type run struct {
	*Worker
	engine  *Engine
	objects *streamlog.Objects
	all     []int    // partitions
	floors  []uint64 // by partition: what comes before is in its snapshot
	first   uint64   // of the log, that it kept at the start
	from    uint64
	seq     uint64      // applied up to here
	kept    [2]keptMark // of the last two checkpoints, the newest first

	behind   uint64 // the log's end at the last tick
	behindAt int64
}

// A keptMark tells whether a checkpoint would hold anything else than the last.
type keptMark struct {
	seq  uint64
	live int
}

func (r *run) held() keptMark { return keptMark{r.seq, r.engine.Stats().Live} }

func objectName(partition int) string { return fmt.Sprintf("checkpoint/%02d", partition) }

// atFloor is what the log must have, from there on, for a start from a checkpoint of a partition.
const atFloor = "floor"

// restore brings the engine to its last checkpoint.
func (r *run) restore(ctx context.Context) error {
	r.all = r.cfg.Partitions
	if len(r.all) == 0 {
		for p := range r.cfg.Log.Partitions() {
			r.all = append(r.all, p)
		}
	}
	var err error
	if r.objects, err = r.cfg.Log.Objects(ctx, Consumer); err != nil {
		return err
	}
	r.objects.Before = r.step
	position, err := r.cfg.Log.Position(ctx, Consumer, batch.KindDetections)
	if err != nil {
		return err
	}
	// From now on the log keeps what a replay will need.
	if err := r.cfg.Log.SetPosition(ctx, Consumer, batch.KindDetections, position); err != nil {
		return err
	}
	r.first = position.Seq + 1
	r.floors = make([]uint64, r.cfg.Log.Partitions())
	first := ^uint64(0)
	for _, p := range r.all {
		if r.floors[p], err = r.restorePartition(ctx, p); err != nil {
			return err
		}
		first = min(first, r.floors[p])
	}
	r.from, r.seq = first-1, first-1
	r.applied.Store(r.seq)
	r.cfg.Logger.Info("tracks start", "cameras", r.engine.Stats().Cameras, "after", r.from)
	return nil
}

// restorePartition brings a partition to its newest checkpoint that can be read and returns the floor of that. Where
// there is none, what its cameras were in the middle of is lost; refusing to run would help nobody.
func (r *run) restorePartition(ctx context.Context, p int) (floor uint64, err error) {
	name := objectName(p)
	all, err := r.objects.Generations(ctx, name)
	if err != nil {
		return 0, err
	}
	unreadable := func(generation uint64, err error) {
		r.metrics.lost.Inc()
		r.cfg.Logger.Error("a checkpoint is unreadable; the one before it is taken, else its partition starts without state", "partition", p, "generation", generation, "error", err)
	}
	for i, g := range all {
		data, err := r.objects.Read(ctx, name, g, 0)
		if err != nil && !errors.Is(err, streamlog.ErrTorn) {
			return 0, err
		}
		if err == nil {
			_, floor, err = r.engine.Restore(p, data)
		}
		if err == nil {
			if i > 0 {
				err = r.objects.DropAfter(ctx, name, g.Number)
			}
			return floor, err
		}
		unreadable(g.Number, err)
	}
	if len(all) == 0 { // or one of a version before generations
		data, ok, err := r.objects.Get(ctx, name)
		if err != nil {
			return 0, err
		}
		if ok {
			if _, floor, err = r.engine.Restore(p, data); err == nil {
				return floor, nil
			}
			unreadable(0, err)
		}
	}
	return r.first, nil
}

func (r *run) loop(ctx context.Context) error {
	reader, err := r.cfg.Log.Read(ctx, batch.KindDetections, r.from, r.cfg.Partitions...)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer reader.Close()
	messages, failed, stop := reader.Ahead(ctx, roundBatches)
	defer stop()
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	keep := time.NewTicker(r.cfg.Checkpoint)
	defer keep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case m := <-messages:
			err = r.round(ctx, streamlog.Collect(m, messages, r.most, roundBytes, streamlog.Message.Size))
		case <-tick.C:
			err = r.tick(ctx, len(messages) == 0)
		case <-keep.C:
			// Tracks of cameras that went silent leave the checkpoints, both of them: they may hold plates' hashes.
			if now := r.held(); now != r.kept[0] || now != r.kept[1] {
				err = r.keep(ctx)
			}
		}
		if err != nil {
			return err
		}
	}
}

// round applies batches, the partitions side by side and each in order.
func (r *run) round(ctx context.Context, all []streamlog.Message) error {
	if err := r.step("round"); err != nil {
		return err
	}
	byPartition := map[int][]streamlog.Message{}
	for _, m := range all {
		if m.Partition < 0 || m.Partition >= len(r.floors) || m.Seq < r.floors[m.Partition] {
			continue // in the snapshot already
		}
		byPartition[m.Partition] = append(byPartition[m.Partition], m)
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for p, messages := range byPartition {
		g.Go(func() error {
			for i := range messages {
				d, err := batch.DecodeDetections(messages[i].Data)
				if err != nil {
					// Nobody can mend it and it must not stop the city; the writer files it.
					r.metrics.unreadable.Inc()
					r.cfg.Logger.Error("a batch of the log cannot be read and is not counted", "sequence", messages[i].Seq, "error", err)
					continue
				}
				r.engine.Apply(p, messages[i].Seq, d)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.seq = max(r.seq, all[len(all)-1].Seq)
	for _, p := range r.all {
		if r.engine.Made(p) >= rowsABatch {
			if err := r.publish(ctx, p); err != nil {
				return err
			}
		}
	}
	r.applied.Store(r.seq)
	return nil
}

// publish puts on the log what a partition has made.
func (r *run) publish(ctx context.Context, p int) error {
	tracks, counts := r.engine.Take(p)
	if err := putAll(ctx, r, batch.KindTracks, p, tracks, batch.EncodeTracks); err != nil {
		return err
	}
	if err := putAll(ctx, r, batch.KindCounts, p, counts, batch.EncodeCounts); err != nil {
		return err
	}
	r.metrics.published(len(tracks), len(counts))
	return nil
}

func putAll[T any](ctx context.Context, r *run, kind batch.Kind, p int, rows []T, encode func([]T) ([]byte, error)) error {
	for len(rows) > 0 {
		n, data, err := batch.Fit(rows[:min(len(rows), rowsABatch)], r.cfg.Log.MaxBatch(), encode)
		if err != nil {
			return err
		}
		if err := r.put(ctx, kind, p, data); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

func (r *run) put(ctx context.Context, kind batch.Kind, p int, data []byte) error {
	if err := r.step("publish"); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	// The work in hand goes on when ctx ends; a log that takes nothing meanwhile ends it.
	pctx, cancel := streamlog.WithGrace(ctx, stopTimeout)
	defer cancel()
	if _, err := r.cfg.Log.Publish(pctx, kind, p, fmt.Sprintf("tracks-%d-%s", p, hex.EncodeToString(sum[:16])), data); err != nil {
		return fmt.Errorf("publish %s: %w", kind, err)
	}
	return r.step("published")
}

// tick publishes what was made and moves processing time. What the log held a tick ago must be
// applied: a worker that lags takes no camera for silent.
func (r *run) tick(ctx context.Context, idle bool) error {
	end, err := r.cfg.Log.LastSeq(ctx, batch.KindDetections)
	if err != nil {
		if ctx.Err() == nil && !r.cfg.Log.Away() {
			r.cfg.Logger.Warn("asking for the end of the log", "error", err)
		}
	} else {
		caughtUp := r.behindAt != 0 && (r.seq >= r.behind || idle && len(r.cfg.Partitions) > 0)
		at := r.behindAt
		r.behind, r.behindAt = end, r.now().UnixMilli()
		if end <= r.seq {
			caughtUp, at = true, r.behindAt
		}
		if caughtUp {
			for _, p := range r.all {
				r.engine.Tick(p, at)
			}
		}
	}
	return r.publishAll(ctx)
}

func (r *run) publishAll(ctx context.Context) error {
	for _, p := range r.all {
		if err := r.publish(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// keep takes a checkpoint. What was made goes to the log first; the position moves last, and to where the checkpoint
// before can begin from, which a start takes that finds this one broken.
func (r *run) keep(ctx context.Context) error {
	if err := r.publishAll(ctx); err != nil {
		return err
	}
	began := time.Now()
	pctx, cancel := streamlog.WithGrace(ctx, stopTimeout)
	defer cancel()
	size, first := 0, ^uint64(0)
	for _, p := range r.all {
		data, floor := r.engine.Snapshot(p, r.seq)
		if err := r.step("checkpoint"); err != nil {
			return err
		}
		all, err := r.objects.Write(pctx, objectName(p), map[string]uint64{atFloor: floor}, data)
		if err != nil {
			return err
		}
		needed, ok := all[len(all)-1].At[atFloor]
		if !ok { // a version wrote it that did not say
			needed = r.first
		}
		size, first = size+len(data), min(first, needed)
	}
	if err := r.step("positions"); err != nil {
		return err
	}
	if err := r.cfg.Log.SetPosition(pctx, Consumer, batch.KindDetections, streamlog.Position{Seq: first - 1}); err != nil {
		return err
	}
	r.kept = [2]keptMark{r.held(), r.kept[0]}
	r.metrics.checkpointSeconds.Set(time.Since(began).Seconds())
	r.metrics.checkpointBytes.Set(float64(size))
	return nil
}
