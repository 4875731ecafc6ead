package mqtt

import (
	"context"
	"fmt"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/ingest/vds"
	"panormus/stream/batch"
	"panormus/stream/privacy/privacytest"
)

// A camera's state that the broker kept is news once: whoever subscribes again, or has lost all memory,
// is told how things are and that this is no news. Events are not told again at all.
func TestKeptStatesOfCamerasAreNewsOnce(t *testing.T) {
	m := startMosquitto(t)
	c := m.publisher()
	r := ingesttest.NewRegistry()
	if err := r.PutDevice(context.Background(), devices.Device{ID: "cam-1", Domain: "safety", Camera: privacytest.Camera("traffic")}); err != nil {
		t.Fatal(err)
	}
	pump := func(l *ingesttest.Log) *ingest.Pump {
		return ingesttest.NewPump(t, l, func(c *ingest.Config) {
			c.Registry, c.Video, c.Privacy, c.Routes = r, vds.Decoders(vds.Options{}), privacytest.Guard(), ingest.VideoRoutes()
		})
	}
	now := time.Now().UTC().Add(-time.Second)
	event := func(topic, data string) {
		publish(t, c, "cam-1/onvif-ej/RuleEngine/"+topic+"/&1/2/Zone1", 1, true,
			fmt.Sprintf(`{"UtcTime":%q,"Source":{"VideoSource":"1","Rule":"Zone1"},"Data":{"ObjectId":"7",%s}}`, now.Format(time.RFC3339Nano), data))
	}
	news := func(l *ingesttest.Log) (fresh, refreshed int) {
		for _, d := range l.Detections() {
			if d.Quality&uint8(devices.QualityRefresh) == 0 {
				fresh++
			} else if refreshed++; d.What != batch.WhatInside {
				t.Errorf("%s was told again, which is no state", d.What)
			}
		}
		return fresh, refreshed
	}

	first := ingesttest.NewLog()
	p := pump(first)
	s, stop := run(t, p, Config{URL: m.url(), ClientID: "p"})
	connected(t, s, 1)
	event("FieldDetector/ObjectsInside", `"IsInside":"true"`)
	event("LineDetector/Crossed", `"Direction":"Left"`) // no state, though the camera retains it
	ingesttest.Eventually(t, "both are news", func() bool { fresh, _ := news(first); return fresh == 2 })
	stop()
	s, stop = run(t, p, Config{URL: m.url(), ClientID: "p-again"})
	connected(t, s, 1)
	ingesttest.Eventually(t, "what is kept came again", func() bool {
		st := p.Stats()
		_, refreshed := news(first)
		return int(st.Ignored)+refreshed >= 2
	})
	if fresh, _ := news(first); fresh != 2 {
		t.Errorf("%d were news after subscribing again, want 2", fresh)
	}
	stop()

	second := ingesttest.NewLog()
	p = pump(second) // as after a restart that lost all memory
	s, stop = run(t, p, Config{URL: m.url(), ClientID: "p-new"})
	connected(t, s, 1)
	ingesttest.Eventually(t, "the state is refreshed", func() bool { _, refreshed := news(second); return refreshed == 1 })
	ingesttest.Eventually(t, "the event is ignored", func() bool { return p.Stats().Ignored >= 1 })
	publish(t, c, "cam-1/onvif-ej/RuleEngine/FieldDetector/ObjectsInside/&1/2/Zone1", 1, true, "") // the state ends
	ingesttest.Eventually(t, "the end is ignored", func() bool { return p.Stats().Ignored >= 2 })
	stop()
	if fresh, refreshed := news(second); fresh != 0 || refreshed != 1 || len(second.Rejected()) != 0 {
		t.Errorf("%d were news, %d refreshed, %d refused; want the state alone, refreshed", fresh, refreshed, len(second.Rejected()))
	}
}
