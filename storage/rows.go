package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"panormus/stream/batch"
)

// A rowSet is rows of one kind, decoded: of one batch or of a group.
type rowSet interface {
	len() int
	slice(lo, hi int) rowSet
	row(i int) any // for people to read
	insert(ctx context.Context, db *DB) error
}

func decodeRows(kind batch.Kind, data []byte) (rowSet, error) {
	switch kind {
	case batch.KindObservations:
		o, err := batch.DecodeObservations(data)
		if err != nil {
			return nil, err
		}
		return observationRows{o}, nil
	case batch.KindEvents:
		rows, err := batch.DecodeEvents(data)
		return eventRows(rows), err
	case batch.KindUplinks:
		rows, err := batch.DecodeUplinks(data)
		return uplinkRows(rows), err
	case batch.KindRejected:
		rows, err := batch.DecodeRejected(data)
		return rejectedRows(rows), err
	case batch.KindDetections:
		d, err := batch.DecodeDetections(data)
		if err != nil {
			return nil, err
		}
		return detectionRows{d}, nil
	case batch.KindTracks:
		rows, err := batch.DecodeTracks(data)
		return trackRows(rows), err
	case batch.KindCounts:
		rows, err := batch.DecodeCounts(data)
		return countRows(rows), err
	case batch.KindAlarmLog:
		rows, err := batch.DecodeAlarmLog(data)
		return alarmRows(rows), err
	}
	return nil, fmt.Errorf("BUG: no table for kind %q", kind)
}

// joinUnits puts the rows of units together, in their order; lost are those without.
func joinUnits(kind batch.Kind, units []unit) (rows rowSet, lost []unit) {
	switch kind {
	case batch.KindObservations:
		return join[observationRows](units)
	case batch.KindDetections:
		return join[detectionRows](units)
	case batch.KindEvents:
		return join[eventRows](units)
	case batch.KindUplinks:
		return join[uplinkRows](units)
	case batch.KindTracks:
		return join[trackRows](units)
	case batch.KindCounts:
		return join[countRows](units)
	case batch.KindAlarmLog:
		return join[alarmRows](units)
	}
	return join[rejectedRows](units)
}

func join[R interface {
	~[]E
	rowSet
}, E any](units []unit) (rowSet, []unit) {
	var all R
	var lost []unit
	for _, u := range units {
		if rows, ok := u.rows.(R); ok {
			all = append(all, rows...)
		} else {
			lost = append(lost, u)
		}
	}
	return all, lost
}

// observationRows are batches, one behind the other.
type observationRows []*batch.Observations

func (r observationRows) len() int {
	n := 0
	for _, o := range r {
		n += o.Len()
	}
	return n
}

func (r observationRows) slice(lo, hi int) rowSet {
	var out observationRows
	for _, o := range r {
		n := o.Len()
		if from, to := max(lo, 0), min(hi, n); from < to {
			out = append(out, sliceObservations(o, from, to))
		}
		lo, hi = lo-n, hi-n
	}
	return out
}

func sliceObservations(o *batch.Observations, lo, hi int) *batch.Observations {
	cut := func(d *batch.Dict) batch.Dict { return batch.Dict{Index: d.Index[lo:hi], Values: d.Values} }
	return &batch.Observations{
		Time: o.Time[lo:hi], Received: o.Received[lo:hi], Domain: cut(&o.Domain), Device: cut(&o.Device), Metric: cut(&o.Metric),
		Value: o.Value[lo:hi], Text: cut(&o.Text), Quality: o.Quality[lo:hi],
	}
}

func (r observationRows) row(i int) any {
	for _, o := range r {
		if i < o.Len() {
			row := map[string]any{
				"time": time.UnixMilli(o.Time[i]).UTC(), "received": time.UnixMilli(o.Received[i]).UTC(), "domain": o.Domain.At(i),
				"device": o.Device.At(i), "metric": o.Metric.At(i), "text": o.Text.At(i), "quality": o.Quality[i],
			}
			if !math.IsNaN(o.Value[i]) && !math.IsInf(o.Value[i], 0) {
				row["value"] = o.Value[i]
			}
			return row
		}
		i -= o.Len()
	}
	return nil
}

func (r observationRows) insert(ctx context.Context, db *DB) error {
	var g observationGroup
	for _, o := range r {
		g.add(o)
	}
	if err := db.order.begin(ctx, db); err != nil {
		return err
	}
	defer db.order.mu.RUnlock()
	if db.http {
		return db.insertBody(ctx, &g)
	}
	return db.insertBatch(ctx, &g)
}

// The kinds below are rare: they go through the client row by row.

type eventRows []batch.Event

func (r eventRows) len() int                { return len(r) }
func (r eventRows) slice(lo, hi int) rowSet { return r[lo:hi] }
func (r eventRows) row(i int) any           { return r[i] }

func (r eventRows) insert(ctx context.Context, db *DB) error {
	return db.insertRows(ctx, "events_log (time, received, id, rule, rule_version, severity, state, domain, device, zone, key, text, context)",
		len(r), func(i int) []any {
			e := &r[i]
			return []any{e.Time, e.Received, e.ID, e.Rule, e.RuleVersion, e.Severity, e.State, e.Domain, e.Device, e.Zone, e.Key, e.Text, jsonObject(e.Context)}
		})
}

// jsonObject is raw if it is an object, which is what the column takes, or one that holds it.
func jsonObject(raw json.RawMessage) string {
	var object map[string]json.RawMessage
	switch {
	case json.Unmarshal(raw, &object) == nil && object != nil:
		return string(raw)
	case len(raw) == 0 || string(raw) == "null":
		return "{}"
	case json.Valid(raw):
		return `{"value":` + string(raw) + `}`
	}
	text, err := json.Marshal(string(raw))
	if err != nil {
		return "{}"
	}
	return `{"text":` + string(text) + `}`
}

type uplinkRows []batch.Uplink

func (r uplinkRows) len() int                { return len(r) }
func (r uplinkRows) slice(lo, hi int) rowSet { return r[lo:hi] }
func (r uplinkRows) row(i int) any           { return r[i] }

func (r uplinkRows) insert(ctx context.Context, db *DB) error {
	return db.insertRows(ctx, "uplinks (time, device, dev_eui, gateway, rssi_dbm, snr_db, frequency_hz, data_rate, f_cnt, f_port, airtime_ms)",
		len(r), func(i int) []any {
			u := &r[i]
			return []any{u.Time, u.Device, u.DevEUI, u.Gateway, u.RSSIdBm, u.SNRdB, u.FrequencyHz, u.DataRate, u.FCnt, u.FPort, u.AirtimeMs}
		})
}

type rejectedRows []batch.Rejected

func (r rejectedRows) len() int                { return len(r) }
func (r rejectedRows) slice(lo, hi int) rowSet { return r[lo:hi] }
func (r rejectedRows) row(i int) any           { return r[i] }

func (r rejectedRows) insert(ctx context.Context, db *DB) error {
	return db.insertRows(ctx, "rejected (received, source, topic, reason, detail, payload)", len(r), func(i int) []any {
		x := &r[i]
		return []any{x.Received, x.Source, x.Topic, x.Reason, x.Detail, string(x.Payload)}
	})
}

func (db *DB) insertRows(ctx context.Context, into string, n int, row func(i int) []any) error {
	b, err := db.conn.PrepareBatch(ctx, "INSERT INTO "+into)
	if err != nil {
		return err
	}
	defer b.Close()
	for i := range n {
		if err := b.Append(row(i)...); err != nil {
			return &rowError{fmt.Errorf("row %d: %w", i, err)}
		}
	}
	return b.Send()
}
