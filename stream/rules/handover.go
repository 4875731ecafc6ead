package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

const wholeFolder = "checkpoint" // of a worker that has all of the work

// What a generation of a checkpoint says of where it was taken.
const (
	atObservations = "observations"
	atEvents       = "events"
)

func (w *Worker) folder() string {
	switch {
	case w.cfg.Spanning:
		return "spanning"
	case w.own():
		return "own"
	}
	return wholeFolder
}

func objectName(folder string, partition int) string {
	if partition < 0 {
		return folder + "/shared"
	}
	return fmt.Sprintf("%s/%02d", folder, partition)
}

// A beginning is what some shards, which are restored together, may begin with.
type beginning struct {
	name       string
	generation uint64 // 0 of a version before generations
	seq        uint64 // of the oldest of them
	read       func(ctx context.Context, shard int) (data []byte, found bool, err error)
}

// restoreShards brings every shard to the newest state there is of it: each by itself where several workers share
// the partitions, else all to that of one checkpoint. What has none begins after position.
func (r *run) restoreShards(ctx context.Context, position uint64) error {
	groups := [][]int{r.shards()}
	if r.own() {
		groups = slices.Collect(slices.Chunk(r.shards(), 1))
	}
	for _, shards := range groups {
		for _, p := range shards {
			if p >= 0 {
				r.restored[p] = position
			}
		}
		all, err := r.beginnings(ctx, shards)
		if err == nil {
			err = r.restoreNewest(ctx, all, shards)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// beginnings are what some shards may begin with, the newest first: of two of one place, the worker's own.
func (r *run) beginnings(ctx context.Context, shards []int) ([]beginning, error) {
	var out []beginning
	whole := append([]int{-1}, allPartitions(r.cfg.Log.Partitions())...)
	add := func(name, folder string, parts []int) error {
		generations, err := r.objects.Generations(ctx, name)
		if err != nil {
			return err
		}
		for _, g := range generations {
			out = append(out, beginning{name: name, generation: g.Number, seq: g.At[atObservations], read: func(ctx context.Context, p int) ([]byte, bool, error) {
				data, err := r.objects.Read(ctx, name, g, slices.Index(parts, p))
				return data, err == nil, err
			}})
		}
		if len(generations) > 0 {
			return nil
		}
		first := ^uint64(0)
		old := map[int][]byte{}
		for _, p := range shards {
			data, ok, err := r.objects.Get(ctx, objectName(folder, p))
			if err != nil {
				return err
			}
			if ok {
				old[p] = data
				first = min(first, snapshotSeq(data))
			}
		}
		if len(old) > 0 {
			out = append(out, beginning{name: name, seq: first, read: func(_ context.Context, p int) ([]byte, bool, error) {
				return old[p], old[p] != nil, nil
			}})
		}
		return nil
	}
	name, parts := r.folder(), whole
	if r.own() {
		name, parts = objectName(r.folder(), shards[0]), shards
	}
	err := add(name, r.folder(), parts)
	if err == nil && r.folder() != wholeFolder {
		err = add(wholeFolder, wholeFolder, whole)
	}
	slices.SortStableFunc(out, func(a, b beginning) int { return cmp.Compare(b.seq, a.seq) })
	return out, err
}

// restoreNewest restores shards from the first beginning that is whole. Where none is, what can be read of the
// newest counts: devices' values fill again with their next readings; refusing to run would help nobody.
func (r *run) restoreNewest(ctx context.Context, all []beginning, shards []int) error {
	for i, b := range all {
		err := r.begin(ctx, b, shards, false)
		if err == nil {
			if i > 0 && b.generation > 0 {
				err = r.objects.DropAfter(ctx, b.name, b.generation)
			}
			return err
		}
		if !errors.Is(err, errUnreadable) {
			return err
		}
		r.metrics.lost.Inc()
		r.cfg.Logger.Error("a checkpoint is not whole; the one before it is taken, if there is one", "name", b.name, "generation", b.generation, "after", b.seq, "error", err)
	}
	if len(all) == 0 {
		return nil
	}
	return r.begin(ctx, all[0], shards, true)
}

// errUnreadable is of a checkpoint that no second try would bring back.
var errUnreadable = errors.New("unreadable")

// begin restores shards, all of them or none; or, torn, those that can be.
func (r *run) begin(ctx context.Context, b beginning, shards []int, torn bool) error {
	restored := slices.Clone(r.restored)
	for _, p := range shards {
		data, found, err := b.read(ctx, p)
		if err != nil && !errors.Is(err, streamlog.ErrTorn) {
			return err
		}
		var seq uint64
		switch {
		case found:
			seq, err = r.engine.Restore(p, data)
		case err == nil:
			continue
		}
		switch {
		case err == nil && p >= 0:
			r.restored[p] = seq
		case err != nil && torn:
			r.cfg.Logger.Error("a checkpoint is unreadable; its partition starts without state", "partition", p, "error", err)
		case err != nil:
			for _, p := range shards {
				r.engine.empty(p)
			}
			r.restored = restored
			return fmt.Errorf("%w: partition %d: %w", errUnreadable, p, err)
		}
	}
	return nil
}

// disown takes back what the engine has ended in a snapshot that has the rules of other workers too: they go on
// with those.
func (e *Engine) disown(ours func(*batch.Event) bool) {
	others := func(m made) bool { return !ours(&m.Event) }
	for _, s := range e.shards {
		s.out = slices.DeleteFunc(s.out, others)
	}
	e.shared.out = slices.DeleteFunc(e.shared.out, others)
}
