package api

import (
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/devices"
)

// A Reading is an observation as it is stored; Value is NaN for a text.
type Reading struct {
	Time, Received time.Time
	Metric         string
	Value          float64
	Text           string
	Quality        uint8
}

// readingsSpan is how far back readings are looked for.
const readingsSpan = 24 * time.Hour

type readingsQuery struct {
	ID    string `path:"id" maxLength:"128"`
	To    string `query:"to" format:"date-time" doc:"RFC 3339, not included; default now"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type readingItem struct {
	Time     live.Stamp `json:"time" doc:"the device's own"`
	Received live.Stamp `json:"received"`
	Metric   string     `json:"metric"`
	Value    any        `json:"value" doc:"a number, a text, or null for what JSON has no number for"`
	Quality  []string   `json:"quality" doc:"reasons to doubt it: clock, range, stuck, identity, late, unknown, refresh"`
}

type readingsBody struct {
	Body struct {
		Device   string        `json:"device"`
		From     live.Stamp    `json:"from" doc:"nothing older was looked for"`
		Readings []readingItem `json:"readings"`
	}
}

// doubts are the words for the bits of devices.Quality.
var doubts = []struct {
	bit  devices.Quality
	word string
}{
	{devices.QualityClock, "clock"}, {devices.QualityRange, "range"}, {devices.QualityStuck, "stuck"}, {devices.QualityIdentity, "identity"},
	{devices.QualityLate, "late"}, {devices.QualityUnknown, "unknown"}, {devices.QualityRefresh, "refresh"},
}

// readings are what a device said, one by one.
func (a *api) readings() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/devices/{id}/readings", Summary: "What a device said last, as it is stored", Tags: []string{historyTag}, Errors: []int{404, 422, 501, 503},
		Description: "Newest first, of a day at most, each metric by itself, with what there is to doubt of it."},
		func(c *call, in *readingsQuery) (*readingsBody, error) {
			if a.Series == nil {
				return nil, missing("readings")
			}
			if !c.seesDevice(in.ID) {
				return nil, noSuch("device", in.ID)
			}
			to, err := instant("to", in.To)
			if err != nil {
				return nil, err
			}
			if to.IsZero() {
				to = time.Now().UTC().Add(10 * time.Minute) // clocks of devices may be ahead
			}
			found, err := a.Series.Readings(c.ctx, in.ID, to.Add(-readingsSpan), to, in.Limit)
			if err != nil {
				return nil, c.away("readings", err)
			}
			out := &readingsBody{}
			b := &out.Body
			b.Device, b.From, b.Readings = in.ID, live.Stamp{Time: to.Add(-readingsSpan)}, make([]readingItem, len(found))
			for i, r := range found {
				it := readingItem{Time: live.Stamp{Time: r.Time}, Received: live.Stamp{Time: r.Received}, Metric: r.Metric, Quality: []string{}}
				switch {
				case math.IsNaN(r.Value):
					it.Value = r.Text
				case !math.IsInf(r.Value, 0):
					it.Value = r.Value
				}
				for _, d := range doubts {
					if r.Quality&d.bit != 0 {
						it.Quality = append(it.Quality, d.word)
					}
				}
				b.Readings[i] = it
			}
			return out, nil
		})
}
