package api

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
)

// What cameras' tags say of their view, in degrees and metres.
const (
	headingTag = "heading_deg"
	fovTag     = "fov_deg"
	rangeTag   = "range_m"
)

// silentAfter is how long a camera may be quiet whose profile says nothing.
const silentAfter = 5 * time.Minute

// Bounds and defaults of what is asked about cameras.
const (
	countsWindow = 24 * time.Hour
	maxCountSpan = 366 * 24 * time.Hour
	maxCells     = 3000
	autoCells    = 300
	heatWindow   = 24 * time.Hour
	maxHeatSpan  = 7 * 24 * time.Hour
	tracksWindow = time.Hour
	defaultClock = "Europe/Rome"
)

type countStep struct {
	name string
	d    time.Duration
}

// countSteps are the widths of cells: each is whole ones of those before it, so that no two answers
// can be set against one another to find what happened in between.
var countSteps = []countStep{{"1m", time.Minute}, {"5m", 5 * time.Minute}, {"15m", 15 * time.Minute}, {"1h", time.Hour}, {"1d", 24 * time.Hour}}

// CameraTime is how a time of one camera is asked for.
type CameraTime struct {
	ID   string `path:"id" maxLength:"128"`
	From string `query:"from" doc:"RFC 3339" format:"date-time"`
	To   string `query:"to" doc:"RFC 3339, not included; default now" format:"date-time"`
}

// window reads from and to; a time without from is the last back before to.
func (w CameraTime) window(back, most time.Duration) (from, to time.Time, err error) {
	if from, to, err = span(w.From, w.To); err != nil {
		return from, to, err
	}
	if to.IsZero() {
		to = time.Now().UTC().Truncate(time.Millisecond).Add(time.Millisecond)
	}
	if from.IsZero() {
		from = to.Add(-back)
	}
	if !from.Before(to) {
		return from, to, invalid("query.from", "%s lies in the future", w.From)
	}
	if to.Sub(from) > most {
		return from, to, invalid("query.from", "%v before to, want at most %v", to.Sub(from), most)
	}
	return from, to, nil
}

// video are the operations on cameras and what they count.
func (a *api) video() {
	tags, faults := []string{"cameras"}, []int{404, 422, 501, 503}
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/cameras", Summary: "Cameras, their health and their newest minute", Tags: tags, Errors: []int{422},
		Description: "Devices of the registry that have a camera's purpose, in order of id."}, a.listCameras)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/cameras/{id}", Summary: "One camera", Tags: tags, Errors: []int{404, 422}},
		func(c *call, in *struct {
			ID string `path:"id" maxLength:"128"`
		}) (*one[cameraItem], error) {
			d, err := c.camera(in.ID)
			if err != nil {
				return nil, err
			}
			return &one[cameraItem]{a.cameraItem(d, time.Now())}, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/cameras/{id}/counts", Summary: "What a camera counted over time, by class", Tags: tags, Errors: faults,
		Description: "The time is widened to whole steps. A step that tells of fewer objects than the purpose's k is hidden."}, a.counts)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/cameras/{id}/zones", Summary: "Sums of a camera's zones and lines", Tags: tags, Errors: faults,
		Description: "The time is widened to whole hours where it is longer than two of them, else to whole minutes."}, a.zoneSums)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/cameras/{id}/heatmap", Summary: "Where in the image objects were", Tags: tags, Errors: faults,
		Description: "Of raw detections, which are kept for days at most."}, a.heatmap)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/cameras/{id}/tracks", Summary: "Ways of objects through a camera's view, newest first", Tags: tags, Errors: faults,
		Description: "Without plates and attributes."}, a.tracks)
}

// camera is the registry's, or a 404.
func (c *call) camera(id string) (*devices.Asset, error) {
	if d := c.asset(id); d != nil && d.Camera != nil {
		return d, nil
	}
	return nil, problem.New(http.StatusNotFound, "no camera %q in the registry", id)
}

