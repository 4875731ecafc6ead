package api

import (
	"context"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/devices"
)

// A Threshold is a limit of a metric: a value passes it that is at least From.
type Threshold struct {
	Metric string
	Span   Span
	From   float64
}

// An ExceedancesQuery asks how often devices passed thresholds of some metrics in a calendar year of standard time,
// Offset ahead of UTC. Nothing from Until on counts. Least is how many readings an hour must have to count, by device;
// 1 where it says nothing.
type ExceedancesQuery struct {
	Devices    []string
	Metrics    []string
	Thresholds []Threshold
	Year       int
	Offset     time.Duration
	Until      time.Time
	Least      map[string]int
}

// A DeviceYear is what a metric of a device came to in the year: the hours and days that count, days also by their
// running means, and how often and when last each threshold of the query was passed, those of other metrics never.
type DeviceYear struct {
	Device, Metric    string
	Hours, Days, Day8 uint64
	Mean              float64 // of the hours
	Passed            []uint64
	Last              []time.Time // zero for never
}

// counted is how many hours or days of the year count for a span.
func (y *DeviceYear) counted(s Span) uint64 {
	return map[Span]uint64{EachHour: y.Hours, EachDay: y.Days, Max8h: y.Day8}[s]
}

// standardTime is the clock by which hours, days and years of the air are told in Italy, summer and winter alike.
var standardTime = time.FixedZone("CET", 3600)

const (
	firstYear    = 2000
	maxKeptYears = 50_000 // years of stations that are kept
	pastFor      = 24 * time.Hour
	yearsBack    = 3 // that are looked at: a limit's mean is over that many
)

// exceeded keeps what was worked out of stations and years: of the running one within the hour, of others, which late
// readings may still change, for a day. One question at a time is worked out: each reads a year of hours.
type exceeded struct {
	free chan struct{} // holds one element while somebody uses of
	of   map[stationYear]keptYear
}

type stationYear struct {
	device string
	year   int
	back   bool // only the metrics whose limits look back on years
}

type keptYear struct {
	until time.Time // worked out then
	of    []DeviceYear
}

