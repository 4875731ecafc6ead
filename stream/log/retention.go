package log

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"panormus/stream/batch"
)

// A stream is thinned when it is fuller than high, down to low: both are parts of its bound.
const (
	highWater = 0.90
	lowWater  = 0.75
)

// Run keeps the streams within their age and bounds, purging only what every consumer has passed,
// and watches the disk. It blocks until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 0; ; n++ {
		if l.server != nil {
			l.guard.disk(l.cfg.Log, l.checkDisk(l.cfg.Dir, l.cfg.MinFree))
		}
		for _, spec := range streamSpecs {
			if err := l.thin(ctx, spec, n%60 == 0); err != nil && ctx.Err() == nil && !l.Away() {
				l.cfg.Log.Warn("thinning the log", "kind", spec.kind, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (l *Log) thin(ctx context.Context, spec streamSpec, checkAge bool) error {
	s := l.streams[spec.kind]
	info, err := s.Info(ctx)
	if err != nil {
		return err
	}
	l.metrics.size(spec.kind, info.State.Bytes)
	bound := float64(info.Config.MaxBytes)
	full := float64(info.State.Bytes) > bound*highWater
	age := l.maxAge(spec.kind)
	old := checkAge && info.State.Msgs > 0 && time.Since(info.State.FirstTime) > age
	if !full && !old {
		return nil
	}
	floor, holder, err := l.floor(ctx, spec.kind)
	if err != nil {
		return err
	}
	target := info.State.FirstSeq
	if full {
		// Batches differ in size, but little on the way from high to low water.
		drop := (float64(info.State.Bytes) - bound*lowWater) / float64(info.State.Bytes)
		target = info.State.FirstSeq + uint64(drop*float64(info.State.LastSeq-info.State.FirstSeq+1))
	}
	if old {
		seq, err := l.firstAfter(ctx, s, info.State, time.Now().Add(-age))
		if err != nil {
			return err
		}
		target = max(target, seq)
	}
	// The newest batch always stays, so that who reads up to LastSeq arrives there.
	if keep := min(target, floor+1, info.State.LastSeq); keep > info.State.FirstSeq {
		if err := s.Purge(ctx, jetstream.WithPurgeSequence(keep)); err != nil {
			return fmt.Errorf("purge below %d: %w", keep, err)
		}
	}
	if full && floor+1 < target {
		l.guard.held(l.cfg.Log, spec.kind, holder)
	}
	return nil
}

// maxAge is how long a batch of kind is kept that every consumer has passed.
func (l *Log) maxAge(kind batch.Kind) time.Duration {
	if kind == batch.KindDetections || kind == batch.KindTracks {
		return min(l.cfg.MaxAge, l.cfg.VideoMaxAge)
	}
	return l.cfg.MaxAge
}

// firstAfter finds the first sequence stored after t by bisection.
func (l *Log) firstAfter(ctx context.Context, s jetstream.Stream, state jetstream.StreamState, t time.Time) (uint64, error) {
	lo, hi := state.FirstSeq, state.LastSeq+1
	for lo < hi {
		mid := lo + (hi-lo)/2
		m, err := s.GetMsg(ctx, mid)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			lo = mid + 1
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("look at batch %d: %w", mid, err)
		}
		if m.Time.After(t) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo, nil
}

// floor is the lowest position of the consumers of kind, 0 when one that must be there is not, and
// whose it is.
func (l *Log) floor(ctx context.Context, kind batch.Kind) (uint64, string, error) {
	all, err := l.positions(ctx, kind)
	if err != nil {
		return 0, "", err
	}
	for _, must := range l.cfg.Consumers {
		if _, ok := all[must]; !ok && l.reads(must, kind) {
			return 0, must, nil
		}
	}
	if len(all) == 0 {
		return 0, "no consumer yet", nil
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	lowest := slices.MinFunc(names, func(a, b string) int {
		switch {
		case all[a].Seq < all[b].Seq:
			return -1
		case all[a].Seq > all[b].Seq:
			return 1
		}
		return 0
	})
	return all[lowest].Seq, lowest, nil
}

// reads reports whether the consumer must have a position in kind: the writer stores every kind,
// tracks are made of detections, alarms of events, others are waited for on observations only.
func (l *Log) reads(consumer string, kind batch.Kind) bool {
	switch consumer {
	case "writer":
		return true
	case "tracks":
		return kind == batch.KindDetections
	case "alarms":
		return kind == batch.KindEvents
	}
	return kind == batch.KindObservations
}

// checkFree reports a disk with less than want bytes left.
func checkFree(dir string, want int64) error {
	free, err := freeBytes(dir)
	if err != nil {
		return fmt.Errorf("ask for free space of %s: %w", dir, err)
	}
	if free < want {
		return fmt.Errorf("disk of %s: %d MiB free, want at least %d MiB", dir, free>>20, want>>20)
	}
	return nil
}

// freeBytes is what an ordinary process may still write to the disk of dir, or of the folder above
// it that is there.
func freeBytes(dir string) (int64, error) {
	for {
		var st syscall.Statfs_t
		err := syscall.Statfs(dir, &st)
		if parent := filepath.Dir(filepath.Clean(dir)); errors.Is(err, os.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		return int64(st.Bavail) * int64(st.Bsize), err
	}
}

// guard remembers why the log cannot be written and says each change once.
type guard struct {
	mu     sync.Mutex
	full   error // the disk's
	stuck  map[batch.Kind]*stop
	holder map[batch.Kind]string
}

// A stop is since when, and why, the log takes no batch of a kind.
type stop struct {
	since time.Time
	why   error
}

// Writable says why the log has taken nothing of some kind for a while, and nil where it takes all.
func (l *Log) Writable() error {
	l.guard.mu.Lock()
	defer l.guard.mu.Unlock()
	for _, spec := range streamSpecs {
		if s := l.guard.stuck[spec.kind]; s != nil && time.Since(s.since) > stuckFor {
			return fmt.Errorf("the log has taken no %s since %s, what comes in waits: %w", spec.kind, s.since.UTC().Format(time.RFC3339), s.why)
		}
	}
	return nil
}

// stuckFor is how long a batch waits before it is said that something is wrong.
const stuckFor = 10 * time.Second

func (g *guard) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.full
}

func (g *guard) disk(log *slog.Logger, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if (err == nil) == (g.full == nil) {
		return
	}
	g.full = err
	if err != nil {
		log.Error("the log takes nothing more until there is room on the disk; devices wait, nothing is dropped", "error", err)
	} else {
		log.Info("there is room on the disk again")
	}
}

func (g *guard) blocked(log *slog.Logger, kind batch.Kind, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stuck == nil {
		g.stuck = map[batch.Kind]*stop{}
	}
	if s := g.stuck[kind]; s != nil {
		s.why = err
		return
	}
	g.stuck[kind] = &stop{since: time.Now(), why: err}
	log.Error("the log does not take a batch; ingest waits, nothing is dropped", "kind", kind, "error", err)
}

func (g *guard) wrote(log *slog.Logger, kind batch.Kind) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stuck[kind] != nil {
		delete(g.stuck, kind)
		delete(g.holder, kind)
		log.Info("the log takes batches again", "kind", kind)
	}
}

func (g *guard) held(log *slog.Logger, kind batch.Kind, holder string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holder == nil {
		g.holder = map[batch.Kind]string{}
	}
	if g.holder[kind] == holder {
		return
	}
	g.holder[kind] = holder
	log.Warn("the log nears its bound and a consumer holds it", "kind", kind, "consumer", holder)
}
