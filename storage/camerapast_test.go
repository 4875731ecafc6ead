package storage_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"panormus/stream/batch"
)

func TestCamerasAt(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	count := func(camera string, minute int, zone, class string, in, seen int64) batch.Count {
		return batch.Count{Time: at(minute), Received: at(minute + 1), Camera: camera, Zone: zone, Class: class, In: in, Out: 1, Seen: seen, OccupancyAvg: 1.5, OccupancyMax: 2, QueueMax: 2, Purpose: "traffic", Version: 1}
	}
	again := count("a", 11, "", "car", 9, 9)
	again.Version = 2
	object := seenAt("a", "1", "car", at(11).Add(time.Second), 0.5, 0.5)
	later := seenAt("a", "1", "car", at(11).Add(2*time.Second), 0.5, 0.5)
	sign := func(what string, minute int, value float64) batch.Detection {
		d := seenAt("c", "", "", at(minute), 0, 0)
		d.What, d.Value = what, value
		return d
	}
	db := videoStored(t, []batch.Detection{object, object, later, sign(batch.WhatTamper, 5, 0), sign(batch.WhatTamper, 9, math.NaN()), sign(batch.WhatSignalLoss, 12, 1)}, nil, []batch.Count{
		count("a", 11, "", "car", 8, 9), again, count("a", 11, "gate", "car", 7, 7),
		count("a", 11, "", "person", 2, 4),                               // fewer than k
		count("a", 10, "", "bus", 1, 2), count("a", 11, "", "bus", 6, 6), // it would be the rest of its five minutes
		count("a", 9, "", "van", 1, 2), count("a", 11, "", "van", 6, 6), // another five minutes
		count("a", 12, "", "truck", 6, 6), count("a", -49, "", "bicycle", 6, 6), // later; an hour ago
		count("b", 11, "", "person", 2, 4), count("d", -48, "", "bicycle", 99, 99), // k of b is 3
	})
	found, err := db.CamerasAt(t.Context(), at(11).Add(59*time.Second), func(camera string) int {
		if camera == "b" {
			return 3
		}
		return 5
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for i, c := range found {
		got[c.Camera] = i
	}
	if len(got) != 4 {
		t.Fatalf("cameras %+v, want a, b, c and d", found)
	}
	a := found[got["a"]]
	slices.Sort(a.Classes)
	if !slices.Equal(a.Classes, []string{"bus", "car", "person", "van"}) || !a.Working || a.Frames != 2 || a.Tampered != nil {
		t.Errorf("a is %+v, want four classes and two frames", a)
	}
	in := map[string]int64{}
	for _, c := range a.Cells {
		in[c.Class] = c.In
		if c.Hidden {
			in[c.Class] = -1
		}
	}
	for class, want := range map[string]int64{"car": 9, "person": -1, "bus": -1, "van": 6} {
		if in[class] != want {
			t.Errorf("%s in %d, want %d (-1: hidden); cells %+v", class, in[class], want, a.Cells)
		}
	}
	if b := found[got["b"]]; len(b.Cells) != 1 || b.Cells[0].Hidden || b.Cells[0].In != 2 || b.Cells[0].Present != 1.5 || b.Cells[0].QueueMax != 2 || b.Working {
		t.Errorf("b is %+v, want its people, and nothing known of its frames", b)
	}
	if c := found[got["c"]]; c.Tampered == nil || !*c.Tampered || c.SignalLoss != nil || c.Working {
		t.Errorf("c is %+v, want it tampered with, the newest word that was said by then", c)
	}
	if d := found[got["d"]]; len(d.Cells) != 0 || !slices.Equal(d.Classes, []string{"bicycle"}) {
		t.Errorf("d is %+v, want bicycles that were counted within the hour", d)
	}
}
