package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"panormus/stream/batch"
)

// The past of what is rows: read in order of time by one query, as blocks where the server gives any, and sorted
// on the server's disk where it is too much for its memory. As with Past, Received is the event time, and a nil
// Within is the whole city. Columns are those that are wanted, by their names in rules, nil for all; what no wanted
// one is made of is left empty.

// pastPage is how many rows are handed on together where they come one by one.
const pastPage = 8192

// pastSpill is how much of the server's memory sorting takes before it goes to disk.
const pastSpill = 200 << 20

// A pastColumn is one that a query over the past reads of a kind of rows.
type pastColumn[R any] struct {
	sql   string       // what is read
	of    func(*R) any // where it goes: *string, *float64, *int64, *json.RawMessage or, from Unix ms, *time.Time
	names []string     // the columns of rules that it is of; none: it is always read
	each  bool         // a text that is another in every row
}

// read is how the query says the column, under a name that no column has, and what type that is.
func (c *pastColumn[R]) read(i int) (sql, name, kind string) {
	var r R
	sql = c.sql
	switch c.of(&r).(type) {
	case *string:
		if kind = "String"; !c.each {
			sql, kind = "toLowCardinality("+sql+")", kindWord
		}
	case *json.RawMessage:
		kind = "String"
	case *float64:
		kind = "Float64"
	case *int64:
		kind = "Int64"
	case *time.Time:
		sql, kind = "toUnixTimestamp64Milli(toDateTime64("+sql+", 3, 'UTC'))", "Int64"
	default:
		panic("BUG: a column of the past that is of no known type: " + c.sql)
	}
	return sql, fmt.Sprint("c_", i), kind
}

// into reads so many of the column from a block into a page.
func (c *pastColumn[R]) into(n *nativeReader, page []R) error {
	switch c.of(&page[0]).(type) {
	case *string:
		if c.each {
			for i := range page {
				b, err := n.text()
				if err != nil {
					return err
				}
				*c.of(&page[i]).(*string) = string(b)
			}
			return nil
		}
		var d batch.Dict
		if err := n.dict(&d, len(page)); err != nil {
			return err
		}
		for i := range page {
			*c.of(&page[i]).(*string) = d.At(i)
		}
	case *json.RawMessage:
		for i := range page {
			b, err := n.text()
			if err != nil {
				return err
			}
			*c.of(&page[i]).(*json.RawMessage) = slices.Clone(b)
		}
	case *float64:
		all := make([]float64, len(page))
		if err := n.full(rawBytes(all)); err != nil {
			return err
		}
		for i := range page {
			*c.of(&page[i]).(*float64) = all[i]
		}
	default:
		all := make([]int64, len(page))
		if err := n.full(rawBytes(all)); err != nil {
			return err
		}
		for i := range page {
			switch to := c.of(&page[i]).(type) {
			case *int64:
				*to = all[i]
			case *time.Time:
				*to = time.UnixMilli(all[i]).UTC()
			}
		}
	}
	return nil
}

// A pastKind is a kind of rows that a past is kept of.
type pastKind[R any] struct {
	what, table, order string
	columns            []pastColumn[R]
	end                func(*R) // once all columns are read
}

// pastContext bounds a query over the past of rows.
func pastContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	return clickhouse.Context(ctx, clickhouse.WithSettings(withinSettings(clickhouse.Settings{
		"max_execution_time": int(pastTimeout / time.Second), "max_memory_usage": pastMemory, "max_bytes_before_external_sort": pastSpill,
		"optimize_read_in_order": 1, "max_block_size": batch.MaxRows, "low_cardinality_use_single_dictionary_for_part": 0,
	}))), cancel
}