type exceedancesQuery struct {
	Domain string `query:"domain" default:"environment" maxLength:"32"`
	Year   int    `query:"year" minimum:"2000" maximum:"2105" doc:"of the calendar; default the running one"`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"100" doc:"how many stations at most are looked at"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"\"next\" of the page before"`
}

type exceedanceItem struct {
	Index   string      `json:"index"`
	Count   *uint64     `json:"count" doc:"hours or days above the limit; null where the station measures in another unit"`
	Per     string      `json:"per" enum:"hour,day"`
	Allowed *int        `json:"allowed" doc:"times a year that the limit may be passed; null of a threshold from which the public is told"`
	Over    bool        `json:"over" doc:"passed more often than allowed; of ozone by the mean of the years"`
	Last    *live.Stamp `json:"last" doc:"beginning of the last hour or day; null for none"`
	Valid   uint64      `json:"valid" doc:"hours or days that count: days with 18 valid hours or running means, hours with three quarters of the readings that the profile's period lets expect"`
	Of      uint64      `json:"of" doc:"hours or days of the year that are over"`
	// Mean is over Years.
	Mean  *float64    `json:"mean,omitempty" doc:"of ozone: mean of the counts of those years of the last three of which three quarters of the days count, the running one in any case"`
	Years []yearCount `json:"years,omitempty" doc:"of ozone: the last three years as far as there is anything of them"`
}

type yearCount struct {
	Year  int    `json:"year"`
	Count uint64 `json:"count"`
	Valid uint64 `json:"valid"`
	Of    uint64 `json:"of"`
}

type meanItem struct {
	Index string   `json:"index"`
	Value float64  `json:"value" doc:"mean of the year's hours so far"`
	Limit *float64 `json:"limit" doc:"null where the station measures in another unit"`
	Over  bool     `json:"over"`
	Valid uint64   `json:"valid" doc:"hours that count"`
	Of    uint64   `json:"of" doc:"hours of the year that are over"`
}

type exceedingStation struct {
	ID     string           `json:"id"`
	Name   string           `json:"name"`
	Zone   string           `json:"zone"`
	Lat    *float64         `json:"lat"`
	Lon    *float64         `json:"lon"`
	Counts []exceedanceItem `json:"counts"`
	Means  []meanItem       `json:"means"`
}

type exceedancesBody struct {
	Body struct {
		Year     int                `json:"year"`
		From     live.Stamp         `json:"from" doc:"beginning of the year, by standard time (UTC+1)"`
		Until    live.Stamp         `json:"until" doc:"hours and days that were over by then are counted"`
		Stations []exceedingStation `json:"stations" doc:"that have readings of the year"`
		Limits   []limit            `json:"limits"`
		Means    []limit            `json:"means" doc:"limits of a year's mean"`
		Next     string             `json:"next,omitempty"`
	}
}

// exceedances are the limits of the air over a calendar year.
func (a *api) exceedances() {
	a.exceeded = exceeded{free: make(chan struct{}, 1), of: map[stationYear]keptYear{}}
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/environment/exceedances", Summary: "How often limits of the air were passed in a year", Tags: []string{historyTag}, Errors: []int{422, 501, 503},
		Description: "By station and limit, for a calendar year: the hours or days above it, how many are allowed, and how much of the year was measured; and the year's means. Hours, days and the year are of standard time " +
			"(UTC+1) all the year round. A value is above a limit when it still is once rounded to whole units. Figures of the running year are worked out once an hour, of others once a day. A page may have fewer stations than its limit: those without readings of the year are left out."},
		func(c *call, in *exceedancesQuery) (*exceedancesBody, error) {
			return a.exceedancesAt(c, in, time.Now())
		})
}

func (a *api) exceedancesAt(c *call, in *exceedancesQuery, now time.Time) (*exceedancesBody, error) {
	if a.Rollups == nil {
		return nil, missing("rollups")
	}
	page := Page{Limit: in.Limit, Cursor: in.Cursor}
	until := now.Truncate(time.Hour).In(standardTime)
	if in.Year == 0 {
		in.Year = until.Year()
	}
	if in.Year > until.Year() {
		return nil, invalid("query.year", "%d has not begun, want %d to %d", in.Year, firstYear, until.Year())
	}
	var all []*devices.Asset
	if a.Registry != nil {
		scope := c.scope()
		for _, d := range a.Registry.All() {
			if d.Domain == in.Domain && d.Camera == nil && sees(scope, d) && measuresAir(d) {
				all = append(all, d)
			}
		}
	}
	out := &exceedancesBody{}
	b := &out.Body
	stations, next, err := cut(page, all, func(d *devices.Asset) string { return d.ID }, nil)
	if err != nil {
		return nil, err
	}
	years := make([]map[string][]DeviceYear, yearsBack) // by how many years before, then by station
	for back := range years {
		if years[back], err = a.yearOf(c.ctx, stations, in.Year-back, back > 0, until); err != nil {
			return nil, c.away("rollups", err)
		}
	}
	b.Year, b.Next, b.Stations = in.Year, next, []exceedingStation{}
	b.From, b.Until = live.Stamp{Time: yearBegin(in.Year).UTC()}, live.Stamp{Time: until.UTC()}
	for _, l := range limits {
		if l.of != nil {
			b.Limits = append(b.Limits, l)
		}
	}
	b.Means = yearly
	for _, d := range stations {
		of := make([][]DeviceYear, len(years))
		for back, by := range years {
			of[back] = by[d.ID]
		}
		if s := exceedingOf(d, of, in.Year, until); len(s.Counts) > 0 {
			b.Stations = append(b.Stations, s)
		}
	}
	return out, nil
}

// measuresAir reports whether a device may have measured what there is a limit for: its profile says so, or it has none.
func measuresAir(d *devices.Asset) bool {
	return d.Metrics == nil || slices.ContainsFunc(limitedMetrics(), func(m string) bool { _, ok := d.Metrics[m]; return ok })
}

func yearBegin(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, standardTime) }

// elapsed is how many hours or days of a year are over.
func elapsed(year int, s Span, until time.Time) uint64 {
	end := yearBegin(year + 1)
	if until.Before(end) {
		end = until
	}
	over := end.Sub(yearBegin(year))
	if s == EachHour {
		return uint64(over / time.Hour)
	}
	return uint64(over / (24 * time.Hour))
}

// yearOf answers for stations, from what is kept as far as there is something; back wants those metrics only whose
// limits look back on years.
func (a *api) yearOf(ctx context.Context, stations []*devices.Asset, year int, back bool, until time.Time) (map[string][]DeviceYear, error) {
	e := &a.exceeded
	select {
	case e.free <- struct{}{}:
		defer func() { <-e.free }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if len(e.of) > maxKeptYears {
		clear(e.of)
	}
	keep := time.Duration(0) // within the hour
	if year < until.Year() {
		keep = pastFor
	}
	q := ExceedancesQuery{Year: year, Offset: time.Hour, Until: until, Least: map[string]int{}}
	for _, l := range limits {
		if l.of == nil {
			continue
		}
		q.Thresholds = append(q.Thresholds, Threshold{l.Metric, l.span, passed(*l.Value)})
		if (!back || l.years > 1) && !slices.Contains(q.Metrics, l.Metric) {
			q.Metrics = append(q.Metrics, l.Metric)
		}
	}
	for _, d := range stations {
		if k, ok := e.of[stationYear{d.ID, year, back}]; ok && until.Sub(k.until) <= keep {
			continue
		}
		q.Devices = append(q.Devices, d.ID)
		if d.Period > 0 {
			q.Least[d.ID] = int(math.Ceil(0.75 * float64(time.Hour) / float64(d.Period)))
		}
	}
	if len(q.Devices) > 0 {
		found, err := a.Rollups.Exceedances(ctx, q)
		if err != nil {
			return nil, err
		}
		by := map[string][]DeviceYear{}
		for _, y := range found {
			by[y.Device] = append(by[y.Device], y)
		}
		for _, id := range q.Devices {
			e.of[stationYear{id, year, back}] = keptYear{until, by[id]}
		}
	}
	out := map[string][]DeviceYear{}
	for _, d := range stations {
		out[d.ID] = e.of[stationYear{d.ID, year, back}].of
	}
	return out, nil
}

// exceedingOf holds what a station came to against the limits; years are the year asked for and those before it.
func exceedingOf(d *devices.Asset, years [][]DeviceYear, year int, until time.Time) exceedingStation {
	s := exceedingStation{ID: d.ID, Name: d.Name, Zone: d.Zone, Lat: d.Lat, Lon: d.Lon, Counts: []exceedanceItem{}, Means: []meanItem{}}
	of := func(back int, metric string) *DeviceYear {
		i := slices.IndexFunc(years[back], func(y DeviceYear) bool { return y.Metric == metric })
		if i < 0 {
			return nil
		}
		return &years[back][i]
	}
	at := -1 // among the thresholds of the query
	for i := range limits {
		l := &limits[i]
		if l.of == nil {
			continue
		}
		at++
		if y := of(0, l.Metric); y != nil && y.counted(l.span) > 0 {
			before := map[int]*DeviceYear{}
			for back := 1; back < l.years; back++ {
				if y := of(back, l.Metric); y != nil && y.counted(l.span) > 0 {
					before[year-back] = y
				}
			}
			s.Counts = append(s.Counts, l.exceedance(d, y, before, at, year, until))
		}
	}
	for i := range yearly {
		l := &yearly[i]
		if y := of(0, l.Metric); y != nil {
			m := meanItem{Index: l.Index, Value: y.Mean, Valid: y.Hours, Of: elapsed(year, EachHour, until)}
			if l.comparable(d) {
				m.Limit, m.Over = l.Value, y.Mean >= passed(*l.Value)
			}
			s.Means = append(s.Means, m)
		}
	}
	return s
}

// exceedance is what a station came to in a year, and in those before it that the limit looks back on; at is the
// limit's place in the query.
func (l *limit) exceedance(d *devices.Asset, of *DeviceYear, before map[int]*DeviceYear, at, year int, until time.Time) exceedanceItem {
	it := exceedanceItem{Index: l.Index, Per: l.span.per(), Valid: of.counted(l.span), Of: elapsed(year, l.span, until)}
	if !l.inform {
		it.Allowed = &l.Allowed
	}
	if !l.comparable(d) {
		return it
	}
	it.Count = &of.Passed[at]
	if t := of.Last[at]; !t.IsZero() {
		it.Last = &live.Stamp{Time: t}
	}
	bounded := float64(*it.Count)
	if l.years > 1 {
		sum, n := bounded, 1.0
		for _, y := range slices.Sorted(maps.Keys(before)) {
			c := yearCount{y, before[y].Passed[at], before[y].counted(l.span), elapsed(y, l.span, until)}
			it.Years = append(it.Years, c)
			if 4*c.Valid >= 3*c.Of {
				sum, n = sum+float64(c.Count), n+1
			}
		}
		it.Years = append(it.Years, yearCount{year, *it.Count, it.Valid, it.Of})
		bounded = sum / n
		it.Mean = &bounded
	}
	it.Over = it.Allowed != nil && bounded > float64(*it.Allowed)
	return it
}
