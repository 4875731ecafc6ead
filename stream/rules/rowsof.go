package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// A Row is what a rule about rows is evaluated on: a detection, a track, the counts of a minute, an
// uplink, an event, or in a sequence over several kinds the message of a device.
type Row struct {
	On       string
	Device   string // whose it is: the camera's, for video
	Domain   string // "": the registry says
	Time     int64  // event time, Unix ms
	Received int64  // Unix ms

	num   func(column int) float64 // by place in the kind's columns
	text  func(column int) string
	other func(name string) (float64, string) // what is no column; nil for nothing

	message messageRows // of a device

	rule  string   // of an event: who raised it
	chain []string // of an event: the rules on events that it comes of
	tells episodeRow
}

// A column is one of the rows of a kind: a number or a text.
type column[R any] struct {
	name string
	num  func(*R) float64
	text func(*R) string
}

// rowKind is what is known of a kind of rows.
type rowKind struct {
	on      string
	kind    batch.Kind
	names   []string
	columns map[string]kind
	place   map[string]int
	domain  string        // of what the registry does not know
	hold    time.Duration // how long an episode lasts after its last row
	late    time.Duration // comes later than others, beside the lateness
	of      []int         // the columns that, beside the device, say which rows are of one thing over time
	// fleeting says that such a thing moves and is soon gone: an object before a camera.
	fleeting bool
	// hourly says that the database sums its numbers up by the hour: what baselines learn of the past.
	hourly bool
	each   func(data []byte, do func(*Row)) error
}

// kindOfRows makes a kind of its columns; of are those that tell things apart, beside the device.
func kindOfRows[R any](k rowKind, columns []column[R], of ...string) *rowKind {
	k.columns, k.place = map[string]kind{}, map[string]int{}
	for i, c := range columns {
		k.names = append(k.names, c.name)
		k.place[c.name] = i
		if k.columns[c.name] = kindText; c.num != nil {
			k.columns[c.name] = kindNum
		}
	}
	for _, name := range of {
		k.of = append(k.of, k.place[name])
	}
	return &k
}

// tells are the columns that tell things of the kind apart.
func (k *rowKind) tells() []string {
	var out []string
	for _, i := range k.of {
		out = append(out, k.names[i])
	}
	return out
}

// readColumns gives a row the columns of *r, which is another one for every row.
func readColumns[R any](row *Row, columns []column[R], r **R) {
	row.num = func(i int) float64 {
		if get := columns[i].num; get != nil {
			return get(*r)
		}
		return math.NaN()
	}
	row.text = func(i int) string {
		if get := columns[i].text; get != nil {
			return get(*r)
		}
		return ""
	}
}

// A detectionAt is one of a batch of detections, of which only the columns are read that are asked for.
type detectionAt struct {
	*batch.Detections
	i int
}

var detectionColumns = []column[detectionAt]{
	{name: "camera", text: func(r *detectionAt) string { return r.Camera.At(r.i) }},
	{name: "what", text: func(r *detectionAt) string { return r.What.At(r.i) }},
	{name: "track", text: func(r *detectionAt) string { return r.Track.At(r.i) }},
	{name: "other", text: func(r *detectionAt) string { return r.Other.At(r.i) }},
	{name: "class", text: func(r *detectionAt) string { return r.Class.At(r.i) }},
	{name: "vendor_class", text: func(r *detectionAt) string { return r.VendorClass.At(r.i) }},
	{name: "score", num: func(r *detectionAt) float64 { return float64(r.Score[r.i]) }},
	{name: "zone", text: func(r *detectionAt) string { return r.Zone.At(r.i) }},
	{name: "rule", text: func(r *detectionAt) string { return r.Rule.At(r.i) }},
	{name: "direction", text: func(r *detectionAt) string { return r.Direction.At(r.i) }},
	{name: "speed_mps", num: func(r *detectionAt) float64 { return float64(r.SpeedMps[r.i]) }},
	{name: "heading_deg", num: func(r *detectionAt) float64 { return float64(r.HeadingDeg[r.i]) }},
	{name: "box_left", num: func(r *detectionAt) float64 { return float64(r.BoxLeft[r.i]) }},
	{name: "box_top", num: func(r *detectionAt) float64 { return float64(r.BoxTop[r.i]) }},
	{name: "box_right", num: func(r *detectionAt) float64 { return float64(r.BoxRight[r.i]) }},
	{name: "box_bottom", num: func(r *detectionAt) float64 { return float64(r.BoxBottom[r.i]) }},
	{name: "center_x", num: func(r *detectionAt) float64 { return float64(r.CenterX[r.i]) }},
	{name: "center_y", num: func(r *detectionAt) float64 { return float64(r.CenterY[r.i]) }},
	{name: "value", num: func(r *detectionAt) float64 { return r.Value[r.i] }},
	{name: "purpose", text: func(r *detectionAt) string { return r.Purpose.At(r.i) }},
	{name: "position_lat", num: func(r *detectionAt) float64 { return r.Lat[r.i] }},
	{name: "position_lon", num: func(r *detectionAt) float64 { return r.Lon[r.i] }},
}

