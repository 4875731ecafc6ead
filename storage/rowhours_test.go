package storage_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
	"panormus/stream/rules"
)

// noDevices is a registry of nobody.
type noDevices struct{}

func (noDevices) Lookup(string) *devices.Asset { return nil }
func (noDevices) Zone(string) *devices.Zone    { return nil }
func (noDevices) Version() uint64              { return 1 }
func (noDevices) All() []*devices.Asset        { return nil }

// Hours of rows are those of their times in rules, whatever day they are of, of what they are told apart by and of numbers
// that are known; cells that are told again count once. Rules learn of them what is usual.
func TestHoursOfRows(t *testing.T) {
	const weeks = 5
	hour := time.Now().UTC().Truncate(time.Hour)
	begin := hour.Add(-weeks * 7 * 24 * time.Hour)
	var counts []batch.Count
	for at := begin.Add(-time.Minute); at.Before(hour); at = at.Add(20 * time.Minute) { // of the minute before: its end is the hour's first
		for _, zone := range []string{"", "gate"} {
			seen := int64(10 + at.Add(time.Minute).Hour() + len(zone))
			counts = append(counts, batch.Count{Time: at, Received: at, Camera: "cam", Zone: zone, Class: "car", Seen: 9999, Version: 1},
				batch.Count{Time: at, Received: at, Camera: "cam", Zone: zone, Class: "car", Seen: seen, SpeedSumMps: 2 * float64(seen), SpeedN: int64(len(zone)), Version: 2})
		}
	}
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	for page := range slices.Chunk(counts, 5000) {
		data, err := batch.EncodeCounts(page)
		publish(t, l, batch.KindCounts, data, err)
	}
	at := hour.Add(-2 * time.Hour)
	data, err := batch.EncodeTracks([]batch.Track{
		{ID: "a", Camera: "cam", Class: "car", Start: at.Add(-time.Minute), End: at, Received: at, Expires: hour.Add(2 * time.Hour), SpeedMps: 7},
		{ID: "b", Camera: "cam", Class: "car", Start: at, End: at.Add(30 * time.Second), Received: at, Expires: hour.Add(2 * time.Hour), SpeedMps: math.NaN()},
	})
	publish(t, l, batch.KindTracks, data, err)
	data, err = batch.EncodeUplinks([]batch.Uplink{
		{Time: at, Device: "it's one", Gateway: "g1", RSSIdBm: -100}, {Time: at.Add(time.Hour - time.Millisecond), Device: "it's one", Gateway: "g1", RSSIdBm: -90},
		{Time: at.Add(time.Hour), Device: "it's one", Gateway: "g2", RSSIdBm: -80},
	})
	publish(t, l, batch.KindUplinks, data, err)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()

	for _, tc := range []struct {
		q    storage.HoursQuery
		want []string
	}{
		{storage.HoursQuery{On: "tracks", Metrics: []string{"duration_s", "speed_mps"}, Of: []string{"class"}}, []string{"cam [car] duration_s -2 2 45 30 60", "cam [car] speed_mps -2 1 7 7 7"}},
		{storage.HoursQuery{On: "uplinks", Metrics: []string{"rssi_dbm"}, Of: []string{"gateway"}}, []string{"it's one [g1] rssi_dbm -2 2 -95 -100 -90", "it's one [g2] rssi_dbm -1 1 -80 -80 -80"}},
	} {
		tc.q.From, tc.q.To = hour.Add(-30*time.Hour), hour
		var got []string
		if err := db.Hours(within(t), tc.q, func(h storage.Hour) error {
			got = append(got, fmt.Sprint(h.Device, " ", h.Of, " ", h.Metric, " ", int(h.Time.Sub(hour)/time.Hour), " ", h.Count, " ", h.Avg, " ", h.Min, " ", h.Max))
			return nil
		}); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%+v: %q, %v; want %q", tc.q, got, err, tc.want)
		}
	}
	n, last := 0, map[string]time.Time{}
	if err := db.Hours(within(t), storage.HoursQuery{On: "counts", From: begin, To: hour, Metrics: []string{"seen", "speed_mps"}, Of: []string{"zone", "class"}}, func(h storage.Hour) error {
		of := fmt.Sprint(h.Of, h.Metric)
		want := float64(10 + h.Time.Hour() + len(h.Of[0]))
		if h.Metric == "speed_mps" {
			want *= 2.0 / 4
		}
		if n++; h.Count != 3 || h.Avg != want || h.Min != want || h.Max != want || !h.Time.After(last[of]) || h.Of[1] != "car" {
			t.Errorf("%+v after %v, want 3 of %v", h, last[of], want)
		}
		last[of] = h.Time
		return nil
	}); err != nil || n != 3*weeks*7*24 {
		t.Errorf("%d hours, %v; want %d", n, err, 3*weeks*7*24)
	}
	for _, q := range []storage.HoursQuery{{On: "events", Metrics: []string{"x"}}, {On: "counts", Metrics: []string{"x"}}, {On: "counts", Metrics: []string{"seen"}, Of: []string{"x"}}} {
		if err := db.Hours(within(t), q, func(storage.Hour) error { return nil }); err == nil {
			t.Errorf("%+v is answered", q)
		}
	}

	// Rules that begin with it raise on what is not usual, and only on that.
	set, err := rules.Parse("test.yaml", []byte(`{id: crowd, on: counts, when: 'zone == "gate" && seen > 2 * baseline(seen)', text: "{baseline(seen):0}"}`))
	if err != nil {
		t.Fatal(err)
	}
	b := rules.Backtest{Rule: set.Rules[0], From: hour, To: hour.Add(3 * time.Hour), Config: rules.Config{Registry: noDevices{}}}
	b.Hours = func(ctx context.Context, q rules.HoursQuery, each func(rules.Hour) error) error {
		return db.Hours(ctx, storage.HoursQuery(q), func(h storage.Hour) error { return each(rules.Hour(h)) })
	}
	b.ReadRows = func(_ context.Context, _ string, _ rules.Past, each func(*rules.Row) error) (int64, error) {
		usual := int64(10 + hour.Hour() + 4)
		var err error
		rules.Counts([]batch.Count{
			{Time: hour.Add(5 * time.Minute), Camera: "cam", Zone: "gate", Class: "car", Seen: usual},
			{Time: hour.Add(10 * time.Minute), Camera: "cam", Zone: "gate", Class: "car", Seen: 3 * usual},
			{Time: hour.Add(20 * time.Minute), Camera: "other", Zone: "gate", Class: "car", Seen: 3 * usual},
		}, func(row *rules.Row) { err = errors.Join(err, each(row)) })
		return 0, err
	}
	got, err := b.Run(within(t))
	if err != nil || got.Raised != 1 || len(got.Events) == 0 || got.Events[0].Device != "cam" || got.Events[0].Text != fmt.Sprint(10+hour.Hour()+4) {
		t.Errorf("%+v, %v; want one of cam", got, err)
	}
}