func (a *api) listCameras(c *call, in *struct {
	Zone  string `query:"zone" maxLength:"128"`
	State string `query:"state" enum:"ok,silent,never,tampered,signal_loss,unlawful" doc:"only those in this state of health"`
	Page
}) (*camerasBody, error) {
	now, scope := time.Now(), c.scope()
	all := []cameraItem{}
	if a.Registry != nil {
		for _, d := range a.Registry.All() {
			if d.Camera == nil || !sees(scope, d) || in.Zone != "" && d.Zone != in.Zone {
				continue
			}
			if it := a.cameraItem(d, now); in.State == "" || it.Health.State == in.State {
				all = append(all, it)
			}
		}
	}
	out := &camerasBody{}
	var err error
	out.Body.Cameras, out.Body.Next, err = cut(in.Page, all, func(it cameraItem) string { return it.ID }, nil)
	return out, err
}

// cameraItem is what the registry and the live state have of a camera.
func (a *api) cameraItem(d *devices.Asset, now time.Time) cameraItem {
	c := d.Camera
	it := cameraItem{ID: d.ID, Name: d.Name, Domain: d.Domain, Zone: d.Zone, Lat: d.Lat, Lon: d.Lon,
		HeadingDeg: tagNumber(d, headingTag, -360, 360), FovDeg: tagNumber(d, fovTag, 0, 360), RangeM: tagNumber(d, rangeTag, 0, 10_000),
		Purpose: c.Purpose, LegalBasis: c.LegalBasis, Controller: c.Controller, DPIARef: c.DPIARef, Areas: append([]devices.Area{}, c.Areas...), Now: map[string]float64{}, Hidden: []string{}, K: a.K(c.Purpose)}
	if a.State != nil {
		if l := a.State.Lookup(d.ID); l != nil {
			s, _ := a.State.Item(l)
			it.Alarm, it.Health.Seen = s.Alarm, s.Seen
			for name, v := range s.Values {
				x, ok := v.(float64)
				switch {
				case !ok && live.CameraCount(name):
					it.Hidden = append(it.Hidden, name)
				case !ok:
				case name == live.CameraFrames:
					it.Health.FramesPerS = &x
				case name == live.CameraTampered:
					it.Health.Tampered = x > 0
				case name == live.CameraSignalLoss:
					it.Health.SignalLoss = x > 0
				case live.CameraCount(name):
					it.Now[name] = x
				}
			}
		}
	}
	slices.Sort(it.Hidden)
	h := &it.Health
	quiet := silentAfter
	if d.Period > 0 {
		quiet = 3 * time.Duration(d.Period)
	}
	h.Silent = h.Seen == nil || now.Sub(h.Seen.Time) > quiet
	switch {
	case c.Purpose == "" || c.LegalBasis == "" || c.Controller == "" || c.DPIARef == "":
		h.State = "unlawful"
	case h.Seen == nil:
		h.State = "never"
	case h.Silent:
		h.State = "silent"
	case h.SignalLoss:
		h.State = "signal_loss"
	case h.Tampered:
		h.State = "tampered"
	default:
		h.State = "ok"
	}
	return it
}

// tagNumber is a tag's number, nil where it is none between least and most.
func tagNumber(d *devices.Asset, tag string, least, most float64) *float64 {
	v, err := strconv.ParseFloat(d.Tags[tag], 64)
	if err != nil || !(v >= least && v <= most) {
		return nil
	}
	return &v
}

// ask finds the camera and what of it may be told.
func (c *call) ask(id string) (d *devices.Asset, k int, err error) {
	if c.api.Video == nil {
		return nil, 0, missing("cameras")
	}
	if d, err = c.camera(id); err != nil {
		return nil, 0, err
	}
	return d, c.api.K(d.Camera.Purpose), nil
}

