package storage_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

func TestReadings(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	o := &batch.Observations{}
	for i := range 3 {
		at := start.Add(time.Duration(i) * time.Minute)
		observation(o, at, "loop", "n", float64(i), "", devices.Quality(i))
		observation(o, at, "loop", "status", math.NaN(), "ok", 0)
		observation(o, at, "other", "n", 9, "", 0)
	}
	db := stored(t, o, nil)
	for _, tc := range []struct {
		from, to time.Duration
		limit    int
		want     string
	}{
		{0, time.Hour, 10, "2 n=2 q2; 2 status=ok q0; 1 n=1 q1; 1 status=ok q0; 0 n=0 q0; 0 status=ok q0"},
		{0, time.Hour, 3, "2 n=2 q2; 2 status=ok q0; 1 n=1 q1"},
		{time.Minute, 2 * time.Minute, 10, "1 n=1 q1; 1 status=ok q0"},
		{time.Hour, 2 * time.Hour, 10, ""},
	} {
		found, err := db.Readings(within(t), "loop", start.Add(tc.from), start.Add(tc.to), tc.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range found {
			value := r.Text
			if !math.IsNaN(r.Value) {
				value = fmt.Sprint(r.Value)
			}
			got = append(got, fmt.Sprintf("%d %s=%s q%d", r.Time.Sub(start)/time.Minute, r.Metric, value, r.Quality))
		}
		if got := strings.Join(got, "; "); got != tc.want {
			t.Errorf("%v to %v, at most %d: %s, want %s", tc.from, tc.to, tc.limit, got, tc.want)
		}
	}
	if _, err := db.Readings(within(t), "", start, start.Add(time.Hour), 10); !isQueryError(err) {
		t.Errorf("of no device: %v, want a QueryError", err)
	}
}

func TestRefused(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	db := storagetest.NewDBOf(t, storage.Config{Speakers: []storage.Speaker{{Topics: "^city/[^/]*/[^/]*/telemetry$", Level: 3}, {Topics: "^application/", Level: 4}}})
	l := logtest.New(t, nil)
	data, err := batch.EncodeRejected([]batch.Rejected{
		{Received: start, Source: "mqtt", Topic: "city/waste/it's 1/telemetry", Reason: "syntax", Detail: "no JSON", Payload: []byte(strings.Repeat("x", 5000))},
		{Received: start.Add(time.Second), Source: "mqtt", Topic: "application/a/device/0a0b/event/up", Reason: "codec", Payload: []byte("{")},
		{Received: start.Add(2 * time.Second), Source: "mqtt", Topic: "city/waste/it's 10/telemetry", Reason: "syntax"},
		{Received: start.Add(time.Hour), Source: "mqtt", Topic: "city/waste/it's 1/telemetry", Reason: "late"},
	})
	publish(t, l, batch.KindRejected, data, err)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()
	for _, tc := range []struct {
		names []string
		to    time.Duration
		limit int
		want  string
	}{
		{[]string{"it's 1", "0a0b"}, time.Hour, 10, "codec { 1; syntax " + strings.Repeat("x", 4096) + " 5000"},
		{[]string{"it's 1"}, 2 * time.Hour, 1, "late  0"},
		{[]string{"nobody"}, 2 * time.Hour, 10, ""},
	} {
		found, err := db.Refused(within(t), tc.names, start, start.Add(tc.to), tc.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range found {
			got = append(got, fmt.Sprintf("%s %s %d", r.Reason, r.Payload, r.Bytes))
		}
		if got := strings.Join(got, "; "); got != tc.want {
			t.Errorf("%q: %.200s, want %.200s", tc.names, got, tc.want)
		}
	}
	if _, err := db.Refused(within(t), nil, start, start.Add(time.Hour), 10); !isQueryError(err) {
		t.Errorf("of nobody: %v, want a QueryError", err)
	}
}