var trackColumns = []column[batch.Track]{
	{name: "camera", text: func(r *batch.Track) string { return r.Camera }},
	{name: "track", text: func(r *batch.Track) string { return r.Track }},
	{name: "class", text: func(r *batch.Track) string { return r.Class }},
	{name: "vendor_class", text: func(r *batch.Track) string { return r.VendorClass }},
	{name: "score", num: func(r *batch.Track) float64 { return r.Score }},
	{name: "zones", text: func(r *batch.Track) string { return r.Zones }},
	{name: "duration_s", num: func(r *batch.Track) float64 { return r.End.Sub(r.Start).Seconds() }},
	{name: "speed_mps", num: func(r *batch.Track) float64 { return r.SpeedMps }},
	{name: "speed_max_mps", num: func(r *batch.Track) float64 { return r.SpeedMaxMps }},
	{name: "distance_m", num: func(r *batch.Track) float64 { return r.DistanceM }},
	{name: "heading_deg", num: func(r *batch.Track) float64 { return r.HeadingDeg }},
	{name: "start_x", num: func(r *batch.Track) float64 { return r.StartX }},
	{name: "start_y", num: func(r *batch.Track) float64 { return r.StartY }},
	{name: "end_x", num: func(r *batch.Track) float64 { return r.EndX }},
	{name: "end_y", num: func(r *batch.Track) float64 { return r.EndY }},
	{name: "purpose", text: func(r *batch.Track) string { return r.Purpose }},
	{name: "position_lat", num: func(r *batch.Track) float64 { return r.EndLat }},
	{name: "position_lon", num: func(r *batch.Track) float64 { return r.EndLon }},
}

var countColumns = []column[batch.Count]{
	{name: "camera", text: func(r *batch.Count) string { return r.Camera }},
	{name: "zone", text: func(r *batch.Count) string { return r.Zone }},
	{name: "class", text: func(r *batch.Count) string { return r.Class }},
	{name: "count_in", num: func(r *batch.Count) float64 { return float64(r.In) }},
	{name: "count_out", num: func(r *batch.Count) float64 { return float64(r.Out) }},
	{name: "seen", num: func(r *batch.Count) float64 { return float64(r.Seen) }},
	{name: "occupancy_avg", num: func(r *batch.Count) float64 { return r.OccupancyAvg }},
	{name: "occupancy_max", num: func(r *batch.Count) float64 { return float64(r.OccupancyMax) }},
	{name: "dwell_s", num: func(r *batch.Count) float64 { return mean(r.DwellS, r.Visits) }},
	{name: "visits", num: func(r *batch.Count) float64 { return float64(r.Visits) }},
	{name: "speed_mps", num: func(r *batch.Count) float64 { return mean(r.SpeedSumMps, r.SpeedN) }},
	{name: "queue_max", num: func(r *batch.Count) float64 { return float64(r.QueueMax) }},
	{name: "purpose", text: func(r *batch.Count) string { return r.Purpose }},
}

