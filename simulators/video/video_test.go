package video

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// evening is a working day's, so that there are rush hour and crowd.
var evening = time.Date(2026, time.November, 24, 17, 0, 0, 0, time.UTC)

// played is what cameras sent.
func played(t *testing.T, c Config, from time.Time, d time.Duration) (*System, []Message) {
	t.Helper()
	s := New(c)
	var all []Message
	if err := s.Play(from, from.Add(d), func(m Message) error { all = append(all, m); return nil }); err != nil {
		t.Fatal(err)
	}
	return s, all
}

func TestSameSeedSameCameras(t *testing.T) {
	a, one := played(t, Config{Seed: 5, Cameras: 40}, evening, 5*time.Minute)
	b, two := played(t, Config{Seed: 5, Cameras: 40}, evening, 5*time.Minute)
	if !reflect.DeepEqual(a.Devices(), b.Devices()) || !reflect.DeepEqual(one, two) || !reflect.DeepEqual(a.Stats(), b.Stats()) || len(one) == 0 {
		t.Errorf("the same seed made other cameras: %d and %d messages", len(one), len(two))
	}
	if c, three := played(t, Config{Seed: 6, Cameras: 40}, evening, 5*time.Minute); reflect.DeepEqual(a.Devices(), c.Devices()) || reflect.DeepEqual(one, three) {
		t.Error("another seed made the same cameras")
	}
}

func TestDevicesAreAcceptable(t *testing.T) {
	s := New(Config{Seed: 1})
	ids, purposes, lawless := map[string]bool{}, map[string]int{}, 0
	for _, d := range s.Devices() {
		if err := d.Check(); err != nil {
			t.Error(err)
		}
		if ids[d.ID] || d.Zone == "" || *d.Lat < 38 || *d.Lat > 38.3 || *d.Lon < 13.2 || *d.Lon > 13.5 {
			t.Errorf("%s in zone %q is twice there or not in Palermo: %v, %v", d.ID, d.Zone, *d.Lat, *d.Lon)
		}
		ids[d.ID] = true
		if c := d.Camera; c == nil {
			lawless++
		} else {
			purposes[c.Purpose]++
			if c.LegalBasis == "" || c.Controller == "" || c.DPIARef == "" {
				t.Errorf("%s: ground %+v", d.ID, c)
			}
		}
	}
	if len(ids) != 200 || len(purposes) != 4 || lawless != 8 {
		t.Errorf("%d cameras, purposes %v, %d without; want 200, 4, 8", len(ids), purposes, lawless)
	}
}

