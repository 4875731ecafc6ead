package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"panormus/stream/batch"
)

// What is left past its time is told once, counted, and told once more when it is gone.
func TestRetentionIsVerified(t *testing.T) {
	db, _ := openBench(t)
	var said bytes.Buffer
	db.cfg.Log = slog.New(slog.NewTextHandler(&said, nil))
	now := time.Now()
	var d batch.Detections
	row := batch.Absent()
	row.Time, row.Received, row.Expires, row.PlateHash = now.UnixMilli(), now.UnixMilli(), now.Add(-3*time.Hour).UnixMilli(), "SECRET"
	d.Append(&row)
	if err := db.conn.Exec(t.Context(), "SYSTEM STOP TTL MERGES detections_log"); err != nil { // the engine's own net
		t.Fatal(err)
	}
	if err := (detectionRows{&d}).insert(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	metric := func() float64 { return testutil.ToFloat64(db.metrics.expired.WithLabelValues("detections")) }
	const condition = "expires <= toDateTime(?, 'UTC')"
	for range 3 {
		if err := db.verify(t.Context(), "detections_log", condition, now); err != nil || metric() != 1 {
			t.Fatalf("metric %v, %v; want the 1 row", metric(), err)
		}
	}
	if n := strings.Count(said.String(), "kept longer than they may"); n != 1 || strings.Contains(said.String(), "SECRET") {
		t.Errorf("said %d times, want once and no secret:\n%s", n, &said)
	}
	for range 2 {
		if err := db.EnforceRetention(t.Context(), now); err != nil || metric() != 0 {
			t.Fatalf("metric %v, %v; want none left", metric(), err)
		}
	}
	if n := strings.Count(said.String(), "no row is kept longer"); n != 1 {
		t.Errorf("its end was said %d times, want once:\n%s", n, &said)
	}
}

// A row ends with its purpose's time or with the bound on the table, whichever is sooner, and never a
// second later than asked for.
func TestExpiry(t *testing.T) {
	for _, tc := range []struct {
		expires, received int64
		bound             time.Duration
		want              uint32
	}{
		{expires: 7_200_999, received: 0, want: 7200},
		{expires: 7_200_999, received: 0, bound: time.Hour, want: 3600},
		{expires: 1_000_000, received: 0, bound: time.Hour, want: 1000},
		{expires: 0, received: 5_000_000, want: 0},
		{expires: -1, received: 5_000_000, want: 0},
		{expires: 1 << 62, received: 0, want: 1<<32 - 1},
		{expires: 1 << 62, received: 5000, bound: time.Hour, want: 3605},
	} {
		if got := expiry(tc.expires, tc.received, tc.bound); got != tc.want {
			t.Errorf("expiry(%d, %d, %v) = %d, want %d", tc.expires, tc.received, tc.bound, got, tc.want)
		}
	}
}

// Of a refused row nothing is kept that names anybody, nor the database's words, which may quote it.
func TestRefusedVideoTellsNothing(t *testing.T) {
	err := &rowError{errors.New("cannot write SECRET")}
	for kind, quotes := range map[batch.Kind]bool{batch.KindDetections: false, batch.KindTracks: false, batch.KindObservations: true} {
		if got := (&lane{kind: kind}).cause(err); strings.Contains(got, "SECRET") != quotes {
			t.Errorf("%s: %q", kind, got)
		}
	}
	var d batch.Detections
	d.Append(&batch.Detection{Camera: "cam-1", What: "plate", PlateHash: "SECRET", PlateSealed: "SECRET", Attributes: "SECRET", Track: "SECRET"})
	rows := detectionRows{&d}
	for _, row := range []any{rows.row(0), rows.plates().row(0), trackRows{{Camera: "cam-1", PlateHash: "SECRET", Attributes: "SECRET", ID: "SECRET"}}.row(0)} {
		if text, err := json.Marshal(row); err != nil || strings.Contains(string(text), "SECRET") || !strings.Contains(string(text), "cam-1") {
			t.Errorf("a refused row is kept as %s, %v", text, err)
		}
	}
}
