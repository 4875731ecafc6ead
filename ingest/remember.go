package ingest

import (
	"context"
	"fmt"

	"panormus/stream/batch"
	"panormus/stream/log"
)

// Bounds of what Remember reads of the log: the newest batches before it returns, older ones
// beside the work.
const (
	rememberNow   = 512
	rememberLater = 8192
	rememberBytes = 256 << 20
)

// Remember reads the end of the log, so that messages which came before a restart and come again
// are recognised. Call it before any session is opened. It reads the newest 512 batches, at least
// five seconds of full load, and returns; older ones, up to 8,192 batches or 256 MiB, are read by
// the function it returns, which may run beside the work and ends with ctx.
func (p *Pump) Remember(ctx context.Context, l *log.Log) (older func(context.Context) error, err error) {
	last, err := l.LastSeq(ctx, batch.KindObservations)
	if err != nil {
		return nil, fmt.Errorf("remember what is on the log: %w", err)
	}
	from := last - min(last, rememberNow)
	if err := p.remember(ctx, l, from, last, (*printTable).add); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		return p.remember(ctx, l, last-min(last, rememberLater), from, (*printTable).addOld)
	}, nil
}

// remember reads the batches (after, last].
func (p *Pump) remember(ctx context.Context, l *log.Log, after, last uint64, add func(*printTable, uint64)) error {
	if after >= last {
		return nil
	}
	r, err := l.Read(ctx, batch.KindObservations, after)
	if err != nil {
		return fmt.Errorf("remember what is on the log: %w", err)
	}
	defer r.Close()
	for bytes := 0; bytes < rememberBytes; {
		m, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("remember what is on the log: %w", err)
		}
		if m.Seq > last {
			return nil
		}
		bytes += len(m.Data)
		prints, err := batch.Fingerprints(m.Data)
		if err != nil {
			// Whoever stores the batch will say so too; here it means only that its messages
			// would not be recognised.
			p.cfg.Logger.Error("a batch of the log without readable fingerprints", "seq", m.Seq, "error", err)
		} else if m.Partition >= 0 && m.Partition < len(p.lanes)-1 {
			lane := p.lanes[m.Partition]
			lane.mu.Lock()
			for _, f := range prints {
				add(lane.prints, f)
			}
			lane.mu.Unlock()
		}
		if m.Seq == last {
			return nil
		}
	}
	return nil
}