func mean(sum float64, n int64) float64 {
	if n <= 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

var uplinkColumns = []column[batch.Uplink]{
	{name: "device", text: func(r *batch.Uplink) string { return r.Device }},
	{name: "dev_eui", text: func(r *batch.Uplink) string { return r.DevEUI }},
	{name: "gateway", text: func(r *batch.Uplink) string { return r.Gateway }},
	{name: "rssi_dbm", num: func(r *batch.Uplink) float64 { return r.RSSIdBm }},
	{name: "snr_db", num: func(r *batch.Uplink) float64 { return r.SNRdB }},
	{name: "frequency_hz", num: func(r *batch.Uplink) float64 { return r.FrequencyHz }},
	{name: "data_rate", text: func(r *batch.Uplink) string { return r.DataRate }},
	{name: "f_cnt", num: func(r *batch.Uplink) float64 { return float64(r.FCnt) }},
	{name: "f_port", num: func(r *batch.Uplink) float64 { return float64(r.FPort) }},
	{name: "airtime_ms", num: func(r *batch.Uplink) float64 { return r.AirtimeMs }},
}

var eventColumns = []column[batch.Event]{
	{name: "rule", text: func(r *batch.Event) string { return r.Rule }},
	{name: "severity", text: func(r *batch.Event) string { return r.Severity }},
	{name: "state", text: func(r *batch.Event) string { return r.State }},
	{name: "domain", text: func(r *batch.Event) string { return r.Domain }},
	{name: "device", text: func(r *batch.Event) string { return r.Device }},
	{name: "zone", text: func(r *batch.Event) string { return r.Zone }},
	{name: "key", text: func(r *batch.Event) string { return r.Key }},
	{name: "text", text: func(r *batch.Event) string { return r.Text }},
}

// What a rule may be about.
const (
	onObservations = "observations"
	OnDetections   = "detections"
	OnTracks       = "tracks"
	OnCounts       = "counts"
	OnUplinks      = "uplinks"
	OnEvents       = "events"
)

// rowKinds are the kinds of rows, by name. What rules say of a time is told, and corrected, until a lateness after it
// and some more: so events are sure later than what they are of.
var rowKinds = map[string]*rowKind{
	OnDetections: kindOfRows(rowKind{on: OnDetections, kind: batch.KindDetections, domain: "safety", hold: time.Minute, fleeting: true, each: eachDetection}, detectionColumns, "track"),
	OnTracks:     kindOfRows(rowKind{on: OnTracks, kind: batch.KindTracks, domain: "safety", hold: time.Minute, hourly: true, each: eachTrack}, trackColumns, "class"),
	OnCounts:     kindOfRows(rowKind{on: OnCounts, kind: batch.KindCounts, domain: "safety", hold: 150 * time.Second, hourly: true, each: eachCount}, countColumns, "zone", "class"),
	OnUplinks:    kindOfRows(rowKind{on: OnUplinks, kind: batch.KindUplinks, hold: time.Minute, hourly: true, each: eachUplink}, uplinkColumns, "gateway"),
	OnEvents:     kindOfRows(rowKind{on: OnEvents, kind: batch.KindEvents, hold: time.Minute, late: 90 * time.Second, each: eachEvent}, eventColumns, "rule", "key"),
}

// columnsOf are the variables of rules about rows, beside the fields of the registry's entry; nil for
// observations, whose variables are whatever devices report.
func columnsOf(on string) map[string]kind {
	if k := rowKinds[on]; k != nil {
		return k.columns
	}
	return nil
}

// eachDetection calls do for every row that is news. The Row is good during the call.
func eachDetection(data []byte, do func(*Row)) error {
	d, err := batch.DecodeDetections(data)
	if err != nil {
		return err
	}
	Detections(d, do)
	return nil
}

// Detections calls do for every row that is news: a state that a camera only tells again is none. The
// Row is good during the call.
func Detections(d *batch.Detections, do func(*Row)) {
	r := &detectionAt{Detections: d}
	row := Row{On: OnDetections}
	readColumns(&row, detectionColumns, &r)
	for i := range d.Len() {
		if d.Quality[i]&devices.QualityRefresh != 0 {
			continue
		}
		r.i = i
		row.Device, row.Time, row.Received = d.Camera.At(i), d.Time[i], d.Received[i]
		do(&row)
	}
}

func eachTrack(data []byte, do func(*Row)) error {
	tracks, err := batch.DecodeTracks(data)
	if err != nil {
		return err
	}
	Tracks(tracks, do)
	return nil
}

// Tracks calls do for every track, at its end. The Row is good during the call.
func Tracks(tracks []batch.Track, do func(*Row)) {
	var t *batch.Track
	row := Row{On: OnTracks}
	readColumns(&row, trackColumns, &t)
	for i := range tracks {
		t = &tracks[i]
		row.Device, row.Time, row.Received = t.Camera, t.End.UnixMilli(), t.Received.UnixMilli()
		do(&row)
	}
}

func eachCount(data []byte, do func(*Row)) error {
	counts, err := batch.DecodeCounts(data)
	if err != nil {
		return err
	}
	Counts(counts, do)
	return nil
}

// Counts calls do for every cell of a minute, at the minute's end. The Row is good during the call.
func Counts(counts []batch.Count, do func(*Row)) {
	var c *batch.Count
	row := Row{On: OnCounts}
	readColumns(&row, countColumns, &c)
	for i := range counts {
		c = &counts[i]
		at := c.Time.UnixMilli() + 60_000
		row.Device, row.Time, row.Received = c.Camera, at, max(c.Received.UnixMilli(), at)
		do(&row)
	}
}

func eachUplink(data []byte, do func(*Row)) error {
	uplinks, err := batch.DecodeUplinks(data)
	if err != nil {
		return err
	}
	Uplinks(uplinks, do)
	return nil
}

// Uplinks calls do for every uplink: one message is as many as gateways heard it. Their time is that
// of receipt. The Row is good during the call.
func Uplinks(uplinks []batch.Uplink, do func(*Row)) {
	var u *batch.Uplink
	row := Row{On: OnUplinks}
	readColumns(&row, uplinkColumns, &u)
	for i := range uplinks {
		u = &uplinks[i]
		at := u.Time.UnixMilli()
		row.Device, row.Time, row.Received = u.Device, at, at
		do(&row)
	}
}

func eachEvent(data []byte, do func(*Row)) error {
	events, err := batch.DecodeEvents(data)
	if err != nil {
		return err
	}
	Events(events, do)
	return nil
}

// Events calls do for every event that is not one of a rule in shadow. The Row is good during the call.
func Events(events []batch.Event, do func(*Row)) {
	var ev *batch.Event
	var values map[string]any // of its context, once asked for
	row := Row{On: OnEvents}
	readColumns(&row, eventColumns, &ev)
	row.other = func(name string) (float64, string) {
		if values == nil {
			var c struct{ Values map[string]any }
			if json.Unmarshal(ev.Context, &c) != nil || c.Values == nil {
				c.Values = map[string]any{}
			}
			values = c.Values
		}
		return asNumberOrText(values[strings.TrimPrefix(name, contextPrefix)])
	}
	for i := range events {
		if ev, values = &events[i], nil; ev.Shadow() {
			continue
		}
		row.Device, row.Domain, row.Time, row.Received = ev.Device, ev.Domain, ev.Time.UnixMilli(), ev.Received.UnixMilli()
		row.rule = ev.Rule
		row.tellsOf(ev)
		do(&row)
	}
}

// contextPrefix begins the names of what an event's context says: context.power_w.
const contextPrefix = "context."

func asNumberOrText(v any) (float64, string) {
	switch v := v.(type) {
	case float64:
		return v, unknownText
	case bool:
		if v {
			return 1, unknownText
		}
		return 0, unknownText
	case string:
		return math.NaN(), v
	}
	return math.NaN(), unknownText
}

// NewRow makes a row of what a test says, by column; one that is not said is empty, and of an event one
// named context.NAME is of its context. Times are Unix ms.
func NewRow(on, device string, at, received int64, columns map[string]string) (*Row, error) {
	k := rowKinds[on]
	if k == nil {
		all := slices.Sorted(maps.Keys(rowKinds))
		return nil, fmt.Errorf("rows on %q%s; want one of %s", on, didYouMean(on, all), strings.Join(all, ", "))
	}
	row := &Row{On: on, Device: device, Time: at, Received: received}
	if on == OnEvents {
		row.Domain, row.rule = columns["domain"], columns["rule"]
	}
	columns = maps.Clone(columns)
	for _, name := range []string{"camera", "device"} {
		if _, ok := k.columns[name]; ok {
			columns[name] = device
		}
	}
	numbers := map[string]float64{}
	for name, text := range columns {
		is, ok := k.columns[name]
		if on == OnEvents && strings.HasPrefix(name, contextPrefix) {
			if v, err := strconv.ParseFloat(text, 64); err == nil {
				numbers[name] = v
			}
			continue
		}
		if !ok {
			return nil, fmt.Errorf("%s have no column %q%s", on, name, didYouMean(name, k.names))
		}
		if is != kindNum {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: found %q, want a number", name, clip(text, 40))
		}
		numbers[name] = v
	}
	number := func(name string) float64 {
		if v, ok := numbers[name]; ok {
			return v
		}
		return math.NaN()
	}
	row.num = func(i int) float64 { return number(k.names[i]) }
	row.text = func(i int) string { return columns[k.names[i]] }
	row.other = func(name string) (float64, string) {
		if text, ok := columns[name]; ok && number(name) != number(name) {
			return math.NaN(), text
		}
		return number(name), unknownText
	}
	return row, nil
}
