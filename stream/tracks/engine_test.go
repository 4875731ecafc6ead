package tracks

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// A scene is rows of camera "cam", in order, fed to an engine one batch each.
type scene struct {
	t   testing.TB
	e   *Engine
	tb  *tables
	seq uint64
}

func newScene(t testing.TB, cfg Config) *scene { return &scene{t, New(cfg), newTables(), 0} }

// say feeds a row of a second after noon.
func (s *scene) say(second float64, what string, edit func(*batch.Detection)) {
	r := batch.Absent()
	r.Time = noon + int64(math.Round(second*1000))
	r.Received, r.Camera, r.What, r.Purpose, r.Expires = r.Time+20, "cam", what, "traffic", r.Time+3_600_000
	if edit != nil {
		edit(&r)
	}
	d := &batch.Detections{}
	d.Append(&r)
	s.seq++
	s.e.Apply(0, s.seq, d)
	s.tb.add(s.e.Take(0))
}

// sees feeds an object.
func (s *scene) sees(second float64, track, class string, edit ...func(*batch.Detection)) {
	s.say(second, batch.WhatObject, func(r *batch.Detection) {
		r.Track, r.Class, r.Score = track, class, 0.9
		for _, f := range edit {
			f(r)
		}
	})
}

func box(left, top, right, bottom float32) func(*batch.Detection) {
	return func(r *batch.Detection) { r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = left, top, right, bottom }
}

// foot is a small box that stands at x, y.
func foot(x, y float32) func(*batch.Detection) { return box(x-0.01, y-0.05, x+0.01, y) }

func told(what, track, other string) func(*batch.Detection) {
	return func(r *batch.Detection) { r.Track, r.Other = track, other }
}

// end takes the camera for silent and returns its tracks in order of start and its cells.
func (s *scene) end() ([]batch.Track, map[string]batch.Count) {
	finish(s.e, s.tb)
	var tracks []batch.Track
	for _, l := range s.tb.tracks {
		tracks = append(tracks, l)
	}
	for i := range tracks {
		for j := i; j > 0 && (tracks[j].Start.Before(tracks[j-1].Start) || tracks[j].Start.Equal(tracks[j-1].Start) && tracks[j].Track < tracks[j-1].Track); j-- {
			tracks[j], tracks[j-1] = tracks[j-1], tracks[j]
		}
	}
	cells := map[string]batch.Count{}
	for _, c := range s.tb.counts {
		if countLine(c) != "" {
			cells[fmt.Sprintf("%s %s +%d", c.Zone, c.Class, (c.Time.UnixMilli()-noon)/minuteMs)] = c
		}
	}
	return tracks, cells
}

func TestTracksHoldTogether(t *testing.T) {
	s := newScene(t, Config{})
	s.sees(0, "1", batch.ClassCar)
	s.sees(60, "1", batch.ClassCar) // silent for a minute: the same
	s.say(61, batch.WhatTrackEnd, told("", "1", ""))
	s.sees(100, "1", batch.ClassTruck) // ended, and back within a minute
	s.say(101, batch.WhatTrackRename, told("", "1", "2"))
	s.sees(102, "2", batch.ClassCar)
	s.say(103, batch.WhatTrackSplit, told("", "2", "3"))
	s.sees(103, "2", batch.ClassCar)
	s.sees(104, "3", batch.ClassPerson)
	s.say(104, batch.WhatTrackMerge, told("", "3", "2"))
	s.sees(105, "2", batch.ClassUnknown)
	s.sees(166, "2", batch.ClassCar) // a second too late
	s.sees(170, "1", batch.ClassCar) // the old name is another's
	tracks, cells := s.end()
	if len(tracks) != 4 {
		t.Fatalf("%+v, want 4", tracks)
	}
	first, child := tracks[0], tracks[1]
	if first.Track != "1" || first.Class != batch.ClassCar || first.Detections != 6 || first.End != at(noon+105_000) || first.Parent != "" {
		t.Errorf("first %+v", first)
	}
	if child.Track != "3" || child.Parent != first.ID || child.Class != batch.ClassPerson {
		t.Errorf("child %+v, want one of %s", child, first.ID)
	}
	if tracks[2].Track != "2" || tracks[3].Track != "1" || tracks[3].ID == first.ID {
		t.Errorf("later ones %+v", tracks[2:])
	}
	if c := cells[" car +0"]; c.In != 1 || c.Out != 0 || c.Seen != 1 {
		t.Errorf("first minute %+v", c)
	}
	if c := cells[" car +1"]; c.In != 0 || c.Out != 1 || c.Seen != 1 || c.DwellS != 105 || c.OccupancyAvg != 0.75 {
		t.Errorf("second minute %+v", c)
	}
}

