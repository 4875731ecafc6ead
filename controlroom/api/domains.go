package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/devices"
)

// Rollups answer what devices came to, hour by hour.
type Rollups interface {
	// Hours returns a row for each device of a domain and metric that has readings in an hour that
	// begins in from <= time < to.
	Hours(ctx context.Context, domain string, metrics []string, from, to time.Time) ([]Hours, error)
	// Levels returns the equivalent levels of a metric in dB by day, 6 to 22, and by night, by the clock of zone.
	Levels(ctx context.Context, domain, metric string, from, to time.Time, zone *time.Location) ([]Level, error)
	// Exceedances returns a row for each device, metric and year that has readings, in order of them.
	Exceedances(ctx context.Context, q ExceedancesQuery) ([]DeviceYear, error)
}

// Hours is what a metric of a device came to; every hour counts alike.
type Hours struct {
	Device, Metric string
	Hours          uint64  // with readings
	Sum            float64 // of the hourly means
	Growth         float64 // what a meter counted, also one that began anew
	MaxHour        float64 // greatest hourly mean
	Max8h          float64 // greatest running mean of 8 hours that ends with one of them; NaN where there is none
}

// A Level is a device's equivalent level, NaN where nothing was measured.
type Level struct {
	Device     string
	Day, Night float64
}

// maxOver is the longest time that is summed up.
const maxOver = 31 * 24 * time.Hour

type groupsQuery struct {
	Domain string   `path:"domain" maxLength:"32" pattern:"^[a-z0-9_-]+$"`
	By     string   `query:"by" default:"zone" maxLength:"64" doc:"zone, profile, or a tag of the devices, such as street or cabinet"`
	Metric []string `query:"metric" maxItems:"16" doc:"metrics to sum up, with commas between"`
	Over   string   `query:"over" doc:"up to now, such as 24h or 7d: also what the metrics came to in that time" example:"24h"`
	Page
}

type groupSum struct {
	N   int      `json:"n" doc:"devices with a number"`
	Sum *float64 `json:"sum"`
	Avg *float64 `json:"avg"`
	Min *float64 `json:"min"`
	Max *float64 `json:"max"`
	// Texts are of a metric that is a text.
	Texts map[string]int `json:"texts,omitempty" doc:"devices by what they say; beyond 20 different ones under an empty name"`
	// OverDevices, Hours and Growth are of the time asked for.
	OverDevices int      `json:"over_devices,omitempty" doc:"over the time asked for: devices with a number, silent ones too"`
	Hours       *float64 `json:"hours,omitempty" doc:"over the time asked for: sum over devices and hours of the hour's mean; of a metric that is 1 or 0, the hours that it was 1"`
	Growth      *float64 `json:"growth,omitempty" doc:"over the time asked for: sum over devices of what a meter counted, which may begin anew; of a metric that is no meter it says nothing"`
}

type groupItem struct {
	Key     string               `json:"key" doc:"empty: devices without"`
	Devices int                  `json:"devices"`
	Heard   int                  `json:"heard" doc:"that ever spoke"`
	Silent  int                  `json:"silent" doc:"that never spoke, or not for three times the period that their profile lets expect and 5 minutes; their values are left out"`
	Alarms  map[string]int       `json:"alarms" doc:"devices by the severity of their gravest open episode"`
	Values  map[string]*groupSum `json:"values" doc:"by metric, now"`
}

type groupsBody struct {
	Body struct {
		By     string      `json:"by"`
		Groups []groupItem `json:"groups"`
		Next   string      `json:"next,omitempty"`
	}
}

// domains are the operations that tell of a domain as a whole.
func (a *api) domains() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/domains/{domain}/groups", Summary: "A domain by zone, street or another tag", Tags: []string{"live"}, Errors: []int{422, 501, 503},
		Description: "What the devices are now, summed up by zone, profile or a tag of the registry's; with over also what their metrics came to, from the hourly rollup: " +
			"hours that begin in that time, the running one included. In order of key."}, a.groups)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/environment/indexes", Summary: "Air and noise against the legal limits", Tags: []string{"live"}, Errors: []int{422, 501, 503},
		Description: "Of each station what its pollutants and its noise came to in the last 24 hours, as the limits want it: greatest hourly mean, mean of the day, greatest running mean of 8 hours that ends in them, " +
			"equivalent level by day and night. The limits and where they come from are in the answer. Noise has a limit where the station's tag noise_class says the class of its zone, I to VI or 1 to 6."}, a.environment)
}

