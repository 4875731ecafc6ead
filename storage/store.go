package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// store brings one group into the database and moves the position past it. What is on the record
// while it works is the group's bounds: after a crash the same group is made again and inserted
// under the same token, and what the tables have of it already they drop.
func (l *lane) store(ctx context.Context, g *group) error {
	if err := l.setPosition(ctx, streamlog.Position{Seq: g.from, Until: g.to}); err != nil {
		return err
	}
	rows, lost := joinUnits(l.kind, g.units)
	err := l.insert(ctx, rows, l.token(g.from, g.to))
	if err != nil && len(g.units) > 1 && isDataError(err) {
		// Something in it is refused: each half is a group of its own from here on.
		mid := len(g.units) / 2
		first := &group{from: g.from, to: g.units[mid-1].seq, units: g.units[:mid]}
		second := &group{from: first.to, to: g.to, units: g.units[mid:]}
		if err := l.store(ctx, first); err != nil {
			return err
		}
		return l.store(ctx, second)
	}
	var refused []batch.Rejected
	if err != nil && isDataError(err) {
		refused, err = l.bisect(ctx, rows, 0, g, err)
	}
	if err != nil {
		return err
	}
	for _, u := range lost {
		r := batch.Rejected{
			Received: u.stored, Source: "storage", Topic: fmt.Sprintf("log/%s/%d", l.kind, u.seq), Reason: "unreadable batch",
			Detail: u.err.Error(),
		}
		if !personal[l.kind] {
			r.Payload = u.data[:min(len(u.data), maxRefused)]
		}
		refused = append(refused, r)
	}
	if d, ok := rows.(detectionRows); ok {
		more, err := l.storePlates(ctx, d.plates(), g)
		if err != nil {
			return err
		}
		refused = append(refused, more...)
	}
	if err := l.file(ctx, refused, g); err != nil {
		return err
	}
	if err := l.setPosition(ctx, streamlog.Position{Seq: g.to}); err != nil {
		return err
	}
	l.at.Store(g.to)
	return nil
}

// personal are the kinds whose rows tell of people: nothing that names anybody goes into what is
// kept of refused ones.
var personal = map[batch.Kind]bool{batch.KindDetections: true, batch.KindTracks: true}

// storePlates stores the sealed plates of the group's detections, which are stored already, under a
// token of their own: a repeated group drops whichever of the two there is.
func (l *lane) storePlates(ctx context.Context, rows plateRows, g *group) ([]batch.Rejected, error) {
	if rows.len() == 0 {
		return nil, nil
	}
	_, err := l.send(ctx, rows, l.token(g.from, g.to)+"/plates")
	if err == nil || !isDataError(err) {
		return nil, err
	}
	return []batch.Rejected{{
		Received: time.Now().UTC(), Source: "storage", Topic: fmt.Sprintf("log/%s/%d", l.kind, g.to), Reason: "refused by the database",
		Detail: fmt.Sprintf("%d sealed plates: %s", rows.len(), l.cause(err)),
	}}, nil
}

// cause is what may be told of why rows were refused: the database's words quote them.
func (l *lane) cause(err error) string {
	if !personal[l.kind] {
		return err.Error()
	}
	if ex, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return fmt.Sprintf("exception %d of the database", ex.Code)
	}
	return "a value that the client cannot write"
}

// maxRefused bounds what is kept of a refused row or batch.
const maxRefused = 1 << 20

// token names the rows of (from, to] among all that any log ever held.
func (l *lane) token(from, to uint64) string {
	return fmt.Sprintf("panormus/%s/%s/%d-%d", l.w.log.Epoch(), l.kind, from, to)
}

// bisect stores what it can of rows, which the database refused with cause, and returns the rest.
// The token of a part is its bounds, the same after a crash.
func (l *lane) bisect(ctx context.Context, rows rowSet, at int, g *group, cause error) ([]batch.Rejected, error) {
	n := rows.len()
	if n == 1 {
		text, err := json.Marshal(rows.row(0))
		if err != nil {
			text = fmt.Appendf(nil, "%+v", rows.row(0))
		}
		return []batch.Rejected{{
			Received: time.Now().UTC(), Source: "storage", Topic: fmt.Sprintf("log/%s/%d", l.kind, g.to), Reason: "refused by the database",
			Detail: l.cause(cause), Payload: text[:min(len(text), maxRefused)],
		}}, nil
	}
	var refused []batch.Rejected
	for _, part := range [][2]int{{0, n / 2}, {n / 2, n}} {
		some := rows.slice(part[0], part[1])
		err := l.insert(ctx, some, fmt.Sprintf("%s/%d-%d", l.token(g.from, g.to), at+part[0], at+part[1]))
		var more []batch.Rejected
		if err != nil && isDataError(err) {
			more, err = l.bisect(ctx, some, at+part[0], g, err)
		}
		if err != nil {
			return nil, err
		}
		refused = append(refused, more...)
	}
	return refused, nil
}

