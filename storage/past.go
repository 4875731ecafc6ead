package storage

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"panormus/devices"
	"panormus/stream/batch"
)

// A PastQuery says which observations: From <= time < To, of a domain, of some metrics; "" and nil are
// all.
type PastQuery struct {
	From, To time.Time
	Domain   string
	Metrics  []string
	Within   *Within // nil: of the whole city
}

// Bounds of a query over the past: what it may take of the server's memory, and how long.
const (
	pastTimeout = 10 * time.Minute
	pastMemory  = 600 << 20
)

// A stretch of the past is read at a time, as long as that its rows are some hundred thousands to some
// millions, which are sorted in memory: 48 bytes a row, of two stretches.
const (
	pastFirst = time.Hour
	pastLeast = time.Minute
	pastMost  = 24 * time.Hour
)

// pastBounds are how many rows a stretch may have: of fewer than few the next is longer, of more than plenty shorter, and what
// has more than most is read in parts.
type pastBounds struct{ few, plenty, most int }

// Past calls each for the observations that q asks for, in order of event time, the rows of a
// message together, some thousands at a time: memory does not grow with the time asked for. The batch
// belongs to each. Received is the event time. What ingest flagged for its clock is left out, since
// its event time is not known, and counted. An error of each ends it.
func (db *DB) Past(ctx context.Context, q PastQuery, each func(*batch.Observations) error) (leftOut int64, err error) {
	leftOut, err = db.past(ctx, q, pastBounds{few: 400_000, plenty: 1_500_000, most: 2_500_000}, each)
	if err != nil {
		err = fmt.Errorf("read observations of the past: %w", err)
	}
	return leftOut, err
}

func (db *DB) past(ctx context.Context, q PastQuery, bounds pastBounds, each func(*batch.Observations) error) (leftOut int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(withinSettings(clickhouse.Settings{
		"max_execution_time": int(pastTimeout / time.Second), "max_memory_usage": pastMemory, "max_bytes_before_external_sort": pastSpill,
		"max_block_size": batch.MaxRows, "low_cardinality_use_single_dictionary_for_part": 0,
	})))
	var first, last time.Time
	if err := db.conn.QueryRow(ctx, "SELECT min(time), max(time) FROM observations").Scan(&first, &last); err != nil {
		return 0, err
	}
	if last = last.Add(time.Millisecond); last.Before(q.To) {
		q.To = last
	}
	q.From = maxTime(q.From, first)
	take := func(o *batch.Observations) error {
		leftOut += dropUnclocked(o)
		o.Received = o.Time
		return each(o)
	}
	// One stretch is read while the one before is handed on.
	type part struct {
		*pastStretch
		from, to time.Time
		dense    bool // more than is held, in the least time: the server sorts it
		err      error
	}
	parts, free := make(chan part), make(chan *pastStretch, 2)
	free <- &pastStretch{}
	free <- &pastStretch{}
	go func() {
		defer close(parts)
		length := pastFirst
		for from := q.From; from.Before(q.To); {
			to := from.Truncate(length).Add(length)
			if q.To.Before(to) {
				to = q.To
			}
			p := part{from: from, to: to}
			select {
			case p.pastStretch = <-free:
			case <-ctx.Done():
				return
			}
			p.begin(from.UnixMilli(), bounds.most)
			switch p.err = db.pastStretch(ctx, q, from, to, false, p.take); {
			case errors.Is(p.err, errTooMuch) && length > pastLeast:
				length = max(length/2, pastLeast)
				free <- p.pastStretch
				continue
			case errors.Is(p.err, errTooMuch):
				p.dense, p.err = true, nil
			case p.err == nil:
				p.sort()
			}
			switch rows := len(p.rows); {
			case rows < bounds.few && length < pastMost:
				length = min(2*length, pastMost)
			case rows > bounds.plenty && length > pastLeast:
				length = max(length/2, pastLeast)
			}
			from = to
			select {
			case parts <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	for p := range parts {
		switch {
		case p.err != nil:
			err = p.err
		case p.dense:
			err = db.pastStretch(ctx, q, p.from, p.to, true, take)
		default:
			err = p.hand(take)
		}
		if err != nil {
			cancel()
			for range parts { // to its end: the reader reads no more when this returns
			}
			return leftOut, err
		}
		free <- p.pastStretch
	}
	return leftOut, ctx.Err()
}

// pastStretch reads what q asks for in from <= time < to, as it lies or in the order of Past.
func (db *DB) pastStretch(ctx context.Context, q PastQuery, from, to time.Time, sorted bool, each func(*batch.Observations) error) error {
	var w where
	w.slots(from, to)
	w.times("o.time", from, to)
	w.equal("domain", q.Domain)
	if q.Metrics != nil {
		w.add("metric IN (?)", q.Metrics)
	}
	w.parts("device", q.Within)
	sql := `SELECT toUnixTimestamp64Milli(o.time) AS ms, domain, device, metric, value, toLowCardinality(text) AS txt, quality
		FROM observations AS o` + w.sql()
	if sorted {
		sql += " ORDER BY o.time, device"
	}
	if db.http {
		return db.pastBlocks(ctx, sql, w.args, each)
	}
	return db.pastRows(ctx, sql, w.args, each)
}

// dropUnclocked takes the rows out whose event time is not known.
func dropUnclocked(o *batch.Observations) (dropped int64) {
	n := 0
	for i, q := range o.Quality {
		if q&devices.QualityClock != 0 {
			dropped++
			continue
		}
		if n != i {
			o.Time[n], o.Value[n], o.Quality[n] = o.Time[i], o.Value[i], q
			o.Domain.Index[n], o.Device.Index[n] = o.Domain.Index[i], o.Device.Index[i]
			o.Metric.Index[n], o.Text.Index[n] = o.Metric.Index[i], o.Text.Index[i]
		}
		n++
	}
	o.Time, o.Value, o.Quality = o.Time[:n], o.Value[:n], o.Quality[:n]
	for _, d := range []*batch.Dict{&o.Domain, &o.Device, &o.Metric, &o.Text} {
		d.Index = d.Index[:n]
	}
	return dropped
}

// pastAhead is how many blocks are read ahead of the one in hand.
const pastAhead = 2

// pastBlocks reads the answer as Native blocks: their columns become the batch's as they lie there.
func (db *DB) pastBlocks(ctx context.Context, sql string, args []any, each func(*batch.Observations) error) error {
	return readBlocks(ctx, db, sql, args, (*nativeReader).observations, each)
}

// readBlocks reads an answer in Native blocks, with next, some ahead of the one that each has.
func readBlocks[T any](ctx context.Context, db *DB, sql string, args []any, next func(*nativeReader) (T, error), each func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := db.conn.QueryFormat(ctx, "Native", sql, args...)
	if err != nil {
		return err
	}
	blocks, failed := make(chan T, pastAhead), make(chan error, 1)
	go func() {
		defer close(blocks)
		defer body.Close()
		r := &nativeReader{r: bufio.NewReaderSize(body, 256<<10), names: map[string]string{}}
		for {
			o, err := next(r)
			if err != nil {
				if !errors.Is(err, io.EOF) {
					failed <- err
				}
				return
			}
			select {
			case blocks <- o:
			case <-ctx.Done():
				failed <- ctx.Err()
				return
			}
		}
	}()
	var bad error
	for o := range blocks { // to its end: whoever fills it closes the body
		if bad == nil {
			if bad = each(o); bad != nil {
				cancel()
			}
		}
	}
	if bad != nil {
		return bad
	}
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// pastRows reads the answer row by row, for servers reached by the native protocol.
func (db *DB) pastRows(ctx context.Context, sql string, args []any, each func(*batch.Observations) error) error {
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	o := &batch.Observations{}
	var at int64
	var domain, device, metric, text string
	var value float64
	var quality uint8
	for rows.Next() {
		if err := rows.Scan(&at, &domain, &device, &metric, &value, &text, &quality); err != nil {
			return err
		}
		if o.Len() >= batch.MaxRows && at != o.Time[o.Len()-1] || o.Len() >= math.MaxInt16 {
			if err := each(o); err != nil {
				return err
			}
			o = &batch.Observations{}
		}
		o.Append(o.Begin(at, at, domain, device), metric, value, text, quality)
	}
	if err := rows.Err(); err != nil || o.Len() == 0 {
		return err
	}
	return each(o)
}

// nativeReader reads blocks of ClickHouse's Native format, revision 0.
type nativeReader struct {
	r     *bufio.Reader
	names map[string]string // strings seen, so that a device's name is kept once
	buf   []byte
}

// Bounds of what a block may say of itself, so that a broken answer costs no memory.
const (
	nativeRows  = 1 << 20
	nativeText  = 16 << 20
	nativeNames = 1 << 20
)

func (n *nativeReader) uvarint() (uint64, error) { return binary.ReadUvarint(n.r) }

func (n *nativeReader) int64() (int64, error) {
	var b [8]byte
	_, err := io.ReadFull(n.r, b[:])
	return int64(binary.LittleEndian.Uint64(b[:])), err
}

// text reads one, in memory that the next one takes.
func (n *nativeReader) text() ([]byte, error) {
	size, err := n.uvarint()
	if err != nil {
		return nil, err
	}
	if size > nativeText {
		return nil, fmt.Errorf("a text of %d bytes, want at most %d", size, nativeText)
	}
	if cap(n.buf) < int(size) {
		n.buf = make([]byte, size)
	}
	b := n.buf[:size]
	if _, err := io.ReadFull(n.r, b); err != nil {
		return nil, unexpected(err)
	}
	return b, nil
}

// string reads one and returns the one it returned before for the same bytes.
func (n *nativeReader) string() (string, error) {
	b, err := n.text()
	if err != nil {
		return "", err
	}
	if s, ok := n.names[string(b)]; ok {
		return s, nil
	}
	if len(n.names) >= nativeNames {
		clear(n.names)
	}
	s := string(b)
	n.names[s] = s
	return s, nil
}

// unexpected is err, with an end in the middle of something being no end.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// A nativeColumn is one that is wanted in a block: its name and type, and what reads so many rows of it.
type nativeColumn struct {
	name, kind string
	read       func(rows int) error
}

func (n *nativeReader) observations() (*batch.Observations, error) {
	o := &batch.Observations{}
	_, err := n.block([]nativeColumn{
		{"ms", "Int64", func(rows int) error { o.Time = make([]int64, rows); return n.full(rawBytes(o.Time)) }},
		{"domain", "LowCardinality(String)", func(rows int) error { return n.dict(&o.Domain, rows) }},
		{"device", "LowCardinality(String)", func(rows int) error { return n.dict(&o.Device, rows) }},
		{"metric", "LowCardinality(String)", func(rows int) error { return n.dict(&o.Metric, rows) }},
		{"value", "Float64", func(rows int) error { o.Value = make([]float64, rows); return n.full(rawBytes(o.Value)) }},
		{"txt", "LowCardinality(String)", func(rows int) error { return n.dict(&o.Text, rows) }},
		{"quality", "UInt8", func(rows int) error { o.Quality = make([]uint8, rows); return n.full(o.Quality) }},
	})
	return o, err
}

// block reads one, with the columns that are wanted, io.EOF after the last. One without rows is left out.
func (n *nativeReader) block(wanted []nativeColumn) (rows int, err error) {
	for {
		columns, err := n.uvarint()
		if err != nil {
			return 0, err
		}
		rows, err := n.uvarint()
		if err != nil {
			return 0, unexpected(err)
		}
		if columns != uint64(len(wanted)) || rows > nativeRows {
			return 0, fmt.Errorf("a block of %d columns and %d rows, want %d and at most %d", columns, rows, len(wanted), nativeRows)
		}
		for _, c := range wanted {
			name, err := n.string()
			if err != nil {
				return 0, unexpected(err)
			}
			kind, err := n.string()
			if err != nil {
				return 0, unexpected(err)
			}
			if name != c.name || kind != c.kind {
				return 0, fmt.Errorf("a column %.40q of %.40q, want %s of %s", name, kind, c.name, c.kind)
			}
			if rows == 0 {
				continue
			}
			if err := c.read(int(rows)); err != nil {
				return 0, fmt.Errorf("column %s: %w", name, unexpected(err))
			}
		}
		if rows > 0 {
			return int(rows), nil
		}
	}
}

func (n *nativeReader) full(b []byte) error {
	_, err := io.ReadFull(n.r, b)
	return err
}

// dict reads a LowCardinality column, as lowCardinality.encode writes it.
func (n *nativeReader) dict(d *batch.Dict, rows int) error {
	version, err := n.int64()
	if err != nil {
		return err
	}
	flags, err := n.int64()
	if err != nil {
		return err
	}
	const global, extra = 1 << 8, 1 << 9
	width := flags & 0xff
	if version != 1 || flags&global != 0 || flags&extra == 0 || width > 2 {
		return fmt.Errorf("a dictionary of version %d and flags %#x, want version 1 and keys of its own", version, flags)
	}
	size, err := n.int64()
	if err != nil {
		return err
	}
	if size < 0 || size > math.MaxInt16 {
		return fmt.Errorf("a dictionary of %d values, want at most %d", size, math.MaxInt16)
	}
	d.Values = make([]string, size)
	for i := range d.Values {
		if d.Values[i], err = n.string(); err != nil {
			return err
		}
	}
	count, err := n.int64()
	if err != nil {
		return err
	}
	if count != int64(rows) {
		return fmt.Errorf("%d keys for %d rows", count, rows)
	}
	raw := make([]byte, rows<<width)
	if err := n.full(raw); err != nil {
		return err
	}
	d.Index = make([]int16, rows)
	for i := range d.Index {
		var key uint32
		switch width {
		case 0:
			key = uint32(raw[i])
		case 1:
			key = uint32(binary.LittleEndian.Uint16(raw[2*i:]))
		default:
			key = binary.LittleEndian.Uint32(raw[4*i:])
		}
		if int64(key) >= size {
			return fmt.Errorf("key %d of a dictionary of %d values", key, size)
		}
		d.Index[i] = int16(key)
	}
	return nil
}
