package storage

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"panormus/stream/batch"
	"panormus/stream/privacy"
)

// Bounds of what is asked about cameras.
const (
	// MaxCountPoints bounds how many steps counts are asked for.
	MaxCountPoints = 3000
	// MaxHeatSpan is the longest time that a heat map is of: raw detections live no longer.
	MaxHeatSpan = 7 * 24 * time.Hour
	// HeatColumns and HeatRows are the cells of a heat map, over the whole image.
	HeatColumns, HeatRows = 32, 18
	maxCounts             = 200_000 // rows of one answer
)

// A CameraSign is the newest thing of its kind that a camera said. What is batch.WhatFrame,
// WhatTamper or WhatSignalLoss.
type CameraSign struct {
	Camera, What string
	Time         time.Time
	Value        float64
}

// CameraSigns returns of every camera that was counted since a time when that last was, and the
// newest word of each camera on whether it was tampered with and has lost its picture.
func (db *DB) CameraSigns(ctx context.Context, since time.Time) ([]CameraSign, error) {
	var w, of where
	w.times("time", since, time.Time{})
	of.times("d.time", since, time.Time{})
	of.add("what IN (?, ?)", batch.WhatTamper, batch.WhatSignalLoss)
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	// The table's own rows: versions of a minute do not matter here.
	rows, err := db.conn.Query(ctx, "SELECT camera, '"+batch.WhatFrame+"', toInt64(toUnixTimestamp(max(time))) * 1000, nan FROM vds_counts_1m_log"+w.sql()+` GROUP BY camera
		UNION ALL SELECT camera, what, toUnixTimestamp64Milli(max(d.time)), argMax(value, d.time) FROM detections AS d`+of.sql()+" GROUP BY camera, what", append(w.args, of.args...)...)
	if err != nil {
		return nil, fmt.Errorf("read the cameras' signs: %w", err)
	}
	defer rows.Close()
	var out []CameraSign
	for rows.Next() {
		var s CameraSign
		var ms int64
		if err := rows.Scan(&s.Camera, &s.What, &ms, &s.Value); err != nil {
			return nil, fmt.Errorf("read the cameras' signs: %w", err)
		}
		s.Time = time.UnixMilli(ms).UTC()
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the cameras' signs: %w", err)
	}
	return out, nil
}

// A CountQuery asks what a camera counted in From <= time < To.
type CountQuery struct {
	Camera   string
	Zone     string // "": the whole view
	AllZones bool   // every zone and line, and the whole view
	Class    string // "": every one
	From, To time.Time
	// Step is the width of the cells, in whole minutes, aligned to the Unix epoch; 0 for one cell of
	// the whole time.
	Step time.Duration
	// Days, where not nil, is whose clock days go by: a Step or Within of 24 hours is from midnight to
	// midnight there, 23 or 25 hours where the clock is changed.
	Days *time.Location
	// K is the least number of objects that a cell may tell of; of fewer, but some, it says only that.
	K int
	// Within, where not 0, is the width of the next longer steps, which tell sums: where one cell of
	// such a step is hidden, so is another, or the sum would tell it.
	Within time.Duration
}

// A VideoCount is a cell: what was counted of a class in a zone or at a line, in a step.
type VideoCount struct {
	Time        time.Time // begin of the step
	Zone, Class string
	Hidden      bool // fewer than K objects, and at least one, or hidden for another's sake: the figures are left out
	In, Out     int64
	Present     float64 // mean over the step; minutes without rows have nobody
	PresentMax  int64
	DwellS      float64 // mean of the visits that ended, s; NaN without any
	SpeedMps    float64 // mean; NaN without any
	QueueMax    int64
}

