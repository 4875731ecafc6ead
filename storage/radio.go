package storage

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is counted from `uplinks`, where every reception of an uplink by a gateway is a row:
//
// An uplink is what the rows of one device with one counter are, each at most copySpan after the one
// before: gateways hear the same frame, and some bring it late. Its time is its first row's.
//
// Loss of a device: its uplinks in order of time; where the counter grows by n since the uplink
// before, n were expected, n-1 were lost. Where it falls, or grows by more than maxGap, the device was
// reset or switched off: nothing was expected of it. An equal counter is the frame sent again. Loss
// is what was lost over what was expected.
//
// Loss of a gateway: a device is the gateway's own where it heard half of the device's uplinks or
// more. Of the uplinks of its own devices that any gateway heard, those that it did not.
const (
	copySpan = 10 * time.Second
	maxGap   = 1024
)

// MaxRadioSpan is the longest time that figures of the radio are worked out for.
const MaxRadioSpan = 7 * 24 * time.Hour

// maxGateways bounds a list of gateways.
const maxGateways = 10_000

// A GatewayRadio is how one gateway heard, over a time.
type GatewayRadio struct {
	Gateway    string
	Seen       time.Time // its last reception
	Uplinks    uint64
	Devices    uint64
	RSSIdBm    float64 // mean
	SNRdB      float64 // mean
	AirtimeMs  float64 // of its receptions
	OwnDevices uint64  // those that it hears at least half of
	Expected   uint64  // uplinks of its own devices, heard by any gateway
	Lost       uint64  // those of them that it did not hear
}

// A DeviceRadio is how one device was heard, over a time.
type DeviceRadio struct {
	Device, DevEUI string
	Seen           time.Time
	Uplinks        uint64
	Gateways       uint64
	RSSIdBm        float64 // best
	SNRdB          float64 // best
	DataRates      []string
	AirtimeMs      float64
	Expected       uint64 // by the counter
	Lost           uint64
	Resets         uint64 // times that the counter began anew
	// The last reception; of several at once the one with the best signal.
	LastGateway   string
	LastRSSIdBm   float64
	LastSNRdB     float64
	LastDataRate  string
	LastFrequency float64 // Hz
	LastFCnt      int64
}

// A Link is how one gateway heard one device, over a time.
type Link struct {
	Gateway string
	Seen    time.Time
	Uplinks uint64
	RSSIdBm float64 // mean
	SNRdB   float64 // mean
}

// A RadioQuery asks for devices that were heard in From <= time < To, at most MaxRadioSpan.
type RadioQuery struct {
	From, To time.Time
	Device   string  // only this one
	Gateway  string  // only devices that it heard; their figures are of all gateways
	Sort     string  // one of RadioSorts; device if empty
	Within   *Within // only devices of a part of the city; nil: of all
}

// radioSorts are the orders of a list of devices, worst first: what each sorts by, ascending.
var radioSorts = map[string]string{
	"device":  "toFloat64(0)",
	"loss":    "if(expected = 0, 1., -(lost / expected))",
	"seen":    "toFloat64(toUnixTimestamp64Milli(seen))",
	"rssi":    "rssi",
	"snr":     "snr",
	"uplinks": "toFloat64(uplinks)",
	"airtime": "-airtime",
}

// RadioSorts are the orders of a list of devices: by name, or worst first.
var RadioSorts = []string{"device", "loss", "seen", "rssi", "snr", "uplinks", "airtime"}

func checkRadioSpan(from, to time.Time) error {
	if !from.Before(to) || to.Sub(from) > MaxRadioSpan {
		return &QueryError{fmt.Sprintf("radio: from %s to %s, want a time of at most %v", from.Format(time.RFC3339), to.Format(time.RFC3339), MaxRadioSpan)}
	}
	return nil
}

// spill lets what does not fit into memory go to disk.
const spill = " SETTINGS max_bytes_before_external_group_by = 104857600, max_bytes_before_external_sort = 104857600"

// A reception's key is its counter and its time within the query's, 30 bits: sorted keys have the
// rows of an uplink side by side, and only those are at most copySpan apart. Arrays of one number
// a row are an order of magnitude cheaper than window functions over the rows.
func radioKey(from time.Time) string {
	return fmt.Sprintf("bitOr(bitShiftLeft(toUInt64(bitAnd(f_cnt, 4294967295)), 30), toUInt64(toUnixTimestamp64Milli(time) - %d))", from.UnixMilli())
}

// Keys are of 30 bits of time: MaxRadioSpan must fit, with room for copySpan.
const _ = uint(1<<30 - MaxRadioSpan/time.Millisecond - copySpan/time.Millisecond)