func (a *api) counts(c *call, in *struct {
	CameraTime
	Step  string `query:"step" enum:"1m,5m,15m,1h,1d" doc:"default by the length of the time; 1d is a day by Rome's clock"`
	Class string `query:"class" maxLength:"64" doc:"such as person or car; default all"`
	Zone  string `query:"zone" maxLength:"256" doc:"a zone or line of the camera; default the whole view"`
}) (*countsBody, error) {
	d, k, err := c.ask(in.ID)
	if err != nil {
		return nil, err
	}
	from, to, err := in.window(countsWindow, maxCountSpan)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(countSteps, func(s countStep) bool {
		return in.Step == s.name || in.Step == "" && to.Sub(from)/s.d <= autoCells
	})
	if at < 0 {
		at = len(countSteps) - 1
	}
	step, within := countSteps[at], time.Duration(0)
	if at+1 < len(countSteps) {
		within = countSteps[at+1].d
	}
	// Only one clock: the sums of days of two could be set against one another, as of two lengths of steps.
	var days *time.Location
	if 24*time.Hour == max(step.d, within) {
		if days, err = time.LoadLocation(defaultClock); err != nil {
			return nil, c.away("counts", err)
		}
	}
	if step.d == 24*time.Hour {
		from, to = wholeDays(from.In(days), to.In(days))
	} else {
		from, to = whole(from, to, step.d)
	}
	if n := to.Sub(from) / step.d; n > maxCells {
		return nil, invalid("query.step", "%s gives %d cells, want at most %d", in.Step, n, maxCells)
	}
	cells, err := a.Video.Counts(c.ctx, CountQuery{Camera: d.ID, Zone: in.Zone, Class: in.Class, From: from, To: to, Step: step.d, Days: days, Within: within, K: k})
	if err != nil {
		return nil, c.away("counts", err)
	}
	out := &countsBody{}
	b := &out.Body
	b.Camera, b.From, b.To, b.Step, b.K, b.Series = d.ID, live.Stamp{Time: from}, live.Stamp{Time: to}, step.name, k, []countSeries{}
	for _, cell := range cells {
		if n := len(b.Series); n == 0 || b.Series[n-1].Zone != cell.Zone || b.Series[n-1].Class != cell.Class {
			b.Series = append(b.Series, countSeries{Zone: cell.Zone, Class: cell.Class})
		}
		s := &b.Series[len(b.Series)-1]
		s.Points = append(s.Points, pointOf(cell))
	}
	return out, nil
}

// whole widens a time to whole steps, by the Unix epoch.
func whole(from, to time.Time, step time.Duration) (time.Time, time.Time) {
	from = from.Truncate(step)
	if end := to.Truncate(step); end.Before(to) {
		to = end.Add(step)
	}
	return from, to
}

// wholeDays widens a time to whole days by its own clock; what it returns is in UTC.
func wholeDays(from, to time.Time) (time.Time, time.Time) {
	midnight := func(t time.Time, days int) time.Time {
		return time.Date(t.Year(), t.Month(), t.Day()+days, 0, 0, 0, 0, t.Location())
	}
	end := midnight(to, 0)
	if end.Before(to) {
		end = midnight(to, 1)
	}
	return midnight(from, 0).UTC(), end.UTC()
}

func pointOf(c VideoCount) countPoint {
	if c.Hidden {
		return countPoint{Time: live.Stamp{Time: c.Time}, Hidden: true}
	}
	present := math.Round(c.Present*100) / 100
	return countPoint{Time: live.Stamp{Time: c.Time}, In: &c.In, Out: &c.Out, Present: &present, PresentMax: &c.PresentMax,
		DwellS: number(c.DwellS), SpeedMps: number(c.SpeedMps), QueueMax: &c.QueueMax}
}

