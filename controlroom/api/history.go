package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/stream/batch"
)

// ErrCursor is what Events answers, wrapped, to a cursor that it did not give.
var ErrCursor = errors.New("unknown cursor")

// Series answers what a metric was over time.
type Series interface {
	// Series returns points in order of time, at most MaxPoints.
	Series(ctx context.Context, q SeriesQuery) ([]Point, error)
	// Readings returns what a device said in from <= time < to, newest first, at most limit.
	Readings(ctx context.Context, device string, from, to time.Time, limit int) ([]Reading, error)
}

// A SeriesQuery asks for one device's metric, From <= time < To. Step 0 asks for the readings
// themselves; else for one point a step, aggregated by Agg: avg, min, max, sum, last or count.
type SeriesQuery struct {
	Device, Metric string
	From, To       time.Time
	Step           time.Duration
	Agg            string
	MaxPoints      int
}

// A Point is a value at an instant; NaN where there is none.
type Point struct {
	Time  time.Time
	Value float64
}

// MarshalJSON writes ["2026-…Z",83.2].
func (p Point) MarshalJSON() ([]byte, error) {
	b, err := live.Stamp{Time: p.Time}.MarshalJSON()
	if err != nil {
		return nil, err
	}
	v := []byte("null")
	if !math.IsNaN(p.Value) && !math.IsInf(p.Value, 0) {
		if v, err = json.Marshal(p.Value); err != nil {
			return nil, err
		}
	}
	return append(append(append(append([]byte{'['}, b...), ','), v...), ']'), nil
}

// Schema describes the pair.
func (Point) Schema(huma.Registry) *huma.Schema {
	two := 2
	return &huma.Schema{Type: huma.TypeArray, Description: "time and value", MinItems: &two, MaxItems: &two,
		Items: &huma.Schema{}, Examples: []any{[]any{"2026-01-31T12:00:00.000Z", 83.2}}}
}

// Events answers what happened.
type Events interface {
	// Events returns a page, newest first, and the cursor of the next, "" after the last.
	Events(ctx context.Context, q EventQuery, limit int, cursor string) (events []batch.Event, next string, err error)
	// Event returns the event with an id, nil for none.
	Event(ctx context.Context, id string) (*batch.Event, error)
}

// An EventQuery selects events, From <= time < To; zero fields select all.
type EventQuery struct {
	From, To                          time.Time
	Severity                          []string // any of them
	Rule, State, Domain, Device, Zone string
	Within                            *Within // nil: of the whole city
}

// Exporter writes tables out.
type Exporter interface {
	// Export writes the rows of a table with From <= time < To, either of which may be zero, as csv,
	// parquet, arrow or jsonl. An error before the first byte is told to the client.
	Export(ctx context.Context, w io.Writer, q ExportQuery) error
}

// An ExportQuery asks for rows of a table.
type ExportQuery struct {
	Table, Format string
	From, To      time.Time
	Within        *Within // nil: of the whole city
}

const (
	maxPoints   = 20_000
	autoPoints  = 300       // where an aggregate is asked for and no step
	seriesSpan  = time.Hour // shown where neither from nor to is given
	historyTag  = "history"
	exportBytes = 64 << 10
)

type seriesQuery struct {
	Device string `query:"device" required:"true" minLength:"1" maxLength:"128"`
	Metric string `query:"metric" required:"true" minLength:"1" maxLength:"256"`
	From   string `query:"from" doc:"RFC 3339; default an hour before to" format:"date-time"`
	To     string `query:"to" doc:"RFC 3339, not included; default now" format:"date-time"`
	Step   string `query:"step" doc:"such as 5m, or seconds; without it the readings themselves" example:"5m"`
	Agg    string `query:"agg" enum:"avg,min,max,sum,last,count" doc:"how the readings of a step become one; default avg"`
}

type seriesBody struct {
	Body struct {
		Device string  `json:"device"`
		Metric string  `json:"metric"`
		Unit   string  `json:"unit" doc:"UCUM; empty where the profile says none"`
		Points []Point `json:"points"`
	}
}