// file puts what cannot be stored on the log's stream of rejected messages, but for what came from
// there: that is told and counted.
func (l *lane) file(ctx context.Context, refused []batch.Rejected, g *group) error {
	if len(refused) == 0 {
		return nil
	}
	l.w.db.metrics.refused.WithLabelValues(string(l.kind)).Add(float64(len(refused)))
	l.w.cfg.Log.Error("rows cannot be stored and are filed as rejected", "kind", l.kind, "rows", len(refused),
		"after", g.from, "to", g.to, "error", refused[0].Detail)
	if l.kind == batch.KindRejected {
		return nil
	}
	for i := range refused { // one by one: a batch on the log has a bound in bytes
		data, err := batch.EncodeRejected(refused[i : i+1])
		if err != nil {
			return err
		}
		id := fmt.Sprintf("%s/refused/%d", l.token(g.from, g.to), i)
		if err := l.retry(ctx, "file a refused row", func(ctx context.Context) error {
			_, err := l.w.log.Publish(ctx, batch.KindRejected, 0, id, data)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) setPosition(ctx context.Context, p streamlog.Position) error {
	return l.retry(ctx, "record the writer's position", func(ctx context.Context) error {
		return l.w.log.SetPosition(ctx, Consumer, l.kind, p)
	})
}

// insert stores rows under a token, repeating while the database cannot. The error is the end of
// ctx or the database's word that it will never take these rows.
func (l *lane) insert(ctx context.Context, rows rowSet, token string) error {
	if rows == nil || rows.len() == 0 {
		return nil
	}
	took, err := l.send(ctx, rows, token)
	if err != nil {
		return err
	}
	kind := string(l.kind)
	l.stored.Add(int64(rows.len()))
	l.w.db.metrics.rows.WithLabelValues(kind).Add(float64(rows.len()))
	l.w.db.metrics.inserts.WithLabelValues(kind).Inc()
	l.w.db.metrics.seconds.WithLabelValues(kind).Observe(took.Seconds())
	return nil
}

// send is insert without the count; took is how long the last attempt was.
func (l *lane) send(ctx context.Context, rows rowSet, token string) (took time.Duration, err error) {
	var refusal error
	err = l.retry(ctx, "insert", func(ctx context.Context) error {
		began := time.Now()
		ictx := clickhouse.Context(ctx, clickhouse.WithSettings(insertSettings(token)))
		err := rows.insert(ictx, l.w.db)
		if err != nil && isDataError(err) {
			refusal, err = err, nil
		}
		took = time.Since(began)
		return err
	})
	if err != nil {
		return 0, err
	}
	return took, refusal
}

// retry repeats do until it succeeds, saying once that it fails and once that it no longer does. Its
// error is that ctx ended.
func (l *lane) retry(ctx context.Context, what string, do func(context.Context) error) error {
	var since time.Time
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := attempt(ctx, do)
		if err == nil {
			if !since.IsZero() {
				l.fails(nil)
				l.w.db.metrics.away.Dec()
				l.w.cfg.Log.Info("storing again", "kind", l.kind, "after", time.Since(since).Round(time.Millisecond))
			}
			return nil
		}
		l.w.db.metrics.retries.WithLabelValues(string(l.kind)).Inc()
		l.fails(fmt.Errorf("%s: %w", what, err))
		if since.IsZero() && ctx.Err() == nil {
			since = time.Now()
			l.w.db.metrics.away.Inc()
			l.w.cfg.Log.Error("cannot store for now; the log keeps what comes and this is repeated", "kind", l.kind, "what", what, "error", err)
		}
		select {
		case <-ctx.Done():
			if !since.IsZero() {
				l.w.db.metrics.away.Dec()
			}
			return ctx.Err()
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

// attempt does it once. The end of ctx does not cut it off at once: it gets stopTimeout to end.
func attempt(ctx context.Context, do func(context.Context) error) error {
	actx, cancel := context.WithTimeout(context.WithoutCancel(ctx), insertTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(stopTimeout, cancel) })
	defer stop()
	return do(actx)
}

func (l *lane) fails(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
}

// dataErrors are the server's codes for rows that it will never take, whatever the hour.
var dataErrors = []int32{
	6, 26, 27, 38, 41, 72, // cannot parse
	53,            // TYPE_MISMATCH
	69,            // ARGUMENT_OUT_OF_BOUND
	117,           // INCORRECT_DATA
	128, 131, 321, // too large, out of range
	349,      // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
	407, 469, // DECIMAL_OVERFLOW, VIOLATED_CONSTRAINT
}

// isDataError reports whether it is the rows' fault that they were not stored.
func isDataError(err error) bool {
	if _, ok := errors.AsType[*rowError](err); ok {
		return true
	}
	ex, ok := errors.AsType[*clickhouse.Exception](err)
	return ok && slices.Contains(dataErrors, ex.Code)
}

// A rowError is a value that the client finds impossible to write.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }
