package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"panormus/stream/batch"
	"panormus/stream/log"
)

// Bounds of what Remember reads of the log: the newest batches before it returns, older ones
// beside the work. Both are read in pieces, the newest first.
const (
	rememberNow   = 512
	rememberLater = 8192
	rememberPiece = 512
	rememberBytes = 256 << 20
	// rememberWait is how long a batch that is said to be there may take. The log's newest always stays,
	// so only somebody who emptied it by hand waits in vain; a machine that is slow to start must not
	// forget what came before.
	rememberWait = time.Minute
)

// fingerprinted are the kinds of batches that say which messages they are of.
var fingerprinted = []batch.Kind{batch.KindObservations, batch.KindDetections}

// Remember reads the end of the log, so that messages which came before a restart and come again
// are recognised. Call it before any session is opened. It reads the newest 512 batches of each
// kind, at least a second of full load, and returns; older ones, up to 8,192 batches or 256 MiB, are
// read by the function it returns, which may run beside the work and ends with ctx.
func (p *Pump) Remember(ctx context.Context, l *log.Log) (older func(context.Context) error, err error) {
	from, last := make([]uint64, len(fingerprinted)), make([]uint64, len(fingerprinted))
	for i, kind := range fingerprinted {
		if last[i], err = l.LastSeq(ctx, kind); err != nil {
			return nil, fmt.Errorf("remember what is on the log: %w", err)
		}
		from[i] = last[i] - min(last[i], rememberNow)
		if _, err := p.rememberPiece(ctx, l, kind, from[i], last[i]); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context) error {
		for i, kind := range fingerprinted {
			for bytes, to := 0, from[i]; to > 0 && last[i]-to < rememberLater && bytes < rememberBytes; {
				after := to - min(to, rememberPiece)
				n, err := p.rememberPiece(ctx, l, kind, after, to)
				if err != nil {
					return err
				}
				if n == 0 {
					break // purged from here on
				}
				bytes, to = bytes+n, after
			}
		}
		return nil
	}, nil
}

// rememberPiece reads the batches (after, last] and returns their bytes.
func (p *Pump) rememberPiece(ctx context.Context, l *log.Log, kind batch.Kind, after, last uint64) (bytes int, err error) {
	if after >= last {
		return 0, nil
	}
	r, err := l.Read(ctx, kind, after)
	if err != nil {
		return 0, fmt.Errorf("remember what is on the log: %w", err)
	}
	defer r.Close()
	for {
		wait, cancel := context.WithTimeout(ctx, rememberWait)
		m, err := r.Next(wait)
		cancel()
		if err != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return bytes, nil
		}
		if err != nil {
			return bytes, fmt.Errorf("remember what is on the log: %w", err)
		}
		if m.Seq > last {
			return bytes, nil
		}
		bytes += len(m.Data)
		prints, err := batch.Fingerprints(m.Kind, m.Data)
		if err != nil {
			// Whoever stores the batch will say so too; here it means only that its messages
			// would not be recognised.
			p.cfg.Logger.Error("a batch of the log without readable fingerprints", "seq", m.Seq, "error", err)
		} else if m.Partition >= 0 && m.Partition < len(p.lanes)-1 {
			lane := p.lanes[m.Partition]
			lane.mu.Lock()
			for _, f := range prints {
				lane.prints.addOld(f)
			}
			lane.mu.Unlock()
		}
		if m.Seq == last {
			return bytes, nil
		}
	}
}