type eventQuery struct {
	From     string   `query:"from" format:"date-time"`
	To       string   `query:"to" format:"date-time"`
	Rule     string   `query:"rule"`
	Severity []string `query:"severity" doc:"severities, with commas between" enum:"info,warning,major,critical"`
	State    string   `query:"state" enum:"raised,updated,cleared,shadow_raised,shadow_cleared" doc:"without it all but those of rules in shadow"`
	Domain   string   `query:"domain"`
	Device   string   `query:"device"`
	Zone     string   `query:"zone"`
	Page
}

type eventsBody struct {
	Body struct {
		Events []live.Event `json:"events"`
		Next   string       `json:"next,omitempty"`
	}
}

const exportDescription = "Of detections and tracks, attributes and plates in any form are left out; of vds_counts_1m, the rows that tell of fewer than 5 objects " +
	"(seen). What has expired is never exported."

type exportQuery struct {
	Table  string `query:"table" required:"true" enum:"observations,detections,tracks,vds_counts_1m,uplinks,events,alarm_log,rejected,observations_1m,observations_1h"`
	From   string `query:"from" format:"date-time"`
	To     string `query:"to" format:"date-time"`
	Format string `query:"format" enum:"csv,parquet,arrow,jsonl" default:"csv"`
}

// personalTables tell of persons and vehicles one by one.
var personalTables = map[string]bool{"detections": true, "tracks": true}

var exportTypes = map[string]string{
	"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet",
	"arrow": "application/vnd.apache.arrow.stream", "jsonl": "application/x-ndjson",
}

// history are the operations that the database answers.
func (a *api) history() {
	tags := []string{historyTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/series", Summary: "One metric of one device over time", Tags: tags, Errors: []int{404, 422, 501, 503}}, a.series)
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/events", Summary: "What the rules raised, newest first", Tags: tags, Errors: []int{422, 501, 503}},
		func(c *call, in *eventQuery) (*eventsBody, error) {
			if a.Events == nil {
				return nil, missing("events")
			}
			q := EventQuery{Rule: in.Rule, Severity: in.Severity, State: in.State, Domain: in.Domain, Device: in.Device, Zone: in.Zone, Within: a.within(c.scope(), false)}
			var err error
			if q.From, q.To, err = span(in.From, in.To); err != nil {
				return nil, err
			}
			events, next, err := a.Events.Events(c.ctx, q, in.Limit, in.Cursor)
			if err != nil {
				return nil, c.away("events", err)
			}
			out := &eventsBody{}
			out.Body.Events, out.Body.Next = make([]live.Event, len(events)), next
			for i, e := range events {
				out.Body.Events[i] = live.EventOf(e)
			}
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/events/{id}", Summary: "One event and the rule that raised it", Tags: tags, Errors: []int{404, 422, 501, 503},
		Description: "The context of the event says what decided: values, thresholds, conditions and times as they were. The rule is today's; rule_changed says that it is another than the one that raised the event.",
		Responses:   map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf[eventOf[ruleShape]](a)}}}}},
		a.event)
	content := map[string]*huma.MediaType{}
	for _, media := range exportTypes {
		media, _, _ = strings.Cut(media, ";")
		content[media] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
		if media == "application/x-ndjson" {
			content[media].Schema = &huma.Schema{Type: huma.TypeObject, Description: "of each line", AdditionalProperties: true}
		}
	}
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/export", Summary: "Rows of a table", Description: exportDescription, Tags: tags, Errors: []int{422, 501, 503},
		Responses: map[string]*huma.Response{"200": {Description: "The rows", Content: content}}}, a.export)
}

