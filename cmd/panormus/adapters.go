package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"panormus/controlroom/api"
	"panormus/controlroom/live"
	"panormus/storage"
	"panormus/stream/batch"
)

// history is the database as the control room asks it. The two folders do not know one another:
// here each one's words become the other's.
type history struct{ db *storage.DB }

// restoreSpan is how old a value may be to be shown after a restart.
const restoreSpan = 7 * 24 * time.Hour

// LatestValues implements live.History.
func (h history) LatestValues(ctx context.Context, each func(live.Latest) error) error {
	return h.db.LatestValues(ctx, time.Now().Add(-restoreSpan), func(l storage.Latest) error { return each(live.Latest(l)) })
}

// OpenEpisodes implements live.History.
func (h history) OpenEpisodes(ctx context.Context) ([]batch.Event, error) {
	return h.db.OpenEpisodes(ctx)
}

// CameraSigns implements live.History.
func (h history) CameraSigns(ctx context.Context) ([]live.CameraSign, error) {
	found, err := h.db.CameraSigns(ctx, time.Now().Add(-restoreSpan))
	out := make([]live.CameraSign, len(found))
	for i, s := range found {
		out[i] = live.CameraSign(s)
	}
	return out, err
}

// RecentEvents implements live.History.
func (h history) RecentEvents(ctx context.Context, n int) ([]batch.Event, error) {
	return h.db.RecentEvents(ctx, n)
}

// Tables implements api.System.
func (h history) Tables(ctx context.Context) ([]api.Table, error) {
	found, err := h.db.Sizes(ctx)
	out := make([]api.Table, len(found))
	for i, f := range found {
		out[i] = api.Table{Name: f.Table, Rows: f.Rows, Bytes: f.Bytes}
	}
	return out, err
}

// DeadLetters implements api.System.
func (h history) DeadLetters(ctx context.Context, since time.Time, in *api.Within) ([]api.DeadLetters, error) {
	found, err := h.db.DeadLettersSince(ctx, since, (*storage.Within)(in))
	out := make([]api.DeadLetters, len(found))
	for i, f := range found {
		out[i] = api.DeadLetters(f)
	}
	return out, err
}

// Readings implements api.Series.
func (h history) Readings(ctx context.Context, device string, from, to time.Time, limit int) ([]api.Reading, error) {
	found, err := h.db.Readings(ctx, device, from, to, limit)
	out := make([]api.Reading, len(found))
	for i, r := range found {
		out[i] = api.Reading(r)
	}
	return out, err
}

// Refused implements api.System.
func (h history) Refused(ctx context.Context, names []string, from, to time.Time, limit int) ([]api.Refused, error) {
	found, err := h.db.Refused(ctx, names, from, to, limit)
	out := make([]api.Refused, len(found))
	for i, r := range found {
		out[i] = api.Refused(r)
	}
	return out, err
}

// Series implements api.Series.
func (h history) Series(ctx context.Context, q api.SeriesQuery) ([]api.Point, error) {
	points, err := h.db.Series(ctx, storage.SeriesQuery{
		Device: q.Device, Metric: q.Metric, From: q.From, To: q.To, Step: q.Step, Agg: q.Agg,
	})
	if err != nil {
		return nil, err
	}
	out := make([]api.Point, len(points))
	for i, p := range points {
		out[i] = api.Point(p)
	}
	return out, nil
}

// Hours implements api.Rollups.
func (h history) Hours(ctx context.Context, domain string, metrics []string, from, to time.Time) ([]api.Hours, error) {
	found, err := h.db.Rollups(ctx, storage.RollupQuery{Domain: domain, Metrics: metrics, From: from, To: to})
	out := make([]api.Hours, len(found))
	for i, f := range found {
		out[i] = api.Hours(f)
	}
	return out, err
}

// Exceedances implements api.Rollups.
func (h history) Exceedances(ctx context.Context, q api.ExceedancesQuery) ([]api.DeviceYear, error) {
	by := storage.ExceedancesQuery{Devices: q.Devices, Metrics: q.Metrics, Year: q.Year, Offset: q.Offset, Until: q.Until, Least: q.Least}
	for _, t := range q.Thresholds {
		by.Thresholds = append(by.Thresholds, storage.Threshold{Metric: t.Metric, Span: storage.Span(t.Span), From: t.From})
	}
	found, err := h.db.Exceedances(ctx, by)
	out := make([]api.DeviceYear, len(found))
	for i, f := range found {
		out[i] = api.DeviceYear(f)
	}
	return out, err
}

// Changes implements api.Changes.
func (h history) Changes(ctx context.Context, from, to time.Time, domain, after string, each func(live.Latest) (bool, error)) error {
	return h.db.Changes(ctx, from, to, domain, after, func(l storage.Latest) (bool, error) { return each(live.Latest(l)) })
}

// Levels implements api.Rollups.
func (h history) Levels(ctx context.Context, domain, metric string, from, to time.Time, zone *time.Location) ([]api.Level, error) {
	found, err := h.db.Levels(ctx, domain, metric, from, to, zone)
	out := make([]api.Level, len(found))
	for i, f := range found {
		out[i] = api.Level(f)
	}
	return out, err
}