// firsts keeps of sorted keys the first of each uplink, or of values in their order those at them.
func firsts(values, keys string) string {
	return fmt.Sprintf("arrayFilter((x, d, i) -> i = 1 OR d > %d, %s, arrayDifference(%s), arrayEnumerate(%s))", copySpan.Milliseconds(), values, keys, keys)
}

// Gateways returns how the gateways heard in from <= time < to, at most MaxRadioSpan, in order of
// id; where gateway is not empty, that one, or none. All figures are of the devices of in.
func (db *DB) Gateways(ctx context.Context, from, to time.Time, gateway string, in *Within) ([]GatewayRadio, error) {
	if err := checkRadioSpan(from, to); err != nil {
		return nil, err
	}
	var w, only where
	w.times("time", from, to)
	if gateway != "" {
		heard(&w, from, to, gateway)
	}
	w.parts("device", in)
	only.equal("link.1", gateway)
	sql := `SELECT link.1 AS gateway, max(link.2), sum(link.3) AS n, count(), sum(link.4) / sum(link.7), sum(link.5) / sum(link.7), sum(link.6), countIf(link.3 * 2 >= total),
			sumIf(total, link.3 * 2 >= total) AS expected, toUInt64(expected - sumIf(link.3, link.3 * 2 >= total))
		FROM (SELECT arraySort(groupArrayArray(keys)) AS sorted, length(` + firsts("sorted", "sorted") + `) AS total,
				groupArray((gateway, seen, n, rssi, snr, airtime, receptions)) AS links
			FROM (SELECT device, gateway, arraySort(groupArray(` + radioKey(from) + `)) AS keys, length(` + firsts("keys", "keys") + `) AS n,
					max(time) AS seen, sum(rssi_dbm) AS rssi, sum(snr_db) AS snr, sum(airtime_ms) AS airtime, count() AS receptions
				FROM uplinks` + w.sql() + ` GROUP BY device, gateway)
			GROUP BY device) ARRAY JOIN links AS link` + only.sql() + `
		GROUP BY gateway ORDER BY gateway LIMIT ` + strconv.Itoa(maxGateways) + spill
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, sql, slices.Concat(w.args, only.args)...)
	if err != nil {
		return nil, fmt.Errorf("read the gateways' radio: %w", err)
	}
	defer rows.Close()
	var out []GatewayRadio
	for rows.Next() {
		var g GatewayRadio
		if err := rows.Scan(&g.Gateway, &g.Seen, &g.Uplinks, &g.Devices, &g.RSSIdBm, &g.SNRdB, &g.AirtimeMs, &g.OwnDevices, &g.Expected, &g.Lost); err != nil {
			return nil, fmt.Errorf("read the gateways' radio: %w", err)
		}
		g.Seen = g.Seen.UTC()
		out = append(out, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the gateways' radio: %w", err)
	}
	return out, nil
}

// heard keeps the devices that the gateway heard.
func heard(w *where, from, to time.Time, gateway string) {
	var by where
	by.times("time", from, to)
	by.equal("gateway", gateway)
	w.add("device IN (SELECT device FROM uplinks"+by.sql()+")", by.args...)
}