func (a *api) groups(c *call, in *groupsQuery) (*groupsBody, error) {
	if _, err := in.after(); err != nil {
		return nil, err
	}
	var over time.Duration
	if in.Over != "" {
		var err error
		if over, err = parseStep(in.Over); err != nil {
			return nil, invalid("query.over", "%v", err)
		}
		if over < time.Hour || over > maxOver {
			return nil, invalid("query.over", "%.40q, want 1h to %v", in.Over, maxOver)
		}
		if a.Rollups == nil {
			return nil, missing("rollups")
		}
	}
	key := func(d *devices.Asset) string { return d.Tags[in.By] }
	switch in.By {
	case "zone":
		key = func(d *devices.Asset) string { return d.Zone }
	case "profile":
		key = func(d *devices.Asset) string { return d.Device.Profile }
	}
	groups := a.State.Groups(in.Domain, in.Metric, key, seesState(c.scope()), time.Now())
	out := &groupsBody{}
	var err error
	if groups, out.Body.Next, err = cut(in.Page, groups, func(g live.Group) string { return g.Key }, nil); err != nil {
		return nil, err
	}
	out.Body.By, out.Body.Groups = in.By, make([]groupItem, len(groups))
	of := map[string]int{}
	for i, g := range groups {
		out.Body.Groups[i] = groupOf(g)
		for _, id := range g.Devices {
			of[id] = i
		}
	}
	if over == 0 || len(in.Metric) == 0 || len(of) == 0 {
		return out, nil
	}
	now := time.Now().UTC()
	hours, err := a.Rollups.Hours(c.ctx, in.Domain, in.Metric, now.Add(-over).Truncate(time.Hour).Add(time.Hour), now)
	if err != nil {
		return nil, c.away("rollups", err)
	}
	for _, h := range hours {
		i, ok := of[h.Device]
		if !ok {
			continue // of another page, or gone since
		}
		v := out.Body.Groups[i].Values[h.Metric]
		if v == nil {
			v = &groupSum{}
			out.Body.Groups[i].Values[h.Metric] = v
		}
		if v.Hours == nil {
			v.Hours, v.Growth = new(float64), new(float64)
		}
		v.OverDevices++
		*v.Hours += h.Sum
		*v.Growth += h.Growth
	}
	return out, nil
}

func groupOf(g live.Group) groupItem {
	it := groupItem{Key: g.Key, Devices: len(g.Devices), Heard: g.Heard, Silent: g.Silent, Alarms: g.Alarms, Values: map[string]*groupSum{}}
	for metric, s := range g.Values {
		v := &groupSum{N: s.N, Texts: s.Texts}
		if s.N > 0 {
			avg := s.Sum / float64(s.N)
			v.Sum, v.Avg, v.Min, v.Max = &s.Sum, &avg, &s.Min, &s.Max
		}
		it.Values[metric] = v
	}
	return it
}

type indexesQuery struct {
	Domain string `query:"domain" default:"environment" maxLength:"32"`
	Page
}

type indexItem struct {
	Index string  `json:"index"`
	Value float64 `json:"value"`
	// Hours is how many hours the value is made of.
	Hours uint64   `json:"hours,omitempty" doc:"with readings, of the last 24; of air only"`
	Limit *float64 `json:"limit" doc:"null where none can be said: no class of noise, or a unit that is not the limit's"`
	Over  bool     `json:"over" doc:"above the limit"`
	Alarm bool     `json:"alarm" doc:"above the alarm threshold"`
}

type stationItem struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Zone       string      `json:"zone"`
	Lat        *float64    `json:"lat"`
	Lon        *float64    `json:"lon"`
	NoiseClass int         `json:"noise_class,omitempty" doc:"1 to 6, by the tag noise_class"`
	Indexes    []indexItem `json:"indexes"`
}

type indexesBody struct {
	Body struct {
		Stations []stationItem `json:"stations"`
		Limits   []limit       `json:"limits"`
		Next     string        `json:"next,omitempty"`
	}
}

func (a *api) environment(c *call, in *indexesQuery) (*indexesBody, error) {
	if a.Rollups == nil {
		return nil, missing("rollups")
	}
	scope := c.scope()
	now := time.Now().UTC()
	from := now.Add(-23 * time.Hour).Truncate(time.Hour)
	hours, err := a.Rollups.Hours(c.ctx, in.Domain, limitedMetrics(), from, now)
	if err != nil {
		return nil, c.away("rollups", err)
	}
	zone, err := time.LoadLocation(defaultClock)
	if err != nil {
		return nil, c.away("rollups", err)
	}
	levels, err := a.Rollups.Levels(c.ctx, in.Domain, noiseMetric, from, now, zone)
	if err != nil {
		return nil, c.away("rollups", err)
	}
	stations := map[string]*stationItem{}
	at := func(id string) (*stationItem, *devices.Asset) {
		var d *devices.Asset
		if a.Registry != nil {
			d = a.Registry.Lookup(id)
		}
		s := stations[id]
		if s == nil {
			s = &stationItem{ID: id}
			if d != nil {
				s.Name, s.Zone, s.Lat, s.Lon, s.NoiseClass = d.Name, d.Zone, d.Lat, d.Lon, noiseClass(d.Tags["noise_class"])
			}
			stations[id] = s
		}
		return s, d
	}
	for _, h := range hours {
		s, d := at(h.Device)
		s.Indexes = append(s.Indexes, airIndexes(h, d)...)
	}
	for _, l := range levels {
		s, _ := at(l.Device)
		s.Indexes = append(s.Indexes, noiseIndexes(l, s.NoiseClass)...)
	}
	list := make([]stationItem, 0, len(stations))
	for _, s := range stations {
		if len(s.Indexes) > 0 && (scope.Whole() || c.asset(s.ID) != nil) {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b stationItem) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	out := &indexesBody{}
	out.Body.Limits = append(out.Body.Limits, limits...)
	if out.Body.Stations, out.Body.Next, err = cut(in.Page, list, func(s stationItem) string { return s.ID }, nil); err != nil {
		return nil, err
	}
	return out, nil
}