func (a *api) series(c *call, in *seriesQuery) (*seriesBody, error) {
	if a.Series == nil {
		return nil, missing("series")
	}
	if !c.seesDevice(in.Device) {
		return nil, noSuch("device", in.Device)
	}
	q := SeriesQuery{Device: in.Device, Metric: in.Metric, Agg: in.Agg, MaxPoints: maxPoints}
	var err error
	if q.From, q.To, err = span(in.From, in.To); err != nil {
		return nil, err
	}
	if q.To.IsZero() {
		// A little into the future: clocks of devices are allowed to be ahead.
		q.To = time.Now().UTC().Add(10 * time.Minute)
		if !q.From.Before(q.To) {
			return nil, invalid("query.from", "%s lies in the future", in.From)
		}
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-seriesSpan)
		if in.To == "" {
			q.From = time.Now().UTC().Add(-seriesSpan)
		}
	}
	if q.Step, err = parseStep(in.Step); err != nil {
		return nil, invalid("query.step", "%v", err)
	}
	if q.Step == 0 && q.Agg != "" {
		q.Step = max(time.Second, (q.To.Sub(q.From) / autoPoints).Round(time.Second))
	}
	if q.Step > 0 {
		if q.Agg == "" {
			q.Agg = "avg"
		}
		if n := int64(q.To.Sub(q.From) / q.Step); n > maxPoints {
			return nil, invalid("query.step", "%s gives %d points, want at most %d", in.Step, n, maxPoints)
		}
	}
	points, err := a.Series.Series(c.ctx, q)
	if err != nil {
		return nil, c.away("series", err)
	}
	out := &seriesBody{}
	out.Body.Device, out.Body.Metric, out.Body.Points = in.Device, in.Metric, append([]Point{}, points...)
	if a.Registry != nil {
		if d := a.Registry.Lookup(in.Device); d != nil {
			out.Body.Unit = d.Metrics[in.Metric].Unit
		}
	}
	return out, nil
}

// parseStep reads "5m", "1d" or a number of seconds.
func parseStep(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if n, e := strconv.ParseFloat(s, 64); e == nil {
		d, err = time.Duration(n*float64(time.Second)), nil
	} else if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, e := strconv.Atoi(days); e == nil && n < 100_000 {
			d, err = time.Duration(n)*24*time.Hour, nil
		}
	}
	if err != nil || d < time.Second || d > 366*24*time.Hour {
		return 0, problem.New(0, "%.40q, want 1s to 366d", s)
	}
	return d, nil
}

func (a *api) export(c *call, in *exportQuery) (*huma.StreamResponse, error) {
	if a.Export == nil {
		return nil, missing("export")
	}
	scope := c.scope()
	if p := auth.Of(c.ctx); personalTables[in.Table] && !p.May(auth.TracksRead) {
		return nil, problem.New(http.StatusForbidden, "table %s needs the permission %s, which role %s has not got", in.Table, auth.TracksRead, p.Role)
	}
	q := ExportQuery{Table: in.Table, Format: in.Format, Within: a.within(scope, in.Table != "events" && in.Table != "alarm_log")}
	// What was rejected holds messages as they came: those of whoever is not known may be about anybody.
	if in.Table == "rejected" && !(scope.Whole() && auth.Of(c.ctx).May(auth.TracksRead)) {
		q.Within = c.senders(scope)
	}
	var err error
	if q.From, q.To, err = span(in.From, in.To); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		w := &lateHeader{ctx: ctx, begin: func() {
			ctx.SetHeader("Content-Type", exportTypes[q.Format])
			ctx.SetHeader("Content-Disposition", `attachment; filename="`+q.Table+"."+q.Format+`"`)
		}}
		err := a.Export.Export(c.ctx, w, q)
		switch {
		case err == nil:
			w.start()
		case !w.begun:
			p := problem.New(http.StatusServiceUnavailable, "export: not available now")
			p.Instance, p.Request = "/api/v1/export", problem.Request(c.ctx)
			b, _ := json.Marshal(p)
			ctx.SetHeader("Content-Type", problem.ContentType)
			ctx.SetHeader("Retry-After", unavailable)
			ctx.SetStatus(p.Status)
			_, _ = ctx.BodyWriter().Write(b)
			a.Log.Error("an export could not be made", "table", q.Table, "error", err)
		default:
			// Half an export must not look like a whole one.
			a.Log.Warn("an export broke off", "table", q.Table, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// lateHeader sets headers before the first byte, so that an error before it can still be told.
type lateHeader struct {
	ctx   huma.Context
	begin func()
	begun bool
}

func (w *lateHeader) start() {
	if !w.begun {
		w.begun = true
		w.begin()
	}
}

func (w *lateHeader) Write(b []byte) (int, error) {
	w.start()
	return w.ctx.BodyWriter().Write(b)
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