func (q *CountQuery) check() error {
	switch {
	case q.Camera == "":
		return &QueryError{"counts: a camera is wanted"}
	case !q.From.Before(q.To):
		return &QueryError{fmt.Sprintf("counts: from %s is not before to %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))}
	case q.Step < 0 || q.Step%time.Minute != 0:
		return &QueryError{fmt.Sprintf("counts: step %v, want 0 or whole minutes", q.Step)}
	case q.Step > 0 && q.To.Sub(q.From)/q.Step > MaxCountPoints:
		return &QueryError{fmt.Sprintf("counts: %d steps, want at most %d: take a longer step or a shorter time", q.To.Sub(q.From)/q.Step, MaxCountPoints)}
	}
	return nil
}

// VideoCounts answers q in order of zone, class and time. Cells without rows are left out. A cell
// is of at least as many objects as came, as left, and as were there in one minute: the same object
// may be in several minutes, so their sum would say more than is known.
func (db *DB) VideoCounts(ctx context.Context, q CountQuery) ([]VideoCount, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	var w where
	w.equal("camera", q.Camera)
	if !q.AllZones {
		w.add("zone = ?", q.Zone)
	}
	w.equal("class", q.Class)
	w.add("time >= toDateTime(?, 'UTC')", ceil(q.From, time.Second).Unix())
	w.add("time < toDateTime(?, 'UTC')", ceil(q.To, time.Second).Unix())
	bucket := strconv.FormatInt(q.From.Unix(), 10)
	args := w.args
	if q.Days != nil && q.Step == day {
		bucket, args = "toUnixTimestamp(toStartOfDay(time, ?))", append([]any{q.Days.String()}, w.args...)
	} else if q.Step > 0 {
		bucket = fmt.Sprintf("toInt64(toUnixTimestamp(time)) - toInt64(toUnixTimestamp(time)) %% %d", int64(q.Step/time.Second))
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, "SELECT toInt64("+bucket+`) AS bucket, zone, class, sum(count_in), sum(count_out), sum(occupancy_avg), max(occupancy_max), sum(dwell_s) / sum(visits),
			sum(speed_sum_mps) / sum(speed_n), max(queue_max), max(seen)
		FROM vds_counts_1m`+w.sql()+" GROUP BY bucket, zone, class ORDER BY zone, class, bucket LIMIT "+strconv.Itoa(maxCounts), args...)
	if err != nil {
		return nil, fmt.Errorf("read a camera's counts: %w", err)
	}
	defer rows.Close()
	var out []VideoCount
	var objects []int64 // by cell
	for rows.Next() {
		var c VideoCount
		var begin, seen int64
		if err := rows.Scan(&begin, &c.Zone, &c.Class, &c.In, &c.Out, &c.Present, &c.PresentMax, &c.DwellS, &c.SpeedMps, &c.QueueMax, &seen); err != nil {
			return nil, fmt.Errorf("read a camera's counts: %w", err)
		}
		c.Time = time.Unix(begin, 0).UTC()
		c.Present /= q.end(c.Time).Sub(c.Time).Minutes()
		out, objects = append(out, c), append(objects, max(c.In, c.Out, seen, c.PresentMax))
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read a camera's counts: %w", err)
	}
	hide(out, objects, q)
	return out, nil
}

// end is where the cell that begins at t ends.
func (q *CountQuery) end(t time.Time) time.Time {
	switch {
	case q.Step == 0:
		return q.To
	case q.Days != nil && q.Step == day:
		return midnight(t.In(q.Days), 1)
	}
	return t.Add(q.Step)
}

// outer is where the next longer step begins that t is in.
func (q *CountQuery) outer(t time.Time) time.Time {
	if q.Days != nil && q.Within == day {
		return midnight(t.In(q.Days), 0)
	}
	return t.Truncate(q.Within)
}

// midnight is where t's day begins by its own clock, or one so many days later.
func midnight(t time.Time, days int) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, t.Location())
}

// hide leaves out the figures of cells that tell of too few objects, and in each of the next longer
// steps of a zone and class with one such cell the figures of that with the fewest beside it.
func hide(cells []VideoCount, objects []int64, q CountQuery) {
	for i := 0; i < len(cells); {
		hidden, fewest, j := 0, -1, i
		for ; j < len(cells) && cells[j].Zone == cells[i].Zone && cells[j].Class == cells[i].Class && (j == i || q.Within > 0 && q.outer(cells[j].Time).Equal(q.outer(cells[i].Time))); j++ {
			switch {
			case !privacy.Enough(uint64(objects[j]), q.K):
				cells[j].conceal()
				hidden++
			case objects[j] > 0 && (fewest < 0 || objects[j] < objects[fewest]):
				fewest = j
			}
		}
		if hidden == 1 && fewest >= 0 {
			cells[fewest].conceal()
		}
		i = j
	}
}

func (c *VideoCount) conceal() {
	*c = VideoCount{Time: c.Time, Zone: c.Zone, Class: c.Class, Hidden: true, DwellS: math.NaN(), SpeedMps: math.NaN()}
}

// A HeatQuery asks where in the image of a camera objects were in From <= time < To.
type HeatQuery struct {
	Camera   string
	From, To time.Time
	Class    string // "": all but heads, faces, plates and bags, which are parts of others
	Hour     int    // of the day in Zone, 0 to 23; -1: all
	Zone     string // of the clock, an IANA name; "": UTC
	K        int    // the least number of objects that a cell may tell of
}

// A Heat is how many different objects had their centre in each cell of the image, row by row from
// the top left; 0 where it was fewer than K. Hidden is in how many cells it was, but some. Objects
// of cameras that give no ids of tracks cannot be told apart and count as one.
type Heat struct {
	Cells  [HeatColumns * HeatRows]int64
	Hidden int
}