// Events implements api.Events.
func (h history) Events(ctx context.Context, q api.EventQuery, limit int, cursor string) ([]batch.Event, string, error) {
	events, next, err := h.db.Events(ctx, storage.EventFilter{
		From: q.From, To: q.To, Rule: q.Rule, Severity: q.Severity, State: q.State, Domain: q.Domain, Device: q.Device, Zone: q.Zone, Within: (*storage.Within)(q.Within),
	}, limit, cursor)
	if bad, ok := errors.AsType[*storage.CursorError](err); ok {
		return nil, "", fmt.Errorf("%w: %w", api.ErrCursor, bad)
	}
	return events, next, err
}

// Event implements api.Events.
func (h history) Event(ctx context.Context, id string) (*batch.Event, error) {
	return h.db.Event(ctx, id)
}

// Export implements api.Exporter.
func (h history) Export(ctx context.Context, w io.Writer, q api.ExportQuery) error {
	return h.db.Export(ctx, w, storage.Export{Table: q.Table, Format: q.Format, From: q.From, To: q.To, Within: (*storage.Within)(q.Within)})
}

// Gateways implements api.Radio.
func (h history) Gateways(ctx context.Context, from, to time.Time, gateway string, in *api.Within) ([]api.GatewayRadio, error) {
	found, err := h.db.Gateways(ctx, from, to, gateway, (*storage.Within)(in))
	out := make([]api.GatewayRadio, len(found))
	for i, g := range found {
		out[i] = api.GatewayRadio(g)
	}
	return out, err
}

// RadioDevices implements api.Radio.
func (h history) RadioDevices(ctx context.Context, q api.RadioQuery, limit int, cursor string) ([]api.DeviceRadio, string, error) {
	found, next, err := h.db.RadioDevices(ctx, storage.RadioQuery{From: q.From, To: q.To, Device: q.Device, Gateway: q.Gateway, Sort: q.Sort, Within: (*storage.Within)(q.Within)}, limit, cursor)
	if bad, ok := errors.AsType[*storage.CursorError](err); ok {
		return nil, "", fmt.Errorf("%w: %w", api.ErrCursor, bad)
	}
	out := make([]api.DeviceRadio, len(found))
	for i, d := range found {
		out[i] = api.DeviceRadio(d)
	}
	return out, next, err
}

// Links implements api.Radio.
func (h history) Links(ctx context.Context, from, to time.Time, device string) ([]api.Link, error) {
	found, err := h.db.Links(ctx, from, to, device)
	out := make([]api.Link, len(found))
	for i, l := range found {
		out[i] = api.Link(l)
	}
	return out, err
}

// Counts implements api.Video.
func (h history) Counts(ctx context.Context, q api.CountQuery) ([]api.VideoCount, error) {
	found, err := h.db.VideoCounts(ctx, storage.CountQuery{Camera: q.Camera, Zone: q.Zone, AllZones: q.AllZones, Class: q.Class, From: q.From, To: q.To, Step: q.Step, Days: q.Days, Within: q.Within, K: q.K})
	out := make([]api.VideoCount, len(found))
	for i, c := range found {
		out[i] = api.VideoCount(c)
	}
	return out, err
}

// At implements api.Video.
func (h history) At(ctx context.Context, minute time.Time, k func(camera string) int) ([]api.PastCamera, error) {
	found, err := h.db.CamerasAt(ctx, minute, k)
	out := make([]api.PastCamera, len(found))
	for i, c := range found {
		cells := make([]api.VideoCount, len(c.Cells))
		for j, cell := range c.Cells {
			cells[j] = api.VideoCount(cell)
		}
		out[i] = api.PastCamera{Camera: c.Camera, Cells: cells, Classes: c.Classes, Working: c.Working, Frames: c.Frames, Tampered: c.Tampered, SignalLoss: c.SignalLoss}
	}
	return out, err
}

// Heat implements api.Video.
func (h history) Heat(ctx context.Context, q api.HeatQuery) (*api.Heat, error) {
	found, err := h.db.Heat(ctx, storage.HeatQuery{Camera: q.Camera, From: q.From, To: q.To, Class: q.Class, Hour: q.Hour, Zone: q.Zone, K: q.K})
	if err != nil {
		return nil, err
	}
	return &api.Heat{Columns: storage.HeatColumns, Rows: storage.HeatRows, Cells: found.Cells[:], Hidden: found.Hidden}, nil
}

// Tracks implements api.Video.
func (h history) Tracks(ctx context.Context, q api.TrackQuery, limit int, cursor string) ([]api.VideoTrack, string, error) {
	found, next, err := h.db.VideoTracks(ctx, storage.TrackQuery{Camera: q.Camera, From: q.From, To: q.To, Class: q.Class}, limit, cursor)
	if bad, ok := errors.AsType[*storage.CursorError](err); ok {
		return nil, "", fmt.Errorf("%w: %w", api.ErrCursor, bad)
	}
	out := make([]api.VideoTrack, len(found))
	for i, t := range found {
		out[i] = api.VideoTrack{ID: t.ID, Class: t.Class, Start: t.Start, End: t.End, Detections: t.Detections, Zones: strings.Fields(t.Zones),
			SpeedMps: t.SpeedMps, SpeedMaxMps: t.SpeedMaxMps, DistanceM: t.DistanceM, HeadingDeg: t.HeadingDeg, StartX: t.StartX, StartY: t.StartY, EndX: t.EndX, EndY: t.EndY}
	}
	return out, next, err
}