// past calls each for the rows that w selects, a page at a time, which each does not keep.
func (k *pastKind[R]) past(ctx context.Context, db *DB, wanted []string, w *where, each func([]R) error) error {
	ctx, cancel := pastContext(ctx)
	defer cancel()
	var columns []*pastColumn[R]
	var sql []string
	for i := range k.columns {
		c := &k.columns[i]
		if len(c.names) == 0 || wanted == nil || slices.ContainsFunc(c.names, func(name string) bool { return slices.Contains(wanted, name) }) {
			as, name, _ := c.read(len(columns))
			columns, sql = append(columns, c), append(sql, as+" AS "+name)
		}
	}
	query := "SELECT " + strings.Join(sql, ", ") + " FROM " + k.table + " AS r" + w.sql() + " ORDER BY " + k.order
	take := func(page []R) error {
		for i := range page {
			k.end(&page[i])
		}
		return each(page)
	}
	var err error
	if db.http {
		err = readBlocks(ctx, db, query, w.args, func(n *nativeReader) (page []R, err error) {
			of := make([]nativeColumn, len(columns))
			for i, c := range columns {
				_, name, kind := c.read(i)
				of[i] = nativeColumn{name, kind, func(rows int) error {
					if page == nil {
						page = make([]R, rows)
					}
					return c.into(n, page)
				}}
			}
			_, err = n.block(of)
			return page, err
		}, take)
	} else {
		err = pastRows(ctx, db, query, w.args, scanPast(columns), take)
	}
	if err != nil {
		return fmt.Errorf("read %s of the past: %w", k.what, err)
	}
	return nil
}

