package city

import (
	"math"
	"testing"
	"time"
)

func TestSun(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, tc := range []struct {
		name      string
		t         time.Time
		lat, lon  float64
		elevation float64
		azimuth   float64 // -1: not compared
	}{
		// The worked example of Reda and Andreas, Solar Position Algorithm, NREL/TP-560-34302: zenith
		// 50.11162, azimuth 194.34024.
		{"NREL", at("2003-10-17T12:30:30-07:00"), 39.742476, -105.1786, 39.88838, 194.34024},
		// Noon at Palermo: 90 - latitude + declination, 23.436 degrees at the solstices, and the
		// minute of the year's noons from the equation of time (-1.9, +1.7 and -7.4 min).
		{"summer solstice", at("2024-06-20T11:08:26Z"), originLat, originLon, 75.32, 180},
		{"winter solstice", at("2024-12-21T11:04:50Z"), originLat, originLon, 28.48, 180},
		{"spring equinox", at("2024-03-20T11:13:56Z"), originLat, originLon, 52.03, 180},
		// At the equinox sun's upper limb rises as its centre, refraction included, is 16' down.
		{"midnight", at("2024-06-20T23:08:26Z"), originLat, originLon, -28.45, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, a := Sun(tc.t, tc.lat, tc.lon)
			off := math.Abs(math.Mod(a-tc.azimuth+540, 360) - 180)
			if math.Abs(e-tc.elevation) > 0.05 || off > 0.3 {
				t.Errorf("Sun(%v) = %.3f, %.3f; want %.3f, %.3f within 0.05 and 0.3", tc.t, e, a, tc.elevation, tc.azimuth)
			}
		})
	}
}

func TestLocalTime(t *testing.T) {
	for _, tc := range []struct {
		utc  time.Time
		want string
	}{
		{time.Date(2026, time.January, 15, 12, 0, 0, 0, time.UTC), "13:00"},
		{time.Date(2026, time.March, 29, 0, 59, 0, 0, time.UTC), "01:59"},
		{time.Date(2026, time.March, 29, 1, 0, 0, 0, time.UTC), "03:00"},
		{time.Date(2026, time.July, 1, 22, 30, 0, 0, time.UTC), "00:30"},
		{time.Date(2026, time.October, 25, 0, 59, 0, 0, time.UTC), "02:59"},
		{time.Date(2026, time.October, 25, 1, 0, 0, 0, time.UTC), "02:00"},
	} {
		if got := localTime(tc.utc).Format("15:04"); got != tc.want {
			t.Errorf("localTime(%v) = %s, want %s", tc.utc, got, tc.want)
		}
	}
}