// RadioDevices returns a page of devices and the cursor of the next one, "" after the last. The
// pages of one list are of the time that its first page was asked for. A limit of 0 is 100; more
// than 1000 are never returned.
func (db *DB) RadioDevices(ctx context.Context, q RadioQuery, limit int, cursor string) (devices []DeviceRadio, next string, err error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	if q.Sort == "" {
		q.Sort = "device"
	}
	order, ok := radioSorts[q.Sort]
	if !ok {
		return nil, "", &QueryError{fmt.Sprintf("radio: sort %q, want one of %s", q.Sort, strings.Join(RadioSorts, ", "))}
	}
	var after where
	if cursor != "" {
		place, device, err := parseRadioCursor(&q, cursor)
		if err != nil {
			return nil, "", err
		}
		after.add("(place, device) > (reinterpretAsFloat64(toUInt64(?)), ?)", place, device)
	}
	if err := checkRadioSpan(q.From, q.To); err != nil {
		return nil, "", err
	}
	var w where
	w.times("time", q.From, q.To)
	w.equal("device", q.Device)
	if q.Gateway != "" {
		heard(&w, q.From, q.To, q.Gateway)
	}
	w.parts("device", q.Within)
	sql := "SELECT device, dev_eui, seen, uplinks, gateways, rssi, snr, rates, airtime, expected, lost, resets, newest, " + order + ` AS place
		FROM (SELECT device, any(u.dev_eui) AS dev_eui, max(time) AS seen, uniqExact(gateway) AS gateways, max(rssi_dbm) AS rssi, max(snr_db) AS snr,
				arraySort(groupUniqArray(data_rate)) AS rates, argMax((gateway, rssi_dbm, snr_db, data_rate, frequency_hz, f_cnt), (time, rssi_dbm)) AS newest,
				groupArray(` + radioKey(q.From) + `) AS unsorted, arraySort(unsorted) AS keys,
				arraySum(` + firsts("arraySort((a, k) -> k, groupArray(airtime_ms), unsorted)", "keys") + `) AS airtime,
				` + firsts("keys", "keys") + ` AS began, length(began) AS uplinks,
				arraySort(arrayMap(k -> bitOr(bitShiftLeft(bitAnd(k, 1073741823), 32), bitShiftRight(k, 30)), began)) AS in_time,
				arrayDifference(arrayMap(k -> toInt64(bitAnd(k, 4294967295)), in_time)) AS steps,
				arrayFilter(s -> s BETWEEN 1 AND ` + strconv.Itoa(maxGap) + `, steps) AS forward,
				toUInt64(arraySum(forward)) AS expected, toUInt64(expected - length(forward)) AS lost,
				toUInt64(arrayCount(s -> s < 0 OR s > ` + strconv.Itoa(maxGap) + `, steps)) AS resets
			FROM uplinks AS u` + w.sql() + " GROUP BY device)" + after.sql() + " ORDER BY place, device LIMIT " + strconv.Itoa(limit+1) + spill
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, sql, slices.Concat(w.args, after.args)...)
	if err != nil {
		return nil, "", fmt.Errorf("read the devices' radio: %w", err)
	}
	defer rows.Close()
	var place, last float64
	for rows.Next() {
		var d DeviceRadio
		var newest []any
		if err := rows.Scan(&d.Device, &d.DevEUI, &d.Seen, &d.Uplinks, &d.Gateways, &d.RSSIdBm, &d.SNRdB, &d.DataRates, &d.AirtimeMs,
			&d.Expected, &d.Lost, &d.Resets, &newest, &place); err != nil {
			return nil, "", fmt.Errorf("read the devices' radio: %w", err)
		}
		if len(devices) == limit {
			next = radioCursor(q, last, devices[limit-1].Device)
			break
		}
		d.LastGateway, d.LastRSSIdBm, d.LastSNRdB = newest[0].(string), newest[1].(float64), newest[2].(float64)
		d.LastDataRate, d.LastFrequency, d.LastFCnt = newest[3].(string), newest[4].(float64), newest[5].(int64)
		d.Seen, last = d.Seen.UTC(), place
		devices = append(devices, d)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("read the devices' radio: %w", err)
	}
	return devices, next, nil
}

// Links returns how each gateway heard the device in from <= time < to, the most uplinks first.
func (db *DB) Links(ctx context.Context, from, to time.Time, device string) ([]Link, error) {
	if err := checkRadioSpan(from, to); err != nil {
		return nil, err
	}
	var w where
	w.times("time", from, to)
	w.add("device = ?", device)
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, "SELECT gateway, seen, n, rssi, snr FROM (SELECT gateway, max(time) AS seen, avg(rssi_dbm) AS rssi, avg(snr_db) AS snr, arraySort(groupArray("+
		radioKey(from)+")) AS keys, length("+firsts("keys", "keys")+") AS n FROM uplinks"+w.sql()+" GROUP BY gateway) ORDER BY n DESC, gateway LIMIT 1000"+spill, w.args...)
	if err != nil {
		return nil, fmt.Errorf("read a device's links: %w", err)
	}
	defer rows.Close()
	var out []Link
	for rows.Next() {
		var l Link
		if err := rows.Scan(&l.Gateway, &l.Seen, &l.Uplinks, &l.RSSIdBm, &l.SNRdB); err != nil {
			return nil, fmt.Errorf("read a device's links: %w", err)
		}
		l.Seen = l.Seen.UTC()
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read a device's links: %w", err)
	}
	return out, nil
}

// radioCursor holds the time of the list, and the place of its last device in it, to the bit.
func radioCursor(q RadioQuery, place float64, device string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "r %d %d %s %d %s",
		q.From.UnixMilli(), q.To.UnixMilli(), q.Sort, math.Float64bits(place), device))
}

// parseRadioCursor sets the time of q to that of the list.
func parseRadioCursor(q *RadioQuery, cursor string) (place uint64, device string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.SplitN(string(raw), " ", 6)
	if err != nil || len(parts) != 6 || parts[0] != "r" || parts[3] != q.Sort {
		return 0, "", &CursorError{cursor}
	}
	from, err1 := strconv.ParseInt(parts[1], 10, 64)
	to, err2 := strconv.ParseInt(parts[2], 10, 64)
	place, err3 := strconv.ParseUint(parts[4], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || to <= from || to-from > MaxRadioSpan.Milliseconds() {
		return 0, "", &CursorError{cursor}
	}
	q.From, q.To = time.UnixMilli(from), time.UnixMilli(to)
	return place, parts[5], nil
}
