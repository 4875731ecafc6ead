package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"panormus/stream/batch"
	"panormus/stream/log"
)

// Replay says which rejected messages to take in again. The zero Replay is all of them.
type Replay struct {
	Since, Until time.Time // by receive time; zero for no bound
	Reasons      []Reason  // empty for all
	Topic        string    // an MQTT topic filter; empty for all
	DryRun       bool      // decode, and store nothing
}

// Replayed is what came of a replay, in messages.
type Replayed struct {
	Read       uint64 // that Replay selects
	Decoded    uint64 // stored now; with DryRun, that could be
	Duplicates uint64 // stored before
	Skipped    uint64 // kept only in part, or without what they said
	Rejected   map[Reason]uint64
}

// ReplayRejected takes in again what is in the dead letter, up to its present end, with the receive
// times of old, and returns when it is on the log. What is rejected again is counted, not filed
// again. Doing it twice stores nothing twice, as far back as p's fingerprints reach. The pump must
// be running.
func ReplayRejected(ctx context.Context, p *Pump, l *log.Log, r Replay) (Replayed, error) {
	out := Replayed{Rejected: map[Reason]uint64{}}
	match, err := r.selector()
	if err != nil {
		return out, err
	}
	last, err := l.LastSeq(ctx, batch.KindRejected)
	if err != nil {
		return out, fmt.Errorf("replay rejected messages: %w", err)
	}
	if last == 0 {
		return out, nil
	}
	reader, err := l.Read(ctx, batch.KindRejected, 0)
	if err != nil {
		return out, fmt.Errorf("replay rejected messages: %w", err)
	}
	defer reader.Close()
	s := p.Session("replay", "replay", nil, ctx.Done())
	defer s.Release()
	s.replay = &replaying{out: &out, dry: r.DryRun}
	for {
		wait, cancel := context.WithTimeout(ctx, rememberWait)
		m, err := reader.Next(wait)
		cancel()
		if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			break // the rest was purged
		}
		if err != nil {
			return out, fmt.Errorf("replay rejected messages: %w", err)
		}
		if m.Seq > last {
			break
		}
		rows, err := batch.DecodeRejected(m.Data)
		if err != nil {
			return out, fmt.Errorf("replay rejected messages: batch %d: %w", m.Seq, err)
		}
		for i := range rows {
			row := &rows[i]
			if !match(row) {
				continue
			}
			out.Read++
			if r := Reason(row.Reason); r == ReasonTooLarge || len(row.Payload) == 0 && r != ReasonEmpty {
				out.Skipped++
				continue
			}
			s.replay.reason = Reason(row.Reason)
			if err := s.Handle(&Envelope{Topic: []byte(row.Topic), Payload: row.Payload, Received: row.Received.UnixMilli()}); err != nil {
				return out, fmt.Errorf("replay rejected messages: %w", err)
			}
		}
		if m.Seq == last {
			break
		}
	}
	if err := p.Flush(ctx); err != nil {
		return out, fmt.Errorf("replay rejected messages: %w", err)
	}
	return out, nil
}

// replaying is what a session does differently in a replay.
type replaying struct {
	out    *Replayed
	dry    bool
	reason Reason // of the message in hand
}

// note counts a message that could be decoded, and reports whether that is all.
func (r *replaying) note(again bool) bool {
	if again {
		r.out.Duplicates++
	} else {
		r.out.Decoded++
	}
	return r.dry
}

func (r Replay) selector() (func(*batch.Rejected) bool, error) {
	var topics *route
	if r.Topic != "" {
		c, err := compile(Route{Filter: r.Topic, Decoder: Ignore}, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("replay rejected messages: topic %q: %w", r.Topic, err)
		}
		topics = &c
	}
	reasons := map[Reason]bool{}
	for _, reason := range r.Reasons {
		reasons[reason] = true
	}
	return func(row *batch.Rejected) bool {
		if topics != nil {
			if _, _, ok := topics.match(row.Topic); !ok {
				return false
			}
		}
		return (len(reasons) == 0 || reasons[Reason(row.Reason)]) &&
			(r.Since.IsZero() || !row.Received.Before(r.Since)) && (r.Until.IsZero() || row.Received.Before(r.Until))
	}, nil
}
