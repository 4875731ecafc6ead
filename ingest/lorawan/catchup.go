package lorawan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"panormus/ingest/lorawan/frame"
	"panormus/stream/batch"
	"panormus/stream/log"
)

// catchUpWait is how long to wait for a batch that is said to be there: long, since without it frames
// that came before would be let in again.
const catchUpWait = time.Minute

// CatchUp raises the counters that Load read to those of the uplinks on the log after seq. Call it
// before Follow.
//
// A process that was killed may have put a batch of uplinks on the log and not its observations: the
// frames of the last batch of each partition are let in once more.
func (s *Sessions) CatchUp(ctx context.Context, l *log.Log, seq uint64) error {
	last, err := l.LastSeq(ctx, batch.KindUplinks)
	if err != nil {
		return fmt.Errorf("frame counters: %w", err)
	}
	if last <= seq {
		return nil
	}
	r, err := l.Read(ctx, batch.KindUplinks, seq)
	if err != nil {
		return fmt.Errorf("frame counters: %w", err)
	}
	defer r.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	open := map[int][]batch.Uplink{} // the last batch of each partition
	for {
		wait, cancel := context.WithTimeout(ctx, catchUpWait)
		m, err := r.Next(wait)
		cancel()
		if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			break // the rest was purged
		}
		if err != nil {
			return fmt.Errorf("frame counters: %w", err)
		}
		if m.Seq > last {
			break
		}
		rows, err := batch.DecodeUplinks(m.Data)
		if err != nil {
			s.Log.Warn("unreadable uplinks on the log", "seq", m.Seq, "error", err)
		}
		s.raise(open[m.Partition], true)
		open[m.Partition] = rows
		if m.Seq == last {
			break
		}
	}
	for _, rows := range open {
		s.raise(rows, false)
	}
	return nil
}

// raise takes frames in that came. s.mu is held.
func (s *Sessions) raise(rows []batch.Uplink, stored bool) {
	for i := range rows {
		a := s.Registry.Lookup(rows[i].Device)
		if a == nil {
			continue
		}
		if _, ok, err := frame.KeysOf(a.LoRaWAN); !ok || err != nil {
			continue
		}
		k, had := s.kept[a.ID]
		if !had {
			k.any = true
		}
		raise(&k.state, uint32(rows[i].FCnt), stored)
		s.kept[a.ID] = k
	}
}

func raise(st *frame.State, fcnt uint32, stored bool) {
	switch {
	case !st.Any:
		*st = frame.State{Any: true, Last: fcnt}
	case fcnt > st.Last:
		st.Seen <<= min(fcnt-st.Last, frame.Window)
		st.Last = fcnt
	}
	if back := st.Last - fcnt; stored && back < frame.Window {
		st.Seen |= 1 << back
	}
}
