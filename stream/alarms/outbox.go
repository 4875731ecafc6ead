package alarms

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"panormus/stream/batch"
)

// foldSome folds acts and either asks for another turn or writes the alarm log. It waits while an operator
// does, for nobody waits for it, but not for long: where there is always one, the log comes, too.
func (r *run) foldSome(ctx context.Context, more chan<- struct{}) error {
	if !r.book.answering() {
		r.heldUp = time.Time{}
	} else if now := time.Now(); r.heldUp.IsZero() {
		r.heldUp = now
		return nil
	} else if now.Sub(r.heldUp) < foldWait {
		return nil
	}
	left, err := r.fold(ctx)
	if err == nil && (!left || r.folded >= foldedMost) {
		err = r.writeLog(ctx)
	}
	if err != nil || !left {
		return err
	}
	select {
	case more <- struct{}{}:
	default:
	}
	return nil
}

// fold writes values of alarms that have acts which are in no value yet, and reports whether there are more.
func (r *run) fold(ctx context.Context) (left bool, err error) {
	ids, acts := r.book.unfoldedIDs(foldMost, foldActs)
	if len(ids) == 0 {
		return false, nil
	}
	r.folded += acts
	if err := r.Worker.step("fold"); err != nil {
		return false, err
	}
	return len(ids) == foldMost || acts >= foldActs, failure(r.book.edit(ctx, ids, func(_ int, a *Alarm) (*Alarm, error) { return a, nil }))
}

// writeLog puts the entries that the Book holds on the log and then notes up to which revision of the
// bucket all are there. A kill between makes them come again.
func (r *run) writeLog(ctx context.Context) error {
	b := r.book
	r.folded = 0
	var rows []batch.AlarmRow
	b.mu.RLock()
	upTo, logged := b.watched, b.logged
	ids := slices.AppendSeq(make([]string, 0, len(b.unlogged)), maps.Keys(b.unlogged))
	b.mu.RUnlock()
	for some := range slices.Chunk(ids, rowsAtOnce) {
		b.mu.RLock()
		for _, id := range some {
			h := b.records[id]
			if h == nil {
				continue // forgotten since
			}
			for _, e := range h.base.Pending {
				if e.N > r.published[id] {
					rows = append(rows, batch.AlarmRow{Time: e.Time, Alarm: id, N: e.N, Action: e.Action, By: e.By, State: string(e.State), Severity: e.Severity, Note: e.Note})
				}
			}
		}
		b.mu.RUnlock()
	}
	if len(rows) == 0 && upTo == logged {
		return nil
	}
	slices.SortFunc(rows, func(x, y batch.AlarmRow) int { return x.Time.Compare(y.Time) })
	for len(rows) > 0 {
		n, data, err := batch.Fit(rows[:min(len(rows), rowsABatch)], r.cfg.Log.MaxBatch(), batch.EncodeAlarmLog)
		if err != nil {
			return err
		}
		chunk := rows[:n]
		rows = rows[n:]
		if err := r.Worker.step("log"); err != nil {
			return err
		}
		if _, err := r.cfg.Log.Publish(ctx, batch.KindAlarmLog, 0, fmt.Sprintf("alarms-%x", sha256.Sum256(data)), data); err != nil {
			return err
		}
		for i := range chunk {
			r.published[chunk[i].Alarm] = max(r.published[chunk[i].Alarm], chunk[i].N)
		}
		r.metrics.entries.Add(float64(len(chunk)))
		if err := r.Worker.step("logged"); err != nil {
			return err
		}
	}
	value, err := json.Marshal(upTo)
	if err != nil {
		return err
	}
	if err := b.desk.Put(ctx, loggedKey, value); err != nil {
		return err
	}
	b.mu.Lock()
	b.logged = max(b.logged, upTo)
	b.mu.Unlock()
	for some := range slices.Chunk(ids, rowsAtOnce) {
		b.mu.Lock()
		for _, id := range some {
			h := b.records[id]
			if h != nil && h.seq > upTo {
				continue
			}
			delete(b.unlogged, id)
			delete(r.published, id)
			if h != nil {
				h.forgetLogged()
			}
		}
		b.mu.Unlock()
	}
	return nil
}

// settleLog takes in what operators did and puts all entries on the log.
func (r *run) settleLog(ctx context.Context) error {
	for left := true; left; {
		var err error
		if left, err = r.fold(ctx); err != nil {
			return err
		}
	}
	return r.writeLog(ctx)
}
