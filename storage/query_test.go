package storage_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// stored publishes and stores batches and events in a database of the test's own.
func stored(t *testing.T, observations *batch.Observations, events []batch.Event) *storage.DB {
	t.Helper()
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	if observations.Len() > 0 {
		data, err := observations.Encode()
		publish(t, l, batch.KindObservations, data, err)
	}
	if len(events) > 0 {
		data, err := batch.EncodeEvents(events)
		publish(t, l, batch.KindEvents, data, err)
	}
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()
	return db
}

func TestSeries(t *testing.T) {
	hour := time.Now().UTC().Truncate(time.Hour).Add(-30 * time.Hour)
	o := &batch.Observations{}
	for i := range 5 * 60 { // a reading a minute for five hours, its number the value
		observation(o, hour.Add(time.Duration(i)*time.Minute), "loop", "n", float64(i), "", 0)
		observation(o, hour.Add(time.Duration(i)*time.Minute), "loop", "status", math.NaN(), "ok", 0)
		observation(o, hour.Add(time.Duration(i)*time.Minute), "other", "n", 1e6, "", 0)
	}
	db := stored(t, o, nil)
	ask := func(from, to, step time.Duration, agg string) string {
		t.Helper()
		points, err := db.Series(within(t), storage.SeriesQuery{Device: "loop", Metric: "n", From: hour.Add(from), To: hour.Add(to), Step: step, Agg: agg})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, p := range points {
			fmt.Fprintf(&b, "%v=%v ", p.Time.Sub(hour), p.Value)
		}
		return strings.TrimSpace(b.String())
	}
	const m, h = time.Minute, time.Hour
	for _, tc := range []struct {
		name           string
		from, to, step time.Duration
		agg, want      string
	}{
		{"readings", 0, 3 * m, 0, "", "0s=0 1m0s=1 2m0s=2"},
		{"end is not in", 0, 2*m + time.Millisecond, 0, "", "0s=0 1m0s=1 2m0s=2"},
		{"minutes", 0, 4 * m, 2 * m, "sum", "0s=1 2m0s=5"},
		{"hours from the rollup", 0, 2 * h, h, "avg", "0s=29.5 1h0m0s=89.5"},
		{"hours and ragged ends", 58 * m, 2*h + 2*m, h, "count", "0s=2 1h0m0s=60 2h0m0s=2"},
		{"last over ragged ends", 58 * m, 2*h + 2*m, 5 * h, "last", ask(58*m, 2*h+2*m, 5*h, "max")},
		{"within one hour", 10 * m, 20 * m, h, "min", "0s=10"},
		{"max", 0, 3 * h, h, "max", "0s=59 1h0m0s=119 2h0m0s=179"},
		{"nothing there", -3 * h, -2 * h, m, "avg", ""},
	} {
		if got := ask(tc.from, tc.to, tc.step, tc.agg); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	n := 0.0
	ages, err := db.Series(within(t), storage.SeriesQuery{Device: "loop", Metric: "n", From: hour.AddDate(-80, 0, 0), To: hour.AddDate(180, 0, 0), Step: 100_000 * h, Agg: "count"})
	for _, p := range ages {
		n += p.Value
	}
	if err != nil || n != 300 { // toDateTime keeps bounds before 1970 and after 2106 within them
		t.Errorf("of 260 years: %v readings, %v; want 300", n, err)
	}
	for _, q := range []storage.SeriesQuery{
		{},
		{Device: "loop", Metric: "n", From: hour, To: hour},
		{Device: "loop", Metric: "n", From: hour, To: hour.Add(h), Agg: "median"},
		{Device: "loop", Metric: "n", From: hour, To: hour.Add(1000 * h), Step: time.Second},
	} {
		if _, err := db.Series(within(t), q); !isQueryError(err) {
			t.Errorf("%+v: %v, want a QueryError", q, err)
		}
	}
}

func isQueryError(err error) bool {
	_, ok := errors.AsType[*storage.QueryError](err)
	return ok
}

func TestLatestValues(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	o := &batch.Observations{}
	observation(o, now.Add(-50*time.Hour), "old", "n", 1, "", 0)
	observation(o, now.Add(-time.Minute), "a", "n", 2, "", 0)
	observation(o, now.Add(-2*time.Minute), "a", "n", 3, "", 0) // late: older, though it came later
	observation(o, now.Add(-3*time.Hour), "a", "m", 4, "", 0)
	observation(o, now.Add(-2*time.Minute), "a", "status", math.NaN(), "ok", 0)
	observation(o, now.Add(-time.Minute), "a", "status", math.NaN(), "dark", 0)
	db := stored(t, o, nil)
	got := map[string]string{}
	if err := db.LatestValues(within(t), now.Add(-24*time.Hour), func(l storage.Latest) error {
		got[l.Device+"/"+l.Metric] = fmt.Sprint(l.Domain, " ", l.Value, " ", l.Text, " ", now.Sub(l.Time))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a/n": "lighting 2  1m0s", "a/m": "lighting 4  3h0m0s", "a/status": "lighting NaN dark 1m0s"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("latest %v, want %v", got, want)
	}
	for i, r := range []struct {
		reason, detail string
		ago            time.Duration
	}{{"syntax", "older", time.Hour}, {"syntax", "newest", time.Minute}, {"empty", "one", time.Minute}, {"range", "long ago", 30 * time.Hour}} {
		if err := db.Conn().Exec(within(t), "INSERT INTO rejected (received, source, topic, reason, detail, payload) VALUES (?, 'mqtt', ?, ?, ?, 'x')",
			now.Add(-r.ago), fmt.Sprint("t", i), r.reason, r.detail); err != nil {
			t.Fatal(err)
		}
	}
	dead, err := db.DeadLettersSince(within(t), now.Add(-24*time.Hour), nil)
	if want := []storage.DeadLetters{{"syntax", 2, now.Add(-time.Minute).Truncate(time.Second), "mqtt", "t1", "newest"}, {"empty", 1, now.Add(-time.Minute).Truncate(time.Second), "mqtt", "t2", "one"}}; err != nil || !reflect.DeepEqual(dead, want) {
		t.Errorf("dead letters %+v, %v; want %+v", dead, err, want)
	}
	sizes, err := db.Sizes(within(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sizes {
		if s.Table == "observations" && (s.Rows != 6 || s.Bytes == 0) {
			t.Errorf("size of observations: %+v, want 6 rows", s)
		}
	}
}

func TestEvents(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	event := func(id, rule, key, state string, after time.Duration) batch.Event {
		return batch.Event{ID: id, Rule: rule, Severity: "major", State: state, Key: key, Device: key, Domain: "water", Time: at.Add(after), Received: at.Add(after), Context: json.RawMessage(`{"v":1}`)}
	}
	db := stored(t, &batch.Observations{}, []batch.Event{
		event("1", "r", "a", "raised", 0), event("2", "r", "a", "cleared", time.Minute), event("3", "r", "a", "raised", 2*time.Minute),
		event("4", "r", "b", "raised", 0), event("5", "r", "b", "updated", time.Minute), event("6", "r", "b", "updated", 2*time.Minute),
		event("7", "s", "a", "raised", 0), event("8", "s", "a", "cleared", 0),
		event("4", "r", "b", "raised", 0), // replayed
		event("9", "s", "a", "shadow_raised", time.Hour),
	})
	ids := func(events []batch.Event, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range events {
			out = append(out, e.ID)
		}
		return strings.Join(out, " ")
	}
	var paged []string
	for cursor := ""; ; {
		page, next, err := db.Events(within(t), storage.EventFilter{}, 3, cursor)
		paged = append(paged, ids(page, err))
		if cursor = next; cursor == "" {
			break
		}
	}
	if got := strings.Join(paged, " | "); got != "6 3 5 | 2 8 7 | 4 1" {
		t.Errorf("pages %s", got)
	}
	for _, tc := range []struct {
		severity []string
		want     bool
	}{{[]string{"info"}, false}, {[]string{"info", "major"}, true}} {
		found, _, err := db.Events(within(t), storage.EventFilter{Severity: tc.severity}, 3, "")
		if err != nil || (len(found) > 0) != tc.want {
			t.Errorf("of severity %v: %d events, %v; want some: %v", tc.severity, len(found), err, tc.want)
		}
	}
	filtered, _, err := db.Events(within(t), storage.EventFilter{Rule: "r", Device: "b", State: "updated", From: at, To: at.Add(2 * time.Minute)}, 0, "")
	if got := ids(filtered, err); got != "5" {
		t.Errorf("filtered %s, want 5", got)
	}
	if got := ids(db.OpenEpisodes(within(t))); got != "4 6 3" && got != "4 3 6" {
		t.Errorf("open episodes %s, want 4 3 6", got)
	}
	shadows, _, err := db.Events(within(t), storage.EventFilter{State: "shadow_raised"}, 0, "")
	if got := ids(shadows, err); got != "9" {
		t.Errorf("of rules in shadow %s, want 9", got)
	}
	if e, err := db.Event(within(t), "5"); err != nil || e == nil || e.Key != "b" || e.State != "updated" {
		t.Errorf("event 5: %+v, %v", e, err)
	}
	if e, err := db.Event(within(t), "' OR 1=1 --"); err != nil || e != nil {
		t.Errorf("an id that is none: %+v, %v", e, err)
	}
	if got := ids(db.RecentEvents(within(t), 2)); got != "6 3" {
		t.Errorf("recent %s, want 6 3", got)
	}
	if _, _, err := db.Events(within(t), storage.EventFilter{}, 3, "nonsense"); err == nil {
		t.Error("a made-up cursor is taken")
	}
	if events, _, err := db.Events(within(t), storage.EventFilter{Device: "' OR 1=1 --\\"}, 3, ""); err != nil || len(events) != 0 {
		t.Errorf("a hostile filter: %d events, %v", len(events), err)
	}
}

func TestExport(t *testing.T) {
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-25 * time.Hour) // so that the export crosses midnight
	o := &batch.Observations{}
	const rows = 300
	for i := range rows {
		observation(o, at.Add(time.Duration(i)*time.Minute), "d", "n", float64(i), "", 0)
	}
	observation(o, at.Add(rows*time.Minute), "d", "status", math.NaN(), "a \"b\",\nc", 1)
	db := stored(t, o, []batch.Event{{ID: "e", Time: at, Received: at, Context: json.RawMessage(`{"a":{"b":1}}`)}})
	export := func(table, format string, from, to time.Time) []byte {
		t.Helper()
		var b bytes.Buffer
		if err := db.Export(within(t), &b, storage.Export{Table: table, Format: format, From: from, To: to}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}

	lines, err := csv.NewReader(bytes.NewReader(export("observations", "csv", time.Time{}, time.Time{}))).ReadAll()
	if err != nil || len(lines) != rows+2 {
		t.Fatalf("csv: %d lines, %v; want %d", len(lines), err, rows+2)
	}
	if got := strings.Join(lines[0], ","); got != "time,received,domain,device,metric,value,text,quality" {
		t.Errorf("csv header %s", got)
	}
	if got := lines[rows+1]; got[5] != "" || got[6] != "a \"b\",\nc" || got[7] != "1" || got[0] != at.Add(rows*time.Minute).Format("2006-01-02T15:04:05.000Z") {
		t.Errorf("csv text row %q", got)
	}
	for _, tc := range []struct {
		table string
		rows  int
	}{{"observations", 10}, {"observations_1m", 10}, {"observations_1h", 1}, {"detections", 0}, {"tracks", 0}, {"vds_counts_1m", 0}, {"uplinks", 0}, {"alarm_log", 0}, {"rejected", 0}, {"events", 1}} {
		out := export(tc.table, "jsonl", at, at.Add(10*time.Minute))
		if n := bytes.Count(out, []byte("\n")); n != tc.rows {
			t.Errorf("%s: %d lines, want %d", tc.table, n, tc.rows)
		}
		for line := range bytes.Lines(out) {
			var row map[string]any
			if err := json.Unmarshal(line, &row); err != nil {
				t.Errorf("%s: %s: %v", tc.table, line, err)
			}
			if tc.table == "events" && fmt.Sprint(row["context"]) != "map[a:map[b:1]]" {
				t.Errorf("context %v", row["context"])
			}
		}
	}
	r, err := ipc.NewReader(bytes.NewReader(export("observations", "arrow", time.Time{}, time.Time{})))
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for r.Next() {
		n += r.Record().NumRows()
	}
	if n != rows+1 || r.Err() != nil {
		t.Errorf("arrow: %d rows, %v; want %d", n, r.Err(), rows+1)
	}
	p, err := file.NewParquetReader(bytes.NewReader(export("observations", "parquet", time.Time{}, time.Time{})))
	if err != nil {
		t.Fatal(err)
	}
	pr, err := pqarrow.NewFileReader(p, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := pr.ReadTable(within(t))
	if err != nil || table.NumRows() != rows+1 || table.NumCols() != 8 {
		t.Errorf("parquet: %v, %v; want %d rows of 8 columns", table, err, rows+1)
	}
	for _, e := range []storage.Export{{Table: "schema_migrations", Format: "csv"}, {Table: "events", Format: "xml"}, {Table: "events", Format: "csv", From: at, To: at}} {
		if err := db.Export(within(t), &bytes.Buffer{}, e); !isQueryError(err) {
			t.Errorf("%+v: %v, want a QueryError", e, err)
		}
	}
}
