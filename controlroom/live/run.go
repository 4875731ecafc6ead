package live

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"panormus/stream/batch"
	"panormus/stream/log"
)

// A Log is where the state comes from; *log.Log is one.
type Log interface {
	Read(ctx context.Context, kind batch.Kind, after uint64, partitions ...int) (*log.Reader, error)
	Position(ctx context.Context, consumer string, kind batch.Kind) (log.Position, error)
	LastSeq(ctx context.Context, kind batch.Kind) (uint64, error)
}

// A Latest is the last value of one metric as the database has it.
type Latest struct {
	Domain, Device, Metric string
	Time                   time.Time
	Value                  float64 // NaN for a text
	Text                   string
}

// History is what happened before the log's place: everything up to the writer's position.
type History interface {
	// LatestValues calls each for the last value of every metric of every device, in any order; rows
	// of one device that follow one another are faster. It stops at the first error.
	LatestValues(ctx context.Context, each func(Latest) error) error
	// OpenEpisodes returns, for every rule and key whose newest event is not a cleared one, the event
	// that raised the episode and the newest that updated it, if any, in order of time.
	OpenEpisodes(ctx context.Context) ([]batch.Event, error)
	// RecentEvents returns the newest n events, in any order.
	RecentEvents(ctx context.Context, n int) ([]batch.Event, error)
	// CameraSigns returns of every camera when it last sent anything and the newest word on whether it
	// was tampered with and has lost its picture.
	CameraSigns(ctx context.Context) ([]CameraSign, error)
}

// A CameraSign is the newest thing of its kind that a camera said. What is batch.WhatFrame,
// WhatTamper or WhatSignalLoss.
type CameraSign struct {
	Camera, What string
	Time         time.Time
	Value        float64
}

// Feeding is where Run takes the state from.
type Feeding struct {
	Log Log
	// History may be nil: then the state is what the log holds from the Writer's position on.
	History History
	// Writer is the consumer whose position in the log says up to where History is complete.
	Writer string
	// Ready, where not nil, is called once, when the state holds all that was logged before Run.
	Ready func()
	// Least is the least number of objects that a camera's figures may tell of, by its purpose; nil:
	// privacy.DefaultK of each.
	Least func(purpose string) int
}

// progress is how far the state is in the log, kept from one Run to the next.
type progress struct {
	restored bool
	done     [4]atomic.Uint64 // by stream
	ready    bool
}

// A stream is a kind of batches that the state is made of.
type stream struct {
	kind  batch.Kind
	done  *atomic.Uint64 // up to which the state is made of it
	apply func(data []byte) error
}

func (s *State) streams() []stream {
	done := &s.progress.done
	return []stream{
		{batch.KindObservations, &done[0], applying(batch.DecodeObservations, s.Apply)},
		{batch.KindEvents, &done[1], applying(batch.DecodeEvents, s.ApplyEvents)},
		{batch.KindDetections, &done[2], applying(batch.DecodeSigns, s.applySigns)},
		{batch.KindCounts, &done[3], applying(batch.DecodeCounts, s.applyCounts)},
	}
}

func applying[T any](decode func([]byte) (T, error), apply func(T)) func([]byte) error {
	return func(data []byte) error {
		b, err := decode(data)
		if err == nil {
			apply(b)
		}
		return err
	}
}

// registryEvery is how often the registry is asked for news.
const registryEvery = time.Second

// Run restores the state and follows the log until ctx ends or a reader fails. Run it again after a
// failure: it goes on where it was.
func (s *State) Run(ctx context.Context, f Feeding) error {
	s.cameras.mu.Lock()
	s.cameras.least = f.Least
	s.cameras.mu.Unlock()
	s.SyncRegistry()
	if !s.progress.restored {
		if err := s.restore(ctx, f); err != nil {
			return err
		}
		s.progress.restored = true
	}
	streams := s.streams()
	until := make([]uint64, len(streams))
	for i, st := range streams {
		var err error
		if until[i], err = f.Log.LastSeq(ctx, st.kind); err != nil {
			return err
		}
	}
	caughtUp := make(chan struct{}, len(streams))
	g, ctx := errgroup.WithContext(ctx)
	for i, st := range streams {
		g.Go(func() error { return s.follow(ctx, f.Log, st, until[i], caughtUp) })
	}
	g.Go(func() error {
		for range streams {
			select {
			case <-caughtUp:
			case <-ctx.Done():
				return nil
			}
		}
		if !s.progress.ready && f.Ready != nil {
			f.Ready()
		}
		s.progress.ready = true
		return nil
	})
	g.Go(func() error {
		tick := time.NewTicker(registryEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				s.SyncRegistry()
				s.quiet(now)
			}
		}
	})
	return g.Wait()
}

// restore takes the position first: what the database holds then is at least up to there, and what
// the log repeats after it changes nothing.
func (s *State) restore(ctx context.Context, f Feeding) error {
	streams := s.streams()
	stored := make([]uint64, len(streams))
	for i, st := range streams {
		at, err := f.Log.Position(ctx, f.Writer, st.kind)
		if err != nil {
			return err
		}
		stored[i] = at.Seq
	}
	if f.History != nil {
		if err := s.restoreHistory(ctx, f.History); err != nil {
			return fmt.Errorf("restore the live state: %w", err)
		}
	}
	for i, st := range streams {
		st.done.Store(stored[i])
	}
	return nil
}

func (s *State) restoreHistory(ctx context.Context, h History) error {
	// In this order: what is among the recent is then in the episodes too, and may be skipped when
	// the log repeats it.
	recent, err := h.RecentEvents(ctx, recentEvents)
	if err != nil {
		return err
	}
	open, err := h.OpenEpisodes(ctx)
	if err != nil {
		return err
	}
	s.restoreEvents(open, recent)
	var o batch.Observations
	err = h.LatestValues(ctx, func(l Latest) error {
		if s.registry != nil && s.registry.Lookup(l.Device) == nil {
			return nil // taken out of the registry since
		}
		o.Append(o.Begin(l.Time.UnixMilli(), l.Time.UnixMilli(), l.Domain, l.Device), l.Metric, l.Value, l.Text, 0)
		if o.Len() >= batch.MaxRows {
			s.Apply(&o)
			o.Reset()
		}
		return nil
	})
	s.Apply(&o)
	if err != nil {
		return err
	}
	signs, err := h.CameraSigns(ctx)
	if err != nil {
		return err
	}
	var b batch.Signs
	for _, sign := range signs {
		b.Camera.Append(sign.Camera)
		b.What.Append(sign.What)
		b.Time, b.Value = append(b.Time, sign.Time.UnixMilli()), append(b.Value, sign.Value)
		if len(b.Time) == batch.MaxRows {
			s.applySigns(&b)
			b = batch.Signs{}
		}
	}
	s.applySigns(&b)
	return nil
}

// follow applies every batch of the stream after what is done, counts that up, and tells caughtUp
// when it is past until.
func (s *State) follow(ctx context.Context, from Log, st stream, until uint64, caughtUp chan<- struct{}) error {
	r, err := from.Read(ctx, st.kind, st.done.Load())
	if ctx.Err() != nil {
		if err == nil {
			r.Close()
		}
		return nil
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer r.Close()
	told := false
	for {
		if !told && st.done.Load() >= until {
			told = true
			caughtUp <- struct{}{}
		}
		m, err := r.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := st.apply(m.Data); err != nil {
			s.metrics.broken.Inc()
			s.log.Error("unreadable batch in the log, left out of the live state", "kind", st.kind, "seq", m.Seq, "error", err)
		}
		st.done.Store(m.Seq)
	}
}