// readable reports why payload is not what its topic says.
func readable(topic string, payload []byte) error {
	switch {
	case strings.HasSuffix(topic, "/dahua"):
		rest, data, ok := strings.Cut(string(payload), ";data=")
		if !ok || !strings.HasPrefix(rest, "Code=") {
			return fmt.Errorf("no event in %s", payload)
		}
		payload = []byte(data)
	case strings.HasSuffix(topic, "/onvif-xml"), strings.HasSuffix(topic, "/hikvision"):
		for d := xml.NewDecoder(bytes.NewReader(payload)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	if !json.Valid(payload) {
		return fmt.Errorf("no JSON: %s", payload)
	}
	return nil
}

// TestMessages looks at an hour of all formats: what is no garbage is well-formed, and the books
// have some of everything.
func TestMessages(t *testing.T) {
	s, all := played(t, Config{Seed: 2, Cameras: 80}, evening, 20*time.Minute)
	garbage, cleared, retained, largest := int64(0), int64(0), 0, 0
	for _, m := range all {
		if m.Retain {
			retained++
		}
		if len(m.Payload) == 0 {
			cleared++
			continue
		}
		largest = max(largest, len(m.Payload))
		if err := readable(m.Topic, m.Payload); err != nil {
			garbage++
		}
	}
	sum := Book{Rows: map[string]int64{}}
	messages := int64(0)
	for _, b := range s.Stats().Books {
		messages += b.Messages
		for what, n := range b.Rows {
			sum.Rows[what] += n
		}
		sum.Frames += b.Frames
		sum.Garbage += b.Garbage
		sum.Cleared += b.Cleared
		sum.Repeated += b.Repeated
		sum.NoPurpose += b.NoPurpose
		sum.Persons += b.Persons
		sum.Riders += b.Riders
		sum.Vehicles += b.Vehicles
		sum.In += b.In
		sum.Out += b.Out
		sum.WrongWay += b.WrongWay
		sum.Loiterers += b.Loiterers
		sum.Plates += b.Plates
		if b.Fault == "lawless" && (len(b.Rows) > 0 || b.NoPurpose == 0) {
			t.Errorf("book %+v, want all refused", b)
		}
	}
	t.Logf("%d messages, %d retained, largest %d bytes: %+v; %d plates, %d names", len(all), retained, largest, sum, len(s.Plates()), len(s.Names()))
	if messages != int64(len(all)) || garbage != sum.Garbage || cleared != sum.Cleared || retained == 0 {
		t.Errorf("%d messages, %d no good, %d empty, %d retained; books have %d, %d, %d", len(all), garbage, cleared, retained, messages, sum.Garbage, sum.Cleared)
	}
	for _, what := range []string{
		objectSeen, emptyFrame, trackEnd, trackRename, trackSplit, lineCrossed, zoneEntered, zoneLeft, insideState, loitering, counted, tamperState, lossState, plateRead,
	} {
		if sum.Rows[what] == 0 {
			t.Errorf("nothing of kind %s was sent", what)
		}
	}
	if sum.Garbage == 0 || sum.Cleared == 0 || sum.Repeated == 0 || sum.NoPurpose == 0 || sum.WrongWay == 0 || sum.Loiterers == 0 || sum.Riders == 0 || sum.Plates == 0 {
		t.Errorf("%+v; want some of everything", sum)
	}
	if rate := float64(len(all)) / 1200 * Natural / 80; rate > 300 || rate < 130 {
		t.Errorf("%.0f messages/s at the busiest hour, want 130 to 300", rate)
	}
	plate := regexp.MustCompile(`(?i)^[A-Z]{2}[0-9]{3}[A-Z]{2}$`)
	for _, p := range s.Plates() {
		if !plate.MatchString(p) {
			t.Errorf("plate %q", p)
		}
	}
}

// TestWhatIsPersonalIsKnown searches all messages for plates: Plates must have each of them.
func TestWhatIsPersonalIsKnown(t *testing.T) {
	s, all := played(t, Config{Seed: 3, Cameras: 60}, evening, 3*time.Minute)
	known := map[string]bool{}
	for _, p := range s.Plates() {
		known[p] = true
	}
	found := map[string]bool{}
	plate := regexp.MustCompile(`\b(?i:[A-Z]{2}[0-9]{3}[A-Z]{2})\b`)
	for _, m := range all {
		for _, p := range plate.FindAllString(string(m.Payload), -1) {
			if found[p] = true; !known[p] {
				t.Fatalf("Plates lacks %q of %s", p, m.Payload)
			}
		}
	}
	if len(found) != len(known) || len(found) == 0 {
		t.Errorf("%d plates were sent, Plates has %d", len(found), len(known))
	}
	var sent strings.Builder
	for _, m := range all {
		sent.Write(m.Payload)
	}
	for _, name := range s.Names() {
		if !strings.Contains(sent.String(), name) {
			t.Errorf("nobody sent %q", name)
		}
	}
}

// TestObjectsAreCredible follows objects through the pictures: boxes lie in them and nothing jumps.
func TestObjectsAreCredible(t *testing.T) {
	s := New(Config{Seed: 4, Cameras: 40})
	for i := range s.cameras {
		w := s.watcher(i)
		last := map[uint64]box{}
		for at := evening.UnixMilli(); at < evening.Add(10*time.Minute).UnixMilli(); at += 200 {
			for _, v := range w.look(at).seen {
				b := v.box
				if !(b.left >= 0 && b.left < b.right && b.right <= 1 && b.top >= 0 && b.top < b.bottom && b.bottom <= 1) {
					t.Fatalf("%s: box %+v of %+v", w.c.device.ID, b, v.object)
				}
				if was, ok := last[v.id]; ok && v.silentFrom == 0 && (b.x()-was.x() > 0.2 || was.x()-b.x() > 0.2) {
					t.Fatalf("%s: from %+v to %+v in 0.2 s", w.c.device.ID, was, b)
				}
				last[v.id] = b
			}
		}
		if w.book.In+w.book.Out == 0 || w.book.Persons+w.book.Vehicles+w.book.Riders < w.book.In+w.book.Out {
			t.Errorf("book %+v", w.book)
		}
	}
}
