package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/simulators/video"
	"panormus/stream/batch"
	"panormus/stream/privacy/privacytest"
	"panormus/stream/tracks"
)

// nearly reports whether found is true up to a share of it, and two more.
func nearly(found, truth int64, share float64) bool {
	off := float64(found - truth)
	return max(off, -off) <= share*float64(truth)+2
}

// TestSimulatedCamerasAreCounted has cameras of every make tell of a rush hour through the decoders to
// the engine of tracks, and holds what it counts against what was there. Renames, gaps, heads, riders,
// and counters that begin anew must not make others of it.
//
// Formats that tell of renames are right to four of a hundred: riders that the camera never makes out
// are somebody of their own. Those that cannot tell of renames count somebody twice who gets another
// number, which is one of seven here.
func TestSimulatedCamerasAreCounted(t *testing.T) {
	cameras := video.New(video.Config{Seed: 12, Cameras: 20, Rate: 2})
	sizes := vdsConfig{Frames: cameras.Frames()}
	decoders, _, err := sizes.decoders()
	if err != nil {
		t.Fatal(err)
	}
	l, r := ingesttest.NewLog(), ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) {
		c.Fingerprints = 1 << 20
		c.Registry, c.Video, c.Privacy, c.Routes = r, decoders, privacytest.Guard(), ingest.VideoRoutes()
	})
	for _, d := range cameras.Devices() {
		if err := r.PutDevice(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
	s := p.Session("test", "cameras", nil, nil)
	evening := time.Date(2025, time.November, 25, 17, 10, 0, 0, time.UTC)
	sent := uint64(0)
	// Counters are reset in between.
	err = cameras.Play(evening, evening.Add(20*time.Minute), func(m video.Message) error {
		sent++
		return s.Handle(&ingest.Envelope{Topic: []byte(m.Topic), Payload: m.Payload, Received: evening.Add(time.Hour).UnixMilli(), Token: sent, PacketID: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := countedBy(tracks.New(tracks.Config{Registry: r}), l.Detections(), evening)
	for _, b := range cameras.Stats().Books {
		f := found[b.Camera]
		objects, in, out := b.Persons+b.Riders+b.Vehicles, b.In, b.Out
		told := fmt.Sprintf("%s, %s %s: of %d people, %d riders, %d vehicles, of whom %d came in and %d went out, ", b.Camera, b.Format, b.Fault, b.Persons, b.Riders, b.Vehicles, b.In, b.Out)
		if b.Fault == "lawless" {
			if f != nil {
				t.Errorf("%sit counted %+v, want nothing: nobody may", told, f)
			}
			continue
		}
		if f == nil {
			t.Errorf("%sit counted nothing", told)
			continue
		}
		twice, riders := 0.04, 0.05
		switch b.Format {
		case "onvif-json", "deepstream":
			twice = 0.2
		case "axis-scene", "axis-scene-beta":
			riders = 0.15
		}
		want := func(what string, got, truth int64, share float64) {
			t.Helper()
			if !nearly(got, truth, share) {
				t.Errorf("%s%d %s, want %d: %v", told, got, what, truth, f)
			}
		}
		switch b.Format {
		case "axis-scene", "axis-scene-beta", "onvif-xml", "onvif-json", "deepstream", "frigate":
			want("objects", f.in(""), objects, twice)
			want("heads", f[[2]string{"", batch.ClassHead}][0], 0, 0.03)
			want("over the line", f.in("centre"), in, riders)
			want("back over the line", f.out("centre"), out, riders)
		case "axis-event":
			want("by the counters", f.in("Device1Scenario1"), in+out, 0.03)
		case "hikvision":
			want("over the line", f.in("line 1"), in+out, 0.03)
			want("into the zone", f.in("1"), objects, 0.1)
		case "dahua":
			line := f.zone("; lato mare")
			want("over the line", f.in(line), in, 0.03)
			want("back over the line", f.out(line), out, 0.03)
		}
		if b.Format == "frigate" || b.Format == "deepstream" {
			want("people", f[[2]string{"", batch.ClassPerson}][0], b.Persons, twice)
		}
		if b.Format == "onvif-json" {
			if n := f[[2]string{"Count1", ""}][0]; !nearly(n, in+out, 0.05) {
				t.Errorf("%sit counted %d by the camera's own counter, want %d", told, n, in+out)
			}
		}
	}
}

// A counts is how many came in and went out, by zone or line and class.
type counts map[[2]string][2]int64

func (c counts) sum(zone string, way int) (n int64) {
	for key, v := range c {
		if key[0] == zone {
			n += v[way]
		}
	}
	return n
}

func (c counts) in(zone string) int64  { return c.sum(zone, 0) }
func (c counts) out(zone string) int64 { return c.sum(zone, 1) }

// zone is the one whose name ends so.
func (c counts) zone(end string) string {
	for key := range c {
		if strings.HasSuffix(key[0], end) {
			return key[0]
		}
	}
	return end
}

// countedBy feeds an engine as the log would and sums its cells by camera.
func countedBy(engine *tracks.Engine, rows []batch.Detection, evening time.Time) map[string]counts {
	slices.SortStableFunc(rows, func(a, b batch.Detection) int { return int(a.Time - b.Time) })
	seq := uint64(0)
	for part := range slices.Chunk(rows, 2000) {
		var d batch.Detections
		for i := range part {
			d.Append(&part[i])
		}
		seq++
		engine.Apply(0, seq, &d)
	}
	for minute := range 180 { // of silence
		engine.Tick(0, evening.Add(2*time.Hour+time.Duration(minute)*time.Minute).UnixMilli())
	}
	_, cells := engine.Take(0)
	type place struct {
		camera, zone, class string
		minute              int64
	}
	newest := map[place]batch.Count{}
	for _, c := range cells {
		at := place{c.Camera, c.Zone, c.Class, c.Time.Unix()}
		if was, ok := newest[at]; !ok || c.Version >= was.Version {
			newest[at] = c
		}
	}
	found := map[string]counts{}
	for at, c := range newest {
		if found[at.camera] == nil {
			found[at.camera] = counts{}
		}
		key := [2]string{at.zone, at.class}
		was := found[at.camera][key]
		found[at.camera][key] = [2]int64{was[0] + c.In, was[1] + c.Out}
	}
	return found
}