func TestALongTrackGoesOnAsItsChild(t *testing.T) {
	s := newScene(t, Config{})
	for second := 0; second <= 3700; second += 50 {
		s.sees(float64(second), "1", batch.ClassBus)
	}
	tracks, cells := s.end()
	if len(tracks) != 2 || tracks[1].Parent != tracks[0].ID || tracks[0].End != at(noon+3_550_000) || tracks[1].Start != at(noon+3_600_000) || tracks[1].Class != batch.ClassBus {
		t.Fatalf("%+v", tracks)
	}
	in, out := int64(0), int64(0)
	for _, c := range cells {
		in, out = in+c.In, out+c.Out
	}
	if in != 1 || out != 1 || cells[" bus +60"].Seen != 1 {
		t.Errorf("in %d out %d, want one bus all the time", in, out)
	}
}

func TestNobodyIsCountedTwice(t *testing.T) {
	s := newScene(t, Config{})
	for i := range 20 {
		at, x := float64(i)/2, float32(i)/100
		s.sees(at, "person", batch.ClassPerson, box(0.1+x, 0.2, 0.2+x, 0.6))
		s.sees(at, "head", batch.ClassHead, box(0.13+x, 0.21, 0.17+x, 0.26))
		s.sees(at, "face", batch.ClassFace, box(0.14+x, 0.22, 0.16+x, 0.25))
		s.sees(at, "lone head", batch.ClassHead, box(0.7, 0.1, 0.75, 0.15))
		s.sees(at, "rider", batch.ClassPerson, box(0.5+x, 0.3, 0.55+x, 0.65))
		s.sees(at, "bike", batch.ClassBicycle, box(0.48+x, 0.5, 0.57+x, 0.7))
		s.sees(at, "parked", batch.ClassMotorcycle, box(0.2, 0.5, 0.25, 0.62)) // which the walker passes
		s.sees(at, "car", batch.ClassCar, box(0.8, 0.5, 0.95, 0.7))
		s.sees(at, "its plate", batch.ClassPlate, box(0.85, 0.6, 0.88, 0.62))
	}
	tracks, cells := s.end()
	var names []string
	for _, tr := range tracks {
		names = append(names, tr.Track)
	}
	if got := strings.Join(names, ","); got != "bike,car,lone head,parked,person" {
		t.Errorf("tracks %s", got)
	}
	for key, want := range map[string]int64{"person": 1, "head": 1, "face": 0, "bicycle": 1, "motorcycle": 1, "car": 1, "plate": 0} {
		if c := cells[" "+key+" +0"]; c.Seen != want || c.In != want || c.OccupancyMax != want {
			t.Errorf("%s: %+v, want %d", key, c, want)
		}
	}
	if p := s.e.Stats().Parts; p != 4 {
		t.Errorf("%d parts, want head, face, plate and rider", p)
	}
}

// fakeStore is a registry's store that keeps nothing.
type fakeStore struct{}

func (fakeStore) Put(context.Context, string, []byte) error { return nil }
func (fakeStore) Delete(context.Context, string) error      { return nil }
func (fakeStore) Watch(context.Context, func(string, []byte), func()) error {
	return nil
}

