package rules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// An eventSink puts events on the log, but for those that it has already: a replay makes them again.
type eventSink struct {
	log       *streamlog.Log
	have      map[string]struct{} // ids that the log has
	remember  bool                // ids published now, too: the replay is not over
	events    uint64              // the newest sequence of our own on the stream of events
	published *atomic.Int64
	skipped   prometheus.Counter
	before    func(step string) error // told of every step; its error ends the work
}

func (s *eventSink) publish(ctx context.Context, events []batch.Event) error {
	fresh := events[:0]
	for i := range events {
		if _, ok := s.have[events[i].ID]; ok {
			s.skipped.Inc()
			continue
		}
		fresh = append(fresh, events[i])
	}
	for len(fresh) > 0 {
		if err := s.before("publish"); err != nil {
			return err
		}
		n, data, err := batch.Fit(fresh[:min(len(fresh), eventsABatch)], s.log.MaxBatch(), batch.EncodeEvents)
		if err != nil {
			return err
		}
		chunk := fresh[:n]
		fresh = fresh[n:]
		// The work in hand goes on when ctx ends; a log that takes nothing meanwhile ends it.
		pctx, cancel := streamlog.WithGrace(ctx, stopTimeout)
		seq, err := s.log.Publish(pctx, batch.KindEvents, 0, chunkID(chunk), data)
		cancel()
		if err != nil {
			return fmt.Errorf("publish %d events: %w", len(chunk), err)
		}
		s.events = max(s.events, seq)
		s.published.Add(int64(len(chunk)))
		if s.remember {
			for i := range chunk {
				s.have[chunk[i].ID] = struct{}{}
			}
		}
		if err := s.before("published"); err != nil {
			return err
		}
	}
	return nil
}

// known reads the events after a sequence, notes their ids and calls each for every one of them.
func (s *eventSink) known(ctx context.Context, after uint64, unreadable func(seq uint64, err error), each func(*batch.Event)) error {
	s.have = map[string]struct{}{}
	last, err := s.log.LastSeq(ctx, batch.KindEvents)
	if err != nil || last <= after {
		return err
	}
	reader, err := s.log.Read(ctx, batch.KindEvents, after)
	if err != nil {
		return err
	}
	defer reader.Close()
	for seq := after; seq < last; {
		m, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		seq = m.Seq
		events, err := batch.DecodeEvents(m.Data)
		if err != nil {
			unreadable(m.Seq, err)
			continue
		}
		for i := range events {
			s.have[events[i].ID] = struct{}{}
			each(&events[i])
		}
		s.events = max(s.events, m.Seq)
	}
	return nil
}

// passEvents moves the position past the events of others: all of ours are on the log, and a replay
// from here makes only later ones. Without it one who raises nothing would hold everybody's events.
func (s *eventSink) passEvents(ctx context.Context) {
	if last, err := s.log.LastSeq(ctx, batch.KindEvents); err == nil {
		s.events = max(s.events, last)
	}
}

// chunkID names a batch of events by all that is in it.
func chunkID(events []batch.Event) string {
	h := sha256.New()
	for i := range events {
		h.Write([]byte(events[i].ID))
	}
	return "rules-" + hex.EncodeToString(h.Sum(nil)[:16])
}