// Heat answers q.
func (db *DB) Heat(ctx context.Context, q HeatQuery) (*Heat, error) {
	switch {
	case q.Camera == "":
		return nil, &QueryError{"heat map: a camera is wanted"}
	case !q.From.Before(q.To) || q.To.Sub(q.From) > MaxHeatSpan:
		return nil, &QueryError{fmt.Sprintf("heat map: from %s to %s, want a time of at most %v", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339), MaxHeatSpan)}
	case q.Hour < -1 || q.Hour > 23:
		return nil, &QueryError{fmt.Sprintf("heat map: hour %d, want 0 to 23, or -1 for all", q.Hour)}
	}
	if q.Zone == "" {
		q.Zone = "UTC"
	}
	var w where
	w.equal("camera", q.Camera)
	w.times("time", q.From, q.To)
	w.add("what = ?", batch.WhatObject)
	w.add("center_x BETWEEN 0 AND 1 AND center_y BETWEEN 0 AND 1")
	if q.Class == "" {
		w.add("class NOT IN (?, ?, ?, ?)", batch.ClassHead, batch.ClassFace, batch.ClassPlate, batch.ClassBag)
	} else {
		w.add("class = ?", q.Class)
	}
	if q.Hour >= 0 {
		w.add("toHour(time, ?) = ?", q.Zone, q.Hour)
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, fmt.Sprintf(`SELECT toUInt32(least(floor(center_y * %d), %d) * %d + least(floor(center_x * %d), %d)) AS cell, toInt64(uniqExact(track)) FROM detections`,
		HeatRows, HeatRows-1, HeatColumns, HeatColumns, HeatColumns-1)+w.sql()+" GROUP BY cell"+spill, w.args...)
	if err != nil {
		return nil, fmt.Errorf("read a heat map: %w", err)
	}
	defer rows.Close()
	out := &Heat{}
	for rows.Next() {
		var cell uint32
		var n int64
		if err := rows.Scan(&cell, &n); err != nil {
			return nil, fmt.Errorf("read a heat map: %w", err)
		}
		if !privacy.Enough(uint64(n), q.K) {
			out.Hidden++
			continue
		}
		out.Cells[cell] = n
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read a heat map: %w", err)
	}
	return out, nil
}

// A TrackQuery asks for tracks that began in From <= start < To.
type TrackQuery struct {
	Camera   string
	From, To time.Time
	Class    string // "": every one
}

// A VideoTrack is one object's way through the view, without what could name it: plates and
// attributes are not read.
type VideoTrack struct {
	ID, Class             string
	Start, End            time.Time
	Detections            int64
	Zones                 string // in order of entry, with spaces between
	SpeedMps, SpeedMaxMps float64
	DistanceM, HeadingDeg float64
	StartX, StartY        float64 // centre in the image, 0..1
	EndX, EndY            float64
}

// VideoTracks returns a page of tracks, newest first, and the cursor of the next one, "" after the
// last. A limit of 0 is 100; more than 1000 are never returned.
func (db *DB) VideoTracks(ctx context.Context, q TrackQuery, limit int, cursor string) (tracks []VideoTrack, next string, err error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	var w where
	w.equal("camera", q.Camera)
	w.times("start", q.From, q.To)
	w.equal("class", q.Class)
	if cursor != "" {
		raw, err := base64.RawURLEncoding.DecodeString(cursor)
		parts := strings.SplitN(string(raw), " ", 3)
		if err != nil || len(parts) != 3 || parts[0] != "t" {
			return nil, "", &CursorError{cursor}
		}
		at, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil {
			return nil, "", &CursorError{cursor}
		}
		w.add("(start, id) < (fromUnixTimestamp64Milli(toInt64(?)), ?)", at, parts[2])
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, `SELECT id, class, start, end, detections, zones, speed_mps, speed_max_mps, distance_m, heading_deg, start_x, start_y, end_x, end_y
		FROM tracks`+w.sql()+" ORDER BY start DESC, id DESC LIMIT "+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return nil, "", fmt.Errorf("read tracks: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t VideoTrack
		if err := rows.Scan(&t.ID, &t.Class, &t.Start, &t.End, &t.Detections, &t.Zones, &t.SpeedMps, &t.SpeedMaxMps, &t.DistanceM, &t.HeadingDeg,
			&t.StartX, &t.StartY, &t.EndX, &t.EndY); err != nil {
			return nil, "", fmt.Errorf("read tracks: %w", err)
		}
		if len(tracks) == limit {
			last := tracks[limit-1]
			next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "t %d %s", last.Start.UnixMilli(), last.ID))
			break
		}
		t.Start, t.End = t.Start.UTC(), t.End.UTC()
		tracks = append(tracks, t)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("read tracks: %w", err)
	}
	return tracks, next, nil
}
