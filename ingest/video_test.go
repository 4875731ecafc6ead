package ingest_test

import (
	"bytes"
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/stream/batch"
	"panormus/stream/privacy"
	"panormus/stream/privacy/privacytest"
)

// secrets decodes every message as a plate and a name, and refuses those that say so.
func secrets(in *ingest.Input, out *ingest.Decoded) error {
	if bytes.HasPrefix(in.Payload, []byte("broken")) {
		return ingest.Rejectf(ingest.ReasonFormat, "offset 0: found text, want a detection")
	}
	if bytes.HasPrefix(in.Payload, []byte("panic")) {
		panic(string(in.Payload))
	}
	out.Device, out.Refresh = "cam-"+strings.TrimPrefix(in.Topic, "video/"), in.Retained
	d, err := out.Detect("plate")
	if err != nil {
		return err
	}
	d.Time, d.OwnTime = in.Received-1000, true
	d.Plate, d.Extra = out.Copy(in.Payload), []ingest.Attribute{{Name: "colour", Value: "red"}, {Name: "name", Value: "Rosalia"}}
	return nil
}

func videoPump(t *testing.T, l *ingesttest.Log, policies ...privacy.Policy) (*ingest.Pump, *devices.Registry) {
	r := ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) {
		c.Registry = r
		c.Video, c.Privacy = map[string]ingest.Decoder{"secrets": secrets}, privacytest.Guard(policies...)
		c.Routes = []ingest.Route{{Filter: "video/1", Decoder: "secrets", Domain: "safety"}, {Filter: "video/2", Decoder: "secrets", Domain: "safety"}}
	})
	return p, r
}

func putCamera(t *testing.T, r *devices.Registry, id string, c *devices.Camera) {
	t.Helper()
	if err := r.PutDevice(context.Background(), devices.Device{ID: id, Domain: "safety", Camera: c}); err != nil {
		t.Fatal(err)
	}
}

func TestVideoIsKeptAsItsPurposeAllows(t *testing.T) {
	policy := privacy.DefaultPolicy("traffic")
	policy.Attributes, policy.Plates = []string{"colour"}, privacy.PlatesSealed
	policy.Classes = map[string]devices.Duration{"": devices.Duration(time.Hour)}
	policy.PlateRetention = devices.Duration(time.Minute)
	l := ingesttest.NewLog()
	p, r := videoPump(t, l, policy)
	putCamera(t, r, "cam-1", privacytest.Camera("traffic"))
	putCamera(t, r, "cam-2", privacytest.Camera("of nobody"))
	s := p.Session("test", "client", nil, nil)
	now := time.Now().UnixMilli()
	for _, topic := range []string{"video/1", "video/2", "video/1"} { // the last one again
		if err := s.Handle(&ingest.Envelope{Topic: []byte(topic), Payload: []byte("AB123CD"), Received: now, Token: 1, Dup: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Handle(&ingest.Envelope{Topic: []byte("video/1"), Payload: []byte("ZZ999ZZ"), Received: now, Retained: true}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := l.Detections()
	slices.SortStableFunc(rows, func(a, b batch.Detection) int { return strings.Compare(a.Camera, b.Camera) })
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 2 of cam-1 and 1 of cam-2: %+v", len(rows), rows)
	}
	first, again, other := rows[0], rows[1], rows[2]
	if first.Attributes != `{"colour":"red"}` || len(first.PlateHash) != 64 || first.PlateSealed == "" || first.Purpose != "traffic" || first.Expires != now-1000+60_000 {
		t.Errorf("cam-1: %+v; want its colour, a hash, a sealed plate, and all that for a minute", first)
	}
	if again.Quality&devices.QualityRefresh == 0 || first.Quality != 0 {
		t.Errorf("qualities %d and %d, want the retained one marked", first.Quality, again.Quality)
	}
	if other.Attributes != "" || other.PlateHash == "" || other.PlateHash == first.PlateHash || other.PlateSealed != "" {
		t.Errorf("cam-2: %+v; want another hash and nothing else", other)
	}
	if st := p.Stats(); st.Detections != 3 || st.Duplicates != 1 || st.InFlight != 0 {
		t.Errorf("%+v, want 3 detections and a duplicate", st)
	}
}

func TestVideoLeavesNothingInTheDeadLetter(t *testing.T) {
	l := ingesttest.NewLog()
	p, r := videoPump(t, l)
	putCamera(t, r, "cam-1", &devices.Camera{Purpose: "traffic", Controller: "Comune"})
	s := p.Session("test", "client", nil, nil)
	for _, payload := range []string{"AB123CD", "broken AB123CD", "panic AB123CD"} {
		if err := s.Handle(&ingest.Envelope{Topic: []byte("video/1"), Payload: []byte(payload), Received: time.Now().UnixMilli()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, row := range l.Rejected() {
		reasons = append(reasons, row.Reason)
		if len(row.Payload) != 0 || strings.Contains(row.Detail, "AB123CD") {
			t.Errorf("%+v, want nothing of the message", row)
		}
		if row.Reason == "no_purpose" && !strings.Contains(row.Detail, "no legal_basis, dpia_ref") {
			t.Errorf("detail %q, want what is missing", row.Detail)
		}
	}
	if len(l.Detections()) != 0 || !slices.Equal(reasons, []string{"no_purpose", "format", "internal"}) {
		t.Errorf("reasons %v, %d detections; want none kept", reasons, len(l.Detections()))
	}
}

// A camera that tells no places has those of its homography, by where objects stand.
func TestVideoPlacesAreThoseOfTheGround(t *testing.T) {
	l := ingesttest.NewLog()
	r := ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) {
		c.Registry, c.Privacy = r, privacytest.Guard()
		c.Video = map[string]ingest.Decoder{"boxes": func(in *ingest.Input, out *ingest.Decoded) error {
			for _, told := range []bool{false, true} {
				d, err := out.Detect(batch.WhatObject)
				if err != nil {
					return err
				}
				d.BoxLeft, d.BoxTop, d.BoxRight, d.BoxBottom = 0.4, 0.1, 0.6, 0.8
				if told {
					d.Lat, d.Lon = 1, 2
				}
			}
			_, err := out.Detect(batch.WhatFrame)
			return err
		}}
		c.Routes = []ingest.Route{{Filter: "video/+", Decoder: "boxes", Domain: "safety"}}
	})
	camera := privacytest.Camera("traffic")
	camera.Homography = []float64{0, -0.001, 38.116, 0.001, 0, 13.361, 0, 0, 1}
	putCamera(t, r, "1", camera)
	s := p.Session("test", "client", nil, nil)
	if err := s.Handle(&ingest.Envelope{Topic: []byte("video/1"), Payload: []byte("x"), Received: time.Now().UnixMilli()}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := l.Detections()
	if len(rows) != 3 || math.Abs(rows[0].Lat-38.1152) > 1e-9 || math.Abs(rows[0].Lon-13.3615) > 1e-9 || rows[1].Lat != 1 || rows[1].Lon != 2 || !math.IsNaN(rows[2].Lat) {
		t.Errorf("%+v; want a place of the ground, the one told, and none", rows)
	}
}