func (a *api) zoneSums(c *call, in *CameraTime) (*cameraZonesBody, error) {
	d, k, err := c.ask(in.ID)
	if err != nil {
		return nil, err
	}
	from, to, err := in.window(countsWindow, maxCountSpan)
	if err != nil {
		return nil, err
	}
	if to.Sub(from) > 2*time.Hour {
		from, to = whole(from, to, time.Hour)
	} else {
		from, to = whole(from, to, time.Minute)
	}
	sums, err := a.Video.Counts(c.ctx, CountQuery{Camera: d.ID, AllZones: true, From: from, To: to, K: k})
	if err != nil {
		return nil, c.away("zones", err)
	}
	out := &cameraZonesBody{}
	b := &out.Body
	b.Camera, b.From, b.To, b.K, b.Zones = d.ID, live.Stamp{Time: from}, live.Stamp{Time: to}, k, []zoneItem{}
	for _, s := range sums {
		b.Zones = append(b.Zones, zoneItem{Zone: s.Zone, Class: s.Class, countPoint: pointOf(s)})
	}
	return out, nil
}

func (a *api) heatmap(c *call, in *struct {
	CameraTime
	Hour  int    `query:"hour" minimum:"-1" maximum:"23" default:"-1" doc:"of the day, by the clock of tz; -1 for all"`
	Clock string `query:"tz" maxLength:"64" doc:"IANA time zone of hour; default Europe/Rome" example:"Europe/Rome"`
	Class string `query:"class" maxLength:"64" doc:"default all but heads, faces, plates and bags"`
}) (*heatBody, error) {
	d, k, err := c.ask(in.ID)
	if err != nil {
		return nil, err
	}
	from, to, err := in.window(heatWindow, maxHeatSpan)
	if err != nil {
		return nil, err
	}
	// Whole hours: two answers that differ by less would tell of single objects.
	from, to = whole(from, to, time.Hour)
	if in.Clock == "" {
		in.Clock = defaultClock
	}
	if _, err := time.LoadLocation(in.Clock); err != nil || in.Clock == "Local" {
		return nil, invalid("query.tz", "%.64q, want an IANA time zone such as Europe/Rome", in.Clock)
	}
	heat, err := a.Video.Heat(c.ctx, HeatQuery{Camera: d.ID, Class: in.Class, Zone: in.Clock, From: from, To: to, Hour: in.Hour, K: k})
	if err != nil {
		return nil, c.away("heat map", err)
	}
	out := &heatBody{}
	b := &out.Body
	b.Camera, b.From, b.To, b.K = d.ID, live.Stamp{Time: from}, live.Stamp{Time: to}, k
	if in.Hour >= 0 {
		b.Hour = &in.Hour
	}
	b.Columns, b.Rows, b.Cells, b.Hidden = heat.Columns, heat.Rows, heat.Cells, heat.Hidden
	for _, n := range heat.Cells {
		b.Max = max(b.Max, n)
	}
	return out, nil
}

func (a *api) tracks(c *call, in *struct {
	CameraTime
	Class string `query:"class" maxLength:"64"`
	Page
}) (*tracksBody, error) {
	d, _, err := c.ask(in.ID)
	if err != nil {
		return nil, err
	}
	from, to, err := in.window(tracksWindow, maxHeatSpan)
	if err != nil {
		return nil, err
	}
	tracks, next, err := a.Video.Tracks(c.ctx, TrackQuery{Camera: d.ID, Class: in.Class, From: from, To: to}, in.Limit, in.Cursor)
	if err != nil {
		return nil, c.away("tracks", err)
	}
	out := &tracksBody{}
	out.Body.Tracks, out.Body.Next = make([]trackItem, len(tracks)), next
	for i, t := range tracks {
		out.Body.Tracks[i] = trackItem{ID: t.ID, Class: t.Class, Start: live.Stamp{Time: t.Start}, End: live.Stamp{Time: t.End}, DurationS: t.End.Sub(t.Start).Seconds(),
			Detections: t.Detections, Zones: append([]string{}, t.Zones...), SpeedMps: number(t.SpeedMps), SpeedMax: number(t.SpeedMaxMps),
			DistanceM: number(t.DistanceM), HeadingDeg: number(t.HeadingDeg), From: place(t.StartX, t.StartY), To: place(t.EndX, t.EndY)}
	}
	return out, nil
}

// place is x and y, empty where they are not known.
func place(x, y float64) []float64 {
	if number(x) == nil || number(y) == nil {
		return []float64{}
	}
	return []float64{x, y}
}