// scanPast reads a row of the columns, for servers reached by the native protocol.
func scanPast[R any](columns []*pastColumn[R]) func(driver.Rows, *R) error {
	into, times, texts := make([]any, len(columns)), make([]int64, len(columns)), make([]string, len(columns))
	return func(rows driver.Rows, r *R) error {
		for i, c := range columns {
			switch into[i] = c.of(r); into[i].(type) {
			case *time.Time:
				into[i] = &times[i]
			case *json.RawMessage:
				into[i] = &texts[i]
			}
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, c := range columns {
			switch to := c.of(r).(type) {
			case *time.Time:
				*to = time.UnixMilli(times[i]).UTC()
			case *json.RawMessage:
				*to = json.RawMessage(texts[i])
			}
		}
		return nil
	}
}

// pastRows reads an answer row by row.
func pastRows[R any](ctx context.Context, db *DB, sql string, args []any, scan func(driver.Rows, *R) error, each func([]R) error) error {
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	page := make([]R, 0, pastPage)
	for rows.Next() {
		page = append(page, *new(R))
		if err := scan(rows, &page[len(page)-1]); err != nil {
			return err
		}
		if len(page) == pastPage {
			if err := each(page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	if err := rows.Err(); err != nil || len(page) == 0 {
		return err
	}
	return each(page)
}

var pastTracks = pastKind[batch.Track]{what: "tracks", table: "tracks", order: "r.end, r.id", end: func(r *batch.Track) { r.Received = r.End }, columns: []pastColumn[batch.Track]{
	{"r.id", func(r *batch.Track) any { return &r.ID }, []string{"id"}, true},
	{"r.camera", func(r *batch.Track) any { return &r.Camera }, nil, false},
	{"r.end", func(r *batch.Track) any { return &r.End }, nil, false},
	{"r.start", func(r *batch.Track) any { return &r.Start }, []string{"duration_s"}, false},
	{"r.track", func(r *batch.Track) any { return &r.Track }, []string{"track"}, true},
	{"r.class", func(r *batch.Track) any { return &r.Class }, []string{"class"}, false},
	{"r.vendor_class", func(r *batch.Track) any { return &r.VendorClass }, []string{"vendor_class"}, false},
	{"r.score", func(r *batch.Track) any { return &r.Score }, []string{"score"}, false},
	{"r.zones", func(r *batch.Track) any { return &r.Zones }, []string{"zones"}, false},
	{"r.speed_mps", func(r *batch.Track) any { return &r.SpeedMps }, []string{"speed_mps"}, false},
	{"r.speed_max_mps", func(r *batch.Track) any { return &r.SpeedMaxMps }, []string{"speed_max_mps"}, false},
	{"r.distance_m", func(r *batch.Track) any { return &r.DistanceM }, []string{"distance_m"}, false},
	{"r.heading_deg", func(r *batch.Track) any { return &r.HeadingDeg }, []string{"heading_deg"}, false},
	{"r.start_x", func(r *batch.Track) any { return &r.StartX }, []string{"start_x"}, false},
	{"r.start_y", func(r *batch.Track) any { return &r.StartY }, []string{"start_y"}, false},
	{"r.end_x", func(r *batch.Track) any { return &r.EndX }, []string{"end_x"}, false},
	{"r.end_y", func(r *batch.Track) any { return &r.EndY }, []string{"end_y"}, false},
	{"r.purpose", func(r *batch.Track) any { return &r.Purpose }, []string{"purpose"}, false},
	{"r.end_lat", func(r *batch.Track) any { return &r.EndLat }, []string{"position_lat"}, false},
	{"r.end_lon", func(r *batch.Track) any { return &r.EndLon }, []string{"position_lon"}, false},
}}

var pastCounts = pastKind[batch.Count]{what: "counts", table: "vds_counts_1m", order: "r.time, r.camera, r.zone, r.class", end: func(r *batch.Count) { r.Received = r.Time }, columns: []pastColumn[batch.Count]{
	{"r.time", func(r *batch.Count) any { return &r.Time }, nil, false},
	{"r.camera", func(r *batch.Count) any { return &r.Camera }, nil, false},
	{"r.zone", func(r *batch.Count) any { return &r.Zone }, []string{"zone"}, false},
	{"r.class", func(r *batch.Count) any { return &r.Class }, []string{"class"}, false},
	{"r.count_in", func(r *batch.Count) any { return &r.In }, []string{"count_in"}, false},
	{"r.count_out", func(r *batch.Count) any { return &r.Out }, []string{"count_out"}, false},
	{"r.seen", func(r *batch.Count) any { return &r.Seen }, []string{"seen"}, false},
	{"r.occupancy_avg", func(r *batch.Count) any { return &r.OccupancyAvg }, []string{"occupancy_avg"}, false},
	{"r.occupancy_max", func(r *batch.Count) any { return &r.OccupancyMax }, []string{"occupancy_max"}, false},
	{"r.dwell_s", func(r *batch.Count) any { return &r.DwellS }, []string{"dwell_s"}, false},
	{"r.visits", func(r *batch.Count) any { return &r.Visits }, []string{"visits", "dwell_s"}, false},
	{"r.speed_sum_mps", func(r *batch.Count) any { return &r.SpeedSumMps }, []string{"speed_mps"}, false},
	{"r.speed_n", func(r *batch.Count) any { return &r.SpeedN }, []string{"speed_mps"}, false},
	{"r.queue_max", func(r *batch.Count) any { return &r.QueueMax }, []string{"queue_max"}, false},
	{"r.purpose", func(r *batch.Count) any { return &r.Purpose }, []string{"purpose"}, false},
}}

var pastUplinks = pastKind[batch.Uplink]{what: "uplinks", table: "uplinks", order: "toStartOfHour(r.time), r.time, r.device, r.gateway", end: func(r *batch.Uplink) {}, columns: []pastColumn[batch.Uplink]{
	{"r.time", func(r *batch.Uplink) any { return &r.Time }, nil, false},
	{"r.device", func(r *batch.Uplink) any { return &r.Device }, nil, false},
	{"r.dev_eui", func(r *batch.Uplink) any { return &r.DevEUI }, []string{"dev_eui"}, false},
	{"r.gateway", func(r *batch.Uplink) any { return &r.Gateway }, []string{"gateway"}, false},
	{"r.rssi_dbm", func(r *batch.Uplink) any { return &r.RSSIdBm }, []string{"rssi_dbm"}, false},
	{"r.snr_db", func(r *batch.Uplink) any { return &r.SNRdB }, []string{"snr_db"}, false},
	{"r.frequency_hz", func(r *batch.Uplink) any { return &r.FrequencyHz }, []string{"frequency_hz"}, false},
	{"r.data_rate", func(r *batch.Uplink) any { return &r.DataRate }, []string{"data_rate"}, false},
	{"r.f_cnt", func(r *batch.Uplink) any { return &r.FCnt }, []string{"f_cnt"}, false},
	{"r.f_port", func(r *batch.Uplink) any { return &r.FPort }, []string{"f_port"}, false},
	{"r.airtime_ms", func(r *batch.Uplink) any { return &r.AirtimeMs }, []string{"airtime_ms"}, false},
}}

var pastEvents = pastKind[batch.Event]{what: "events", table: "events", order: "r.time, r.id", end: func(r *batch.Event) { r.Received = r.Time }, columns: []pastColumn[batch.Event]{
	{"r.id", func(r *batch.Event) any { return &r.ID }, []string{"id"}, true},
	{"r.time", func(r *batch.Event) any { return &r.Time }, nil, false},
	{"r.rule", func(r *batch.Event) any { return &r.Rule }, nil, false},
	{"r.severity", func(r *batch.Event) any { return &r.Severity }, []string{"severity"}, false},
	{"r.state", func(r *batch.Event) any { return &r.State }, nil, false},
	{"r.domain", func(r *batch.Event) any { return &r.Domain }, nil, false},
	{"r.device", func(r *batch.Event) any { return &r.Device }, nil, false},
	{"r.zone", func(r *batch.Event) any { return &r.Zone }, nil, false},
	{"r.key", func(r *batch.Event) any { return &r.Key }, nil, true},
	{"r.text", func(r *batch.Event) any { return &r.Text }, []string{"text"}, true},
	{"toJSONString(r.context)", pastContextOf, nil, false},
}}

func pastContextOf(r *batch.Event) any { return &r.Context }

// pastChain is what of an event's context is read for a rule that asks nothing of it: of which rules it comes.
var pastChain = pastColumn[batch.Event]{"if(isNull(r.context.chain), '{}', toJSONString(map('chain', r.context.chain)))", pastContextOf, nil, false}

// PastTracks calls each for the tracks that ended in From <= end < To, in that order.
func (db *DB) PastTracks(ctx context.Context, from, to time.Time, columns []string, in *Within, each func([]batch.Track) error) error {
	var w where
	w.times("r.end", from, to)
	w.parts("camera", in)
	return pastTracks.past(ctx, db, columns, &w, each)
}

// PastCounts calls each for the minutes of From <= time < To, in order of time.
func (db *DB) PastCounts(ctx context.Context, from, to time.Time, columns []string, in *Within, each func([]batch.Count) error) error {
	var w where
	w.times("r.time", from, to)
	w.parts("camera", in)
	return pastCounts.past(ctx, db, columns, &w, each)
}

// PastUplinks calls each for the uplinks of From <= time < To, in order of time.
func (db *DB) PastUplinks(ctx context.Context, from, to time.Time, columns []string, in *Within, each func([]batch.Uplink) error) error {
	var w where
	w.times("r.time", from, to)
	w.parts("device", in)
	return pastUplinks.past(ctx, db, columns, &w, each)
}

// PastEvents calls each for the events of From <= time < To, in order of time, of a domain, "" for all. Of their
// contexts no more than the chain is read where none of the columns is of them.
func (db *DB) PastEvents(ctx context.Context, from, to time.Time, domain string, columns []string, in *Within, each func([]batch.Event) error) error {
	var w where
	w.times("r.time", from, to)
	w.equal("domain", domain)
	w.events(in)
	k := pastEvents
	if columns != nil && !slices.ContainsFunc(columns, func(name string) bool { return strings.HasPrefix(name, "context.") }) {
		k.columns = slices.Clone(k.columns)
		k.columns[len(k.columns)-1] = pastChain
	}
	return k.past(ctx, db, columns, &w, each)
}
