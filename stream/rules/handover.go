package rules

import (
	"context"
	"fmt"
	"slices"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

const wholeFolder = "checkpoint" // of a worker that has all of the work

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

// newest is the snapshot of a partition, -1 for the shared shard, that is furthest in the log: the worker's, or
// that of one which had all of the work before it was shared.
func (r *run) newest(ctx context.Context, objects *streamlog.Objects, p int) (data []byte, ok bool, err error) {
	data, ok, err = objects.Get(ctx, objectName(r.folder(), p))
	if err != nil || r.folder() == wholeFolder {
		return data, ok, err
	}
	whole, found, err := objects.Get(ctx, objectName(wholeFolder, p))
	if err != nil {
		return nil, false, err
	}
	if found && (!ok || snapshotSeq(whole) > snapshotSeq(data)) {
		return whole, true, nil
	}
	return data, ok, nil
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
