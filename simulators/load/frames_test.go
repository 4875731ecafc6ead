package load

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

// frame is com.axis.scene.frame.v1, as far as it is sent.
type frame struct {
	Detections []struct {
		Box struct{ Bottom, Left, Right, Top float64 } `json:"bounding_box"`
		ID  string                                     `json:"object_track_id"`
	}
	Timestamp time.Time
	Events    []struct {
		ID   string `json:"object_track_id"`
		Type string
	} `json:"track_events"`
}

func readFrame(t *testing.T, packet []byte) (f frame) {
	t.Helper()
	size, lead, err := length(packet[1:])
	if err != nil || 1+lead+size != len(packet) {
		t.Fatalf("a packet of %d bytes says it has %d", len(packet), 1+lead+size)
	}
	if err := json.Unmarshal(packet[bytes.IndexByte(packet, '{'):], &f); err != nil {
		t.Fatalf("%s: %v", packet, err)
	}
	return f
}

// TestFrames reads a camera's frames as a receiver does and compares them with what the books say.
func TestFrames(t *testing.T) {
	e := newFrameEncoder("load", 1, 7)
	rows, tracks, live := int64(0), map[string]float64{}, map[string]bool{}
	for n := uint32(1); n <= 450; n++ {
		at := int64(1732311111123) + 100*int64(n)
		f := readFrame(t, e.append(nil, message{device: 42, n: n, ts: at}, 9, false))
		if len(f.Detections) != FrameObjects || f.Timestamp.UnixMilli() != at {
			t.Fatalf("frame %d has %d objects, at %v; want %d at %d", n, len(f.Detections), f.Timestamp, FrameObjects, at)
		}
		now := map[string]bool{}
		for _, d := range f.Detections {
			b := d.Box
			if !(b.Left >= 0 && b.Left < b.Right && b.Right <= 1 && b.Top >= 0 && b.Top < b.Bottom && b.Bottom <= 1) {
				t.Fatalf("frame %d: box %+v", n, b)
			}
			if x, ok := tracks[d.ID]; ok && (b.Left-x > 0.01 || x-b.Left > 0.01 || !live[d.ID]) {
				t.Fatalf("frame %d: track %s was at %v and is at %v, live before: %t", n, d.ID, x, b.Left, live[d.ID])
			}
			tracks[d.ID], now[d.ID] = b.Left, true
		}
		for _, end := range f.Events {
			if end.Type != "TrackEnded" || !live[end.ID] || now[end.ID] {
				t.Fatalf("frame %d: event %+v", n, end)
			}
			delete(live, end.ID)
		}
		for id := range live {
			if !now[id] {
				t.Fatalf("frame %d: track %s went without an end", n, id)
			}
		}
		live = now
		rows += int64(len(f.Detections) + len(f.Events))
		if rows != FrameRows(n) || int64(len(tracks)) != FrameTracks(n) {
			t.Fatalf("%d rows and %d tracks in %d frames; the books say %d and %d", rows, len(tracks), n, FrameRows(n), FrameTracks(n))
		}
	}
}

// TestFrameEncoderHoldsNothing wants a frame's bytes to depend on the frame alone.
func TestFrameEncoderHoldsNothing(t *testing.T) {
	shared, r := newFrameEncoder("load", 1, 1), rand.New(rand.NewPCG(1, 2))
	for range 500 {
		m := message{device: r.Int32N(9_999_999), n: uint32(1 + r.Uint64N(1<<r.Uint64N(31))), ts: 1732311111123 + r.Int64N(1e12)}
		got, want := shared.append(nil, m, 3, true), newFrameEncoder("load", 1, 1).append(nil, m, 3, true)
		if !bytes.Equal(got, want) {
			t.Fatalf("%+v:\n%q\nalone:\n%q", m, got, want)
		}
	}
}

func TestCamerasAreAcceptable(t *testing.T) {
	for _, d := range Cameras("load", 300) {
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRunFrames(t *testing.T) {
	s := newSink(t, true, nil)
	r, err := Run(t.Context(), Options{Broker: s.addr, Connections: 3, InFlight: 20, QoS: 1, Video: true, Devices: 10, Count: 2000})
	if err != nil {
		t.Fatal(err)
	}
	if r.Acked != 2000 || r.Unacked != 0 || len(s.kept) != 2000 || s.kept[0].topic[:9] != "vds/load-" {
		t.Errorf("%v; the sink has %d", r, len(s.kept))
	}
}

func BenchmarkFrame(b *testing.B) {
	e := newFrameEncoder("load", 1, 1)
	buf := make([]byte, 0, 1<<16)
	m := message{ts: 1732311111123}
	b.ReportAllocs()
	for b.Loop() {
		m.device, m.n = (m.device+1)%1000, m.n+1
		if len(buf) > 1<<16-4096 {
			buf = buf[:0]
		}
		buf = e.append(buf, m, uint16(m.n), false)
	}
}
