package storage

import (
	"context"
	"fmt"
	"time"

	"panormus/stream/batch"
)

// A PastCamera is how a camera was in one minute of the past.
type PastCamera struct {
	Camera string
	// Cells are those of the minute in the whole view, by class.
	Cells []VideoCount
	// Classes are those counted in the minute or the hour before it.
	Classes []string
	// Working says that it sent something in the minute, Frames how many frames; raw detections know it,
	// which live for days at most.
	Working bool
	Frames  uint64
	// Tampered and SignalLoss are the newest word of the hour, nil where there is none.
	Tampered, SignalLoss *bool
}

// pastReach is how long before a minute a camera was last heard of, at most.
const pastReach = time.Hour

// CamerasAt returns how every camera was in the minute that begins at minute, of those that were heard of
// in the hour before its end, in no order. A cell of fewer than k objects, by camera, is hidden, and so is
// another of its five minutes where it would be alone: these are the cells that VideoCounts tells.
func (db *DB) CamerasAt(ctx context.Context, minute time.Time, k func(camera string) int) ([]PastCamera, error) {
	minute = minute.Truncate(time.Minute)
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	found := map[string]*PastCamera{}
	at := func(camera string) *PastCamera {
		c := found[camera]
		if c == nil {
			c = &PastCamera{Camera: camera}
			found[camera] = c
		}
		return c
	}
	for _, read := range []func(context.Context, time.Time, func(string) *PastCamera) error{
		func(ctx context.Context, minute time.Time, at func(string) *PastCamera) error {
			return db.pastCells(ctx, minute, k, at)
		}, db.pastClasses, db.pastFrames, db.pastSigns,
	} {
		if err := read(ctx, minute, at); err != nil {
			return nil, fmt.Errorf("read cameras of the past: %w", err)
		}
	}
	out := make([]PastCamera, 0, len(found))
	for _, c := range found {
		out = append(out, *c)
	}
	return out, nil
}

// pastCells reads the five minutes about the minute, as hiding looks at all of them. The newest version of a
// cell counts; FINAL would read the day.
func (db *DB) pastCells(ctx context.Context, minute time.Time, k func(camera string) int, at func(string) *PastCamera) error {
	const within = 5 * time.Minute
	var w where
	w.add("zone = ''")
	w.add("time >= toDateTime(?, 'UTC')", minute.Truncate(within).Unix())
	w.add("time < toDateTime(?, 'UTC')", minute.Truncate(within).Add(within).Unix())
	rows, err := db.conn.Query(ctx, `SELECT camera, class, toInt64(toUnixTimestamp(time)) AS begin, argMax(count_in, version), argMax(count_out, version),
			argMax(occupancy_avg, version), argMax(occupancy_max, version), argMax(queue_max, version), argMax(seen, version)
		FROM vds_counts_1m_log`+w.sql()+" GROUP BY camera, class, begin ORDER BY camera, class, begin", w.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	var camera string
	var cells []VideoCount
	var objects []int64
	done := func() {
		if len(cells) == 0 {
			return
		}
		hide(cells, objects, CountQuery{K: k(camera), Within: within})
		for _, c := range cells {
			if c.Time.Equal(minute) {
				p := at(camera)
				p.Cells = append(p.Cells, c)
			}
		}
		cells, objects = cells[:0], objects[:0]
	}
	for rows.Next() {
		var c VideoCount
		var of string
		var begin, seen int64
		if err := rows.Scan(&of, &c.Class, &begin, &c.In, &c.Out, &c.Present, &c.PresentMax, &c.QueueMax, &seen); err != nil {
			return err
		}
		if of != camera {
			done()
			camera = of
		}
		c.Time = time.Unix(begin, 0).UTC()
		cells, objects = append(cells, c), append(objects, max(c.In, c.Out, seen, c.PresentMax))
	}
	done()
	return rows.Err()
}

func (db *DB) pastClasses(ctx context.Context, minute time.Time, at func(string) *PastCamera) error {
	var w where
	w.add("zone = ''")
	w.add("time >= toDateTime(?, 'UTC')", minute.Add(time.Minute-pastReach).Unix())
	w.add("time <= toDateTime(?, 'UTC')", minute.Unix())
	rows, err := db.conn.Query(ctx, "SELECT DISTINCT camera, class FROM vds_counts_1m_log"+w.sql(), w.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var camera, class string
		if err := rows.Scan(&camera, &class); err != nil {
			return err
		}
		p := at(camera)
		p.Classes = append(p.Classes, class)
	}
	return rows.Err()
}

func (db *DB) pastFrames(ctx context.Context, minute time.Time, at func(string) *PastCamera) error {
	var w where
	w.times("d.time", minute, minute.Add(time.Minute))
	args := append([]any{batch.WhatObject, batch.WhatFrame}, w.args...)
	rows, err := db.conn.Query(ctx, "SELECT camera, uniqExactIf(d.time, what IN (?, ?)) FROM detections AS d"+w.sql()+" GROUP BY camera", args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var camera string
		var frames uint64
		if err := rows.Scan(&camera, &frames); err != nil {
			return err
		}
		p := at(camera)
		p.Working, p.Frames = true, frames
	}
	return rows.Err()
}

func (db *DB) pastSigns(ctx context.Context, minute time.Time, at func(string) *PastCamera) error {
	var w where
	w.times("d.time", minute.Add(time.Minute-pastReach), minute.Add(time.Minute))
	w.add("what IN (?, ?)", batch.WhatTamper, batch.WhatSignalLoss)
	rows, err := db.conn.Query(ctx, "SELECT camera, what, argMax(value, d.time) FROM detections AS d"+w.sql()+" GROUP BY camera, what", w.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var camera, what string
		var value float64
		if err := rows.Scan(&camera, &what, &value); err != nil {
			return err
		}
		is := value != value || value > 0 // one that does not say which tells of a beginning
		if p := at(camera); what == batch.WhatTamper {
			p.Tampered = &is
		} else {
			p.SignalLoss = &is
		}
	}
	return rows.Err()
}