func registryWith(t *testing.T, areas ...devices.Area) *devices.Registry {
	r := devices.NewRegistry(fakeStore{}, slog.New(slog.DiscardHandler))
	if err := r.PutDevice(t.Context(), devices.Device{ID: "cam", Domain: "safety", Camera: &devices.Camera{Areas: areas}}); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAreasOfTheRegistry(t *testing.T) {
	r := registryWith(t,
		devices.Area{Name: "square", Kind: devices.AreaZone, Points: [][2]float64{{0.4, 0}, {0.6, 0}, {0.6, 1}, {0.4, 1}}},
		// Upwards in the image, with a bend: left of it is the image's left.
		devices.Area{Name: "gate", Kind: devices.AreaLine, Points: [][2]float64{{0.8, 1}, {0.8, 0.5}, {0.7, 0}}},
	)
	s := newScene(t, Config{Registry: r})
	for i := range 100 { // to the right, 0.1 a second, and back
		x := float32(i) / 100
		s.sees(float64(i)/10, "there", batch.ClassPerson, foot(x, 0.7))
		s.sees(float64(i)/10, "and back", batch.ClassPerson, foot(0.99-x, 0.2))
		s.sees(float64(i)/10, "through the bend", batch.ClassCar, foot(x, 0.5))
	}
	_, cells := s.end()
	if c := cells["square person +0"]; c.In != 2 || c.Out != 2 || c.Visits != 2 || c.OccupancyMax != 2 || c.Seen != 2 || math.Abs(c.DwellS-3.8) > 0.21 {
		t.Errorf("square %+v, want two of 1.9 s", c)
	}
	if c := cells["gate person +0"]; c.In != 1 || c.Out != 1 || c.Seen != 0 {
		t.Errorf("gate %+v, want one in and one out", c)
	}
	if c := cells["gate car +0"]; c.In != 1 || c.Out != 0 {
		t.Errorf("gate %+v, want one in", c)
	}
}

func TestLineCrossings(t *testing.T) {
	a := area{points: [][2]float64{{0.5, 1}, {0.5, 0.5}, {0.5, 0}}} // upwards
	for _, tc := range []struct {
		x0, y0, x1, y1 float64
		in, out        int
	}{
		{0.4, 0.7, 0.6, 0.7, 1, 0},
		{0.6, 0.7, 0.4, 0.7, 0, 1},
		{0.4, 0.5, 0.6, 0.5, 1, 0}, // through the vertex
		{0.4, 0.7, 0.5, 0.7, 1, 0}, // onto it, which is its right
		{0.5, 0.7, 0.6, 0.7, 0, 0}, // and on
		{0.4, 0.7, 0.45, 0.2, 0, 0},
		{0.4, -0.2, 0.6, -0.2, 0, 0}, // past its end
		{0.4, 0.7, 0.4, 0.7, 0, 0},
	} {
		if in, out := a.crossed(tc.x0, tc.y0, tc.x1, tc.y1); in != tc.in || out != tc.out {
			t.Errorf("%v: in %d out %d, want %d and %d", tc, in, out, tc.in, tc.out)
		}
	}
}

func TestSpeedsAndQueues(t *testing.T) {
	ground := func(lat, lon float64) func(*batch.Detection) {
		return func(r *batch.Detection) { r.Lat, r.Lon = lat, lon }
	}
	const metre = 1 / metresADegree
	s := newScene(t, Config{})
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range 201 {
		at := float64(i) / 10
		tremble := (rnd.Float64() - 0.5) * 0.1 * metre
		s.sees(at, "driving north", batch.ClassCar, foot(0.2, 0.9-float32(i)/1000), ground(38+10*at*metre+tremble, 13))
		s.sees(at, "standing", batch.ClassCar, foot(0.5, 0.5), ground(38+tremble, 13.1))
		if i%3 == 0 {
			s.sees(at, "told", batch.ClassTruck, foot(0.6, 0.5), func(r *batch.Detection) { r.SpeedMps = 7 })
		}
		s.sees(at, "in the image", batch.ClassPerson, foot(0.8+float32(i)/250*0.01, 0.5))
		s.sees(at, "walking there", batch.ClassPerson, foot(0.1+float32(i)/500, 0.5))
		if i == 100 {
			s.sees(at, "jumping", batch.ClassBus, ground(38, 13))
			s.sees(at+1.05, "jumping", batch.ClassBus, ground(39, 13))
		}
	}
	tracks, cells := s.end()
	by := map[string]batch.Track{}
	for _, tr := range tracks {
		by[tr.Track] = tr
	}
	if d := by["driving north"]; math.Abs(d.SpeedMps-10) > 0.2 || math.Abs(d.SpeedMaxMps-10) > 0.4 || math.Abs(d.DistanceM-200) > 3 || d.HeadingDeg > 1 && d.HeadingDeg < 359 {
		t.Errorf("driving %+v, want 10 m/s to the north", d)
	}
	if d := by["standing"]; d.SpeedMps > 0.05 || d.DistanceM > 1 {
		t.Errorf("standing %+v", d)
	}
	if d := by["told"]; d.SpeedMps != 7 || d.SpeedMaxMps != 7 || !math.IsNaN(d.DistanceM) {
		t.Errorf("told %+v, want 7 m/s and no distance", d)
	}
	if d := by["walking there"]; !math.IsNaN(d.SpeedMps) || math.Abs(d.HeadingDeg-90) > 0.1 || d.StartX > 0.11 || d.EndX < 0.49 {
		t.Errorf("walking %+v, want no speed, to the right", d)
	}
	if d := by["jumping"]; !math.IsNaN(d.SpeedMps) {
		t.Errorf("jumping %+v, want no such speed", d)
	}
	if c := cells[" car +0"]; c.QueueMax != 1 || c.SpeedN != 2 || math.Abs(c.SpeedSumMps-10) > 0.3 {
		t.Errorf("cars %+v, want one in the queue and one at 10 m/s", c)
	}
	if c := cells[" person +0"]; c.QueueMax != 1 || c.SpeedN != 0 {
		t.Errorf("people %+v, want one that stands", c)
	}
}

func TestCountersAndGauges(t *testing.T) {
	s := newScene(t, Config{})
	count := func(second, v float64, quality devices.Quality) {
		s.say(second, batch.WhatCount, func(r *batch.Detection) {
			r.Rule, r.Class, r.Value, r.Quality = "gate", batch.ClassCar, v, quality
		})
	}
	count(0, 100, 0)
	count(5, 103, 0)
	count(6, 103, 0)
	count(7, math.NaN(), 0)
	count(8, -4, 0)
	count(9, 2, 0)                        // began anew
	count(20, 50, devices.QualityRefresh) // said again: what was missed is not known to be of now
	count(21, 51, 0)
	s.say(10, batch.WhatCount, func(r *batch.Detection) { r.Rule, r.Value = "all", 7 })
	s.say(22, batch.WhatCount, func(r *batch.Detection) { r.Rule, r.Value = "all", 9 })
	gauge := func(second float64, what string, v float64) {
		s.say(second, what, func(r *batch.Detection) { r.Zone, r.Class, r.Value = "hall", batch.ClassPerson, v })
	}
	gauge(30, batch.WhatOccupancy, 4)
	gauge(60, batch.WhatOccupancy, 10)
	gauge(75, batch.WhatOccupancy, 0)
	gauge(80, batch.WhatQueue, 6)
	gauge(81, batch.WhatQueue, 2)
	s.say(200, batch.WhatFrame, nil)
	_, cells := s.end()
	if c := cells["gate car +0"]; c.In != 3+2+1 || c.Out != 0 {
		t.Errorf("gate %+v, want 6", c)
	}
	if c := cells["all  +0"]; c.In != 2 {
		t.Errorf("all %+v, want 2 of no class", c)
	}
	if c := cells["hall person +0"]; c.OccupancyAvg != 4 || c.OccupancyMax != 4 {
		t.Errorf("hall %+v, want 4", c)
	}
	if c := cells["hall person +1"]; c.OccupancyAvg != 2.5 || c.OccupancyMax != 10 || c.QueueMax != 6 {
		t.Errorf("hall %+v, want 10 for a quarter of the time and a queue of 6", c)
	}
	if c := cells["hall person +2"]; c.OccupancyMax != 0 || c.QueueMax != 2 {
		t.Errorf("hall %+v, want the queue still", c)
	}
}

func TestEventsOfZones(t *testing.T) {
	s := newScene(t, Config{})
	event := func(second float64, what, track, zone string, v float64, quality devices.Quality) {
		s.say(second, what, func(r *batch.Detection) {
			r.Track, r.Zone, r.Value, r.Class, r.Quality = track, zone, v, batch.ClassPerson, quality
		})
	}
	event(0, batch.WhatInside, "", "yard", 1, devices.QualityRefresh) // it was so before
	event(1, batch.WhatInside, "", "yard", 1, 0)
	event(10, batch.WhatInside, "", "yard", 0, 0)
	event(11, batch.WhatInside, "", "yard", 0, 0)
	event(20, batch.WhatInside, "", "yard", 1, 0)
	event(21, batch.WhatInside, "", "yard", 1, 0)
	event(200, batch.WhatInside, "", "yard", 0, 0)
	event(201, batch.WhatZoneEntered, "7", "door", 0, 0) // of a track without frames
	event(203, batch.WhatZoneLeft, "7", "door", 0, 0)
	event(204, batch.WhatZoneEntered, "", "door", 0, 0) // of nobody known, twice
	event(204.5, batch.WhatZoneEntered, "", "door", 0, 0)
	s.sees(210, "8", batch.ClassPerson)
	event(210, batch.WhatZoneEntered, "8", "door", 0, 0)
	s.sees(212, "8", batch.ClassPerson)
	event(214, batch.WhatZoneLeft, "8", "door", 0, 0)
	event(215, batch.WhatZoneLeft, "8", "door", 0, devices.QualityRefresh)
	tracks, cells := s.end()
	if c := cells["yard person +0"]; c.In != 1 || c.Out != 1 || c.DwellS != 10 || c.Seen != 2 || math.Abs(c.OccupancyAvg-50.0/60) > 1e-9 {
		t.Errorf("yard %+v, want one that was there and went, and one that came", c)
	}
	for _, minute := range []string{"1", "2"} {
		if c := cells["yard person +"+minute]; c.In != 0 || c.Out != 0 || c.OccupancyAvg != 1 || c.Seen != 1 {
			t.Errorf("yard minute %s %+v, want one all along", minute, c)
		}
	}
	if c := cells["yard person +3"]; c.Out != 1 || c.DwellS != 180 {
		t.Errorf("yard %+v, want a stay of 3 min", c)
	}
	if c := cells["door person +3"]; c.In != 4 || c.Out != 2 || c.DwellS != 6 || c.Visits != 2 {
		t.Errorf("door %+v, want 4 in, stays of 2 and 4 s", c)
	}
	if len(tracks) != 1 || tracks[0].Zones != "door" {
		t.Errorf("tracks %+v, want one through the door", tracks)
	}
}

func TestClasses(t *testing.T) {
	s := newScene(t, Config{})
	score := func(v float32, word string) func(*batch.Detection) {
		return func(r *batch.Detection) { r.Score, r.VendorClass = v, word }
	}
	for i := range 9 {
		s.sees(float64(i), "1", batch.ClassUnknown, score(1, "?"))
	}
	s.sees(9, "1", batch.ClassCar, score(0.4, "sedan"))
	s.sees(10, "1", batch.ClassTruck, score(0.3, "lorry"))
	s.sees(11, "1", batch.ClassCar, score(0.2, "suv"))
	tracks, _ := s.end()
	if len(tracks) != 1 || tracks[0].Class != batch.ClassCar || tracks[0].VendorClass != "sedan" || tracks[0].Score != 1 {
		t.Errorf("%+v, want a car", tracks)
	}
}

func TestPlatesAttributesAndExpiry(t *testing.T) {
	keep := Config{Keep: func(camera, class string, plate bool) (time.Duration, bool) {
		if camera != "cam" || class != batch.ClassCar {
			return 0, false
		}
		if plate {
			return 24 * time.Hour, true
		}
		return 48 * time.Hour, true
	}}
	for _, cfg := range []Config{{}, keep} {
		s := newScene(t, cfg)
		s.sees(0, "1", batch.ClassCar, func(r *batch.Detection) { r.Attributes, r.PlateHash, r.Score = `{"colour":"red"}`, "bad", 0.3 })
		s.say(1, batch.WhatPlate, func(r *batch.Detection) { r.Track, r.PlateHash, r.Score = "1", "good", 0.9 })
		s.sees(1, "2", batch.ClassCar)
		tracks, _ := s.end()
		if len(tracks) != 2 || tracks[0].PlateHash != "good" || tracks[0].Attributes != `{"colour":"red"}` || tracks[0].Purpose != "traffic" {
			t.Fatalf("%+v", tracks)
		}
		want := [2]time.Duration{time.Hour - time.Second, time.Hour}
		if cfg.Keep != nil {
			want = [2]time.Duration{24 * time.Hour, 48 * time.Hour}
		}
		for i, tr := range tracks {
			if got := tr.Expires.Sub(tr.End); got != want[i] {
				t.Errorf("track %d expires %v after its end, want %v", i, got, want[i])
			}
		}
	}
	s := newScene(t, Config{}) // a reader of plates alone
	for i := range 3 {
		s.say(float64(i), batch.WhatPlate, func(r *batch.Detection) { r.PlateHash, r.Rule, r.Direction = "x", "north", "in" })
	}
	if _, cells := s.end(); cells["north vehicle +0"].In != 3 || cells[" vehicle +0"].Seen != 3 {
		t.Errorf("%+v, want three vehicles", cells)
	}
}

func TestConsolidatedTracks(t *testing.T) {
	s := newScene(t, Config{})
	s.sees(0, "seen", batch.ClassUnknown)
	whole := func(second float64, track string, lasted float64) {
		s.say(second, batch.WhatTrack, func(r *batch.Detection) { r.Track, r.Class, r.Value, r.Score = track, batch.ClassPerson, lasted, 0.8 })
	}
	whole(10, "seen", 10)
	whole(70, "told", 20)
	whole(71, "absurd", -1)
	tracks, cells := s.end()
	if len(tracks) != 2 || tracks[0].Class != batch.ClassPerson || tracks[1].Start != at(noon+50_000) || tracks[1].End != at(noon+70_000) {
		t.Errorf("%+v, want two people", tracks)
	}
	if a, b := cells[" person +0"], cells[" person +1"]; a.In != 2 || a.Out != 1 || b.Out != 1 || b.DwellS != 20 || b.In != 0 {
		t.Errorf("%+v, %+v", a, b)
	}
}

func TestObjectsWithoutIDs(t *testing.T) {
	s := newScene(t, Config{})
	for second := range 60 {
		s.say(float64(second), batch.WhatFrame, nil)
		for range 3 - second/20 {
			s.sees(float64(second), "", batch.ClassPerson)
		}
	}
	s.say(60, batch.WhatFrame, nil)
	_, cells := s.end()
	if c := cells[" person +0"]; c.OccupancyMax != 3 || math.Abs(c.OccupancyAvg-2) > 0.01 || c.Seen != 0 {
		t.Errorf("%+v, want 2 on average", c)
	}
}

// A minute is told when the clock has passed it, when a late row comes, and when a camera falls
// silent; a greater version each time.
func TestWhenMinutesAreTold(t *testing.T) {
	s := newScene(t, Config{})
	line := func(second float64) {
		s.say(second, batch.WhatLineCrossed, func(r *batch.Detection) { r.Rule, r.Class = "l", batch.ClassCar })
	}
	told := func() (in int64, version uint64) {
		for _, c := range s.tb.counts {
			if c.Zone == "l" && c.Time.UnixMilli() == noon {
				return c.In, c.Version
			}
		}
		return 0, 0
	}
	line(1)
	s.e.Tick(0, 1000)
	line(69.9)
	if in, _ := told(); in != 0 {
		t.Fatalf("told %d before its time", in)
	}
	line(70)
	in, first := told()
	if in != 1 {
		t.Fatalf("told %d, want 1 when the clock has passed", in)
	}
	line(30)
	if in, again := told(); in != 2 || again <= first {
		t.Errorf("told %d by version %d after %d; want the late one", in, again, first)
	}
	line(249) // the clock is at 239
	line(59)
	if in, _ := told(); in != 3 {
		t.Errorf("told %d, want 3: three minutes are not over", in)
	}
	line(250)
	line(58)
	if in, _ := told(); in != 3 {
		t.Errorf("told %d, want 3 still", in)
	}
	if st := s.e.Stats(); st.Late != 2 || st.Dropped != 1 {
		t.Errorf("%+v, want two late and one dropped", st)
	}
	// Silence: nothing, then the minute under way, then what followed in it all the same.
	at := func(minute int64) batch.Count {
		s.tb.add(s.e.Take(0))
		for _, c := range s.tb.counts {
			if c.Zone == "l" && c.Time.UnixMilli() == noon+minute*minuteMs {
				return c
			}
		}
		return batch.Count{}
	}
	s.e.Tick(0, 10_000)
	s.e.Tick(0, 40_000)
	if c := at(4); c.In != 0 {
		t.Errorf("told %+v too early", c)
	}
	s.e.Tick(0, 80_000)
	c := at(4)
	if c.In != 2 {
		t.Errorf("told %+v, want 2 of silence", c)
	}
	line(251)
	line(311)
	if d := at(4); d.In != 3 || d.Version <= c.Version {
		t.Errorf("told %+v, want 3 after all", d)
	}
}

// A track told for its camera's silence goes on when it is seen again within its minute.
func TestSilenceIsNoEnd(t *testing.T) {
	s := newScene(t, Config{})
	s.sees(0, "1", batch.ClassCar)
	s.sees(5, "1", batch.ClassCar)
	s.e.Tick(0, 1)
	s.e.Tick(0, 100_000)
	s.tb.add(s.e.Take(0))
	if len(s.tb.tracks) != 1 {
		t.Fatalf("%d tracks told of silence, want 1", len(s.tb.tracks))
	}
	s.sees(40, "1", batch.ClassCar) // the camera had been cut off
	tracks, cells := s.end()
	if len(tracks) != 1 || tracks[0].Detections != 3 || tracks[0].End != at(noon+40_000) {
		t.Errorf("%+v, want one of all", tracks)
	}
	if c := cells[" car +0"]; c.In != 1 || c.Out != 1 || c.Visits != 1 || c.DwellS != 40 {
		t.Errorf("%+v, want one stay of 40 s", c)
	}
}

// A clock that leaps ahead once does not make everything after it late.
func TestALeapOfTheClock(t *testing.T) {
	s := newScene(t, Config{})
	s.sees(0, "1", batch.ClassCar)
	s.say(500, batch.WhatFrame, func(r *batch.Detection) { r.Received = noon + 1000 })
	for i := range 30 {
		s.sees(2+float64(i), "1", batch.ClassCar)
	}
	if st := s.e.Stats(); st.Late+st.Dropped != 0 {
		t.Errorf("%+v, want none late", st)
	}
	s.say(600, batch.WhatFrame, func(r *batch.Detection) { r.Received = noon + 40_000 })
	s.say(601, batch.WhatFrame, func(r *batch.Detection) { r.Received = noon + 41_000 })
	s.say(20, batch.WhatFrame, func(r *batch.Detection) { r.Received = noon + 42_000 })
	if st := s.e.Stats(); st.Dropped != 1 {
		t.Errorf("%+v, want the new clock believed when it is confirmed", st)
	}
}

func TestBounds(t *testing.T) {
	s := newScene(t, Config{MaxCameras: 2, MaxTracks: 100})
	for i := range 1000 {
		s.sees(float64(i)/100, fmt.Sprint(i), batch.ClassCar)
	}
	s.say(30, batch.WhatFrame, nil)
	if st := s.e.Stats(); st.Live > 100 || st.Evicted < 900 {
		t.Errorf("%+v, want at most 100 tracks", st)
	}
	for i := range 400 {
		s.sees(31, "z", batch.ClassCar, func(r *batch.Detection) { r.Zone = fmt.Sprint("zone", i) })
	}
	for i := range 5 {
		s.sees(40, "1", batch.ClassCar, func(r *batch.Detection) { r.Camera = fmt.Sprint("cam", i) })
	}
	d := &batch.Detections{}
	for i := range 30_000 {
		r := batch.Absent()
		r.Time, r.Received, r.Camera, r.What, r.Track = noon+50_000+int64(i%9000), noon+60_000, "many", batch.WhatObject, "1"
		d.Append(&r)
	}
	s.seq++
	s.e.Apply(0, s.seq, d)
	st := s.e.Stats()
	if st.Cameras != 2 || st.Forgotten != 4+0 && st.Forgotten < 3 || st.Refused == 0 || st.Hurried == 0 || st.Waiting > maxWaiting+5 {
		t.Errorf("%+v, want two cameras, zones refused and rows hurried", st)
	}
}

func FuzzRestore(f *testing.F) {
	rnd := rand.New(rand.NewPCG(1, 1))
	e := New(Config{})
	for i, d := range batches(rnd, street(rnd, "cam"), 50) {
		e.Apply(0, uint64(i+1), d)
	}
	data, _ := e.Snapshot(0, 100)
	f.Add(data[4 : len(data)-4])
	f.Fuzz(func(t *testing.T, body []byte) {
		// The checksum keeps accidents out; what is under it must not crash either.
		x := &coder{b: body, reading: true}
		s := newShard(&e.cfg, 0)
		var of int
		var floor uint64
		x.head(&of, &s.seq, &floor)
		s.code(x)
		if x.bad {
			return
		}
		e := New(Config{})
		e.shards[0] = s
		for i, d := range batches(rand.New(rand.NewPCG(1, 1)), street(rand.New(rand.NewPCG(1, 1)), "cam")[:200], 50) {
			e.Apply(0, s.seq+uint64(i)+1, d)
		}
	})
}

// What a minute was told of is told again when an object proves to be another, and what it was not
// is taken back.
func TestASecondLookAtAMinute(t *testing.T) {
	s := newScene(t, Config{})
	for second := 0; second < 290; second += 10 {
		class := batch.ClassUnknown
		if second > 100 {
			class = batch.ClassCar
		}
		s.sees(float64(second), "1", class)
		if second == 90 {
			if c := s.tb.counts["cam||unknown|"+fmt.Sprint(noon)]; c.Seen != 1 {
				t.Fatalf("%+v, want an unknown object meanwhile", s.tb.counts)
			}
		}
	}
	s.sees(310, "1", batch.ClassCar)
	c, was := s.tb.counts["cam||car|"+fmt.Sprint(noon)], s.tb.counts["cam||unknown|"+fmt.Sprint(noon)]
	if c.Seen != 1 || c.In != 1 || was.Seen != 0 || was.In != 0 || was.OccupancyMax != 0 {
		t.Errorf("a car %+v and an unknown %+v, want a car only", c, was)
	}
}

// When an object has left for good, its minute says so at the next minute's end.
func TestLeavingIsToldSoon(t *testing.T) {
	s := newScene(t, Config{})
	s.sees(1, "1", batch.ClassCar)
	s.say(71, batch.WhatFrame, nil)
	if c := s.tb.counts["cam||car|"+fmt.Sprint(noon)]; c.Seen != 1 || c.Out != 0 {
		t.Fatalf("%+v, want it there", c)
	}
	s.say(131, batch.WhatFrame, nil)
	if c := s.tb.counts["cam||car|"+fmt.Sprint(noon)]; c.Out != 1 || c.Visits != 1 {
		t.Errorf("%+v, want it gone", c)
	}
}

// Whether a row is late is a matter of the rows before it, not of the batch it came in.
func TestLateInTheSameBatch(t *testing.T) {
	for _, together := range []bool{false, true} {
		e := New(Config{})
		d := &batch.Detections{}
		for i, second := range []int64{100, 90, 91, 100} {
			r := batch.Absent()
			r.Time, r.Received, r.Camera, r.What, r.Track = noon+second*1000, noon+101_000, "cam", batch.WhatObject, "1"
			d.Append(&r)
			if !together {
				e.Apply(0, uint64(i+1), d)
				d = &batch.Detections{}
			}
		}
		if together {
			e.Apply(0, 1, d)
		}
		if st := e.Stats(); st.Late != 1 || st.Waiting != 3 {
			t.Errorf("together %v: %+v, want the one of 90 s late", together, st)
		}
	}
}
