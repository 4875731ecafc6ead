package storage_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/stream/batch"
)

func TestChanges(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-5 * time.Hour)
	o := &batch.Observations{}
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	observation(o, at(-1), "a", "power_w", 1, "", 0) // before
	observation(o, at(0), "a", "power_w", 2, "", 0)
	observation(o, at(30), "a", "power_w", 3, "", 0)
	observation(o, at(10), "a", "status", math.NaN(), "ok", 0)
	observation(o, at(59), "b", "power_w", 4, "", 0)
	observation(o, at(20), "b", "power_w", 9, "", devices.QualityClock)
	observation(o, at(60), "c", "power_w", 5, "", 0) // not included
	db := stored(t, o, nil)
	ask := func(domain, after string, most int) string {
		t.Helper()
		var got []string
		err := db.Changes(within(t), at(0), at(60), domain, after, func(l storage.Latest) (bool, error) {
			got = append(got, fmt.Sprintf("%s.%s=%v%s@%v", l.Device, l.Metric, l.Value, l.Text, l.Time.Sub(start)))
			return len(got) < most, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(got, " ")
	}
	all := "a.power_w=3@30s a.status=NaNok@10s b.power_w=4@59s"
	for _, tc := range []struct {
		domain, after string
		most          int
		want          string
	}{{"", "", 100, all}, {"lighting", "", 100, all}, {"waste", "", 100, ""}, {"", "a", 100, "b.power_w=4@59s"}, {"", "", 1, "a.power_w=3@30s"}} {
		if got := ask(tc.domain, tc.after, tc.most); got != tc.want {
			t.Errorf("%q after %q: %s, want %s", tc.domain, tc.after, got, tc.want)
		}
	}
	err := db.Changes(within(t), at(0), at(3601), "", "", func(storage.Latest) (bool, error) { return true, nil })
	if !isQueryError(err) {
		t.Errorf("%v, want a QueryError for too long a time", err)
	}
}
