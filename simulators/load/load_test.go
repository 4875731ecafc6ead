package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPacket(t *testing.T) {
	e := newEncoder("lighting", "load", 5, 1, 7)
	got := e.append(nil, message{device: 42, n: 1, ts: 1732311111123}, 0x1234, false)
	const topic = "city/lighting/load-0000042/telemetry"
	size, lead, err := length(got[1:])
	if got[0] != 0x32 || err != nil || 1+lead+size != len(got) {
		t.Fatalf("packet begins % x with %d bytes in all: %v; want 32 and the length of the rest", got[:3], len(got), err)
	}
	head := got[1+lead:]
	if s := string(head[2 : 2+len(topic)]); head[0] != 0 || int(head[1]) != len(topic) || s != topic {
		t.Errorf("topic %q, want %q", s, topic)
	}
	if pid := head[2+len(topic) : 4+len(topic)]; !bytes.Equal(pid, []byte{0x12, 0x34}) {
		t.Errorf("packet identifier % x, want 12 34", pid)
	}
	payload := string(head[4+len(topic):])
	if !strings.HasPrefix(payload, `{"ts":1732311111123,"power_w":`) || !strings.HasSuffix(payload, `,"n":1}`) {
		t.Errorf("payload %s", payload)
	}
	if e.payloadBytes() != len(payload) {
		t.Errorf("payloadBytes = %d, want %d", e.payloadBytes(), len(payload))
	}
	dup := e.append(nil, message{device: 42, n: 1, ts: 1732311111123}, 0x1234, true)
	if dup[0] != 0x3a || !bytes.Equal(dup[1:], got[1:]) {
		t.Errorf("resent packet begins %x, want 3a and the same bytes after it", dup[0])
	}
}

// TestEncoderHoldsNothing encodes messages in a jumbled order with one encoder and each with one of
// its own: a message's bytes must depend on the message alone.
func TestVehiclesDrive(t *testing.T) {
	e := newEncoder("mobility", "bus", 3, 0, 7, vehicle...)
	at := func(n uint32) (lat, lon float64) {
		t.Helper()
		b := e.append(nil, message{device: 3, n: n, ts: 1_764_000_000_000}, 0, false)
		var said struct {
			Lat float64 `json:"position_lat"`
			Lon float64 `json:"position_lon"`
		}
		if err := json.Unmarshal(b[bytes.IndexByte(b, '{'):], &said); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		return said.Lat, said.Lon
	}
	lat, lon := at(1)
	if lat < 38.05 || lat > 38.2 || lon < 13.28 || lon > 13.43 {
		t.Errorf("it is at %v, %v; want it in Palermo", lat, lon)
	}
	north, east := at(2)
	if dy, dx := north-lat, east-lon; dy < 0.00008 || dy > 0.0001 || dx < 0.00008 || dx > 0.0001 {
		t.Errorf("it moved by %v, %v degrees; want 0.00009 both", dy, dx)
	}
}

func TestEncoderHoldsNothing(t *testing.T) {
	for _, metrics := range []int{1, 2, 5, 40} {
		shared := newEncoder("lighting", "load", metrics, 0, 1)
		r := rand.New(rand.NewPCG(1, 2))
		for range 500 {
			m := message{device: r.Int32N(9_999_999), n: uint32(r.Uint64N(1 << r.Uint64N(32))), ts: 1732311111123 + r.Int64N(1e9)}
			got := shared.append(nil, m, 0, false)
			want := newEncoder("lighting", "load", metrics, 0, 1).append(nil, m, 0, false)
			if !bytes.Equal(got, want) {
				t.Fatalf("metrics=%d %+v:\n%q\nalone:\n%q", metrics, m, got, want)
			}
			body := got[bytes.IndexByte(got, '{'):]
			var v map[string]float64
			if err := json.Unmarshal(body, &v); err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			if len(v) != metrics+1 || v["n"] != float64(m.n) || v["ts"] != float64(m.ts) {
				t.Fatalf("%+v became %s", m, body)
			}
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	var all []time.Duration
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		d := time.Duration(r.Uint64N(1<<r.Uint64N(36))) * time.Microsecond
		all = append(all, d)
		h.add(d, 1)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.95, 0.99, 0.999, 1} {
		want := all[max(int(q*float64(len(all))+0.5)-1, 0)]
		got := h.quantile(q)
		if got < want || float64(got) > float64(want)*(1+1.0/64)+1000 {
			t.Errorf("quantile(%v) = %v, want %v or at most 1/64 more", q, got, want)
		}
	}
	if h.max != all[len(all)-1] || h.quantile(1) != h.max {
		t.Errorf("max %v, quantile(1) %v, want %v", h.max, h.quantile(1), all[len(all)-1])
	}
}

// check holds a run's report and books against what the sink kept.
func check(t *testing.T, r Report, kept []publish, want int64) {
	t.Helper()
	if r.Sent != want || r.Unexpected != 0 {
		t.Errorf("%d sent, %d unexpected acks; want %d, 0", r.Sent, r.Unexpected, want)
	}
	if r.QoS == 1 && r.Acked+r.Unacked != r.Sent {
		t.Errorf("%d acked + %d unacked, want them to be the %d sent", r.Acked, r.Unacked, r.Sent)
	}
	type key struct {
		device string
		n      uint32
	}
	byN := map[key]string{}
	byTS := map[string]uint32{}
	for _, p := range kept {
		m := decode(t, p)
		device := strings.Split(p.topic, "/")[2]
		k := key{device, m.n()}
		if was, ok := byN[k]; ok && was != p.payload {
			t.Fatalf("%v said %s and then %s", k, was, p.payload)
		}
		byN[k] = p.payload
		at := fmt.Sprint(device, " ", m.TS)
		if n, ok := byTS[at]; ok && n != k.n {
			t.Fatalf("%s twice, for n %d and %d", at, n, k.n)
		}
		byTS[at] = k.n
	}
	unacked := map[key]bool{}
	for _, m := range r.UnackedMessages {
		unacked[key{m.Device, m.N}] = true
	}
	var sent int64
	for _, b := range r.Books {
		sent += int64(b.Sent)
		missing := uint32(0)
		for n := uint32(1); n <= b.Sent; n++ {
			k := key{b.Device, n}
			if unacked[k] {
				missing++
			} else if _, ok := byN[k]; !ok {
				t.Fatalf("%v is acked by the books, but the sink has it not", k)
			}
		}
		if r.QoS == 1 && b.Acked != b.Sent-missing {
			t.Errorf("%s: %d acked of %d with %d unacked", b.Device, b.Acked, b.Sent, missing)
		}
	}
	if sent != r.Sent {
		t.Errorf("the books hold %d sent, the report %d", sent, r.Sent)
	}
}

func (m telemetry) n() uint32 { return m.N }

func TestRun(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
	}{
		{"one at a time", Options{Connections: 1, InFlight: 1, QoS: 1, Devices: 1, Count: 300}},
		{"windows", Options{Connections: 7, InFlight: 100, QoS: 1, Devices: 50, Count: 20_003}},
		{"paced", Options{Connections: 4, InFlight: 10, QoS: 1, Devices: 9, Count: 400, Rate: 4000}},
		{"unacknowledged", Options{Connections: 3, QoS: 0, Devices: 10, Count: 10_000}},
		{"unacknowledged, paced", Options{Connections: 3, QoS: 0, Devices: 10, Count: 500, Rate: 5000}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSink(t, true, nil)
			tc.o.Broker = s.addr
			r, err := Run(t.Context(), tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Unacked != 0 || r.Errors != 0 || r.Resent != 0 {
				t.Errorf("%d unacked, %d errors, %d resent; want none: %s", r.Unacked, r.Errors, r.Resent, r.FirstError)
			}
			check(t, r, s.kept, tc.o.Count)
			if int64(len(s.kept)) != tc.o.Count {
				t.Errorf("the sink has %d messages, want %d", len(s.kept), tc.o.Count)
			}
		})
	}
}

func TestRunEndsWithItsDuration(t *testing.T) {
	s := newSink(t, true, nil)
	r, err := Run(t.Context(), Options{Broker: s.addr, Connections: 2, QoS: 1, Devices: 20, Rate: 500, Duration: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, s.kept, r.Sent)
	if r.Sent == 0 || r.Sent > 1000 || r.Unacked != 0 {
		t.Errorf("%d sent, %d unacked; want 1 to 1000, none", r.Sent, r.Unacked)
	}
}

// TestRunEndsWithItsContext also wants that what was in flight then is waited for.
func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newSink(t, true, func(_, nth int, _ publish) (bool, bool) {
		if nth == 2000 {
			cancel()
		}
		return true, false
	})
	r, err := Run(ctx, Options{Broker: s.addr, Connections: 2, InFlight: 50, QoS: 1, Devices: 20})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, s.kept, r.Sent)
	if r.Unacked != 0 {
		t.Errorf("%d unacked, want none", r.Unacked)
	}
}

// TestResend has the sink swallow publishes and hang up; all must come again, as duplicates of the
// same bytes under the same packet identifier, and be acknowledged in the end.
func TestResend(t *testing.T) {
	const hangUps = 5
	s := newSink(t, true, func(conn, nth int, _ publish) (ack, hangUp bool) {
		if conn > hangUps {
			return true, false
		}
		return nth%20 != 0, nth == 400
	})
	r, err := Run(t.Context(), Options{Broker: s.addr, Connections: 1, InFlight: 60, QoS: 1, Devices: 8, Count: 3000})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, s.kept, 3000)
	if r.Unacked != 0 || r.Reconnects == 0 || r.Resent == 0 || r.FirstError == "" {
		t.Errorf("%d unacked, %d reconnects, %d resent, first error %q; want 0, some, some, some", r.Unacked, r.Reconnects, r.Resent, r.FirstError)
	}
	first := map[string]publish{} // what a hang-up lost in the socket comes first as a duplicate
	for _, p := range s.seen {
		was, again := first[p.topic+p.payload]
		if again && !p.dup {
			t.Fatalf("%s %s came again without DUP", p.topic, p.payload)
		}
		if again && was.pid != p.pid {
			t.Fatalf("%s %s: packet identifier %d, then %d", p.topic, p.payload, was.pid, p.pid)
		}
		first[p.topic+p.payload] = p
	}
	for _, clean := range s.sessions[:len(s.sessions)-1] {
		if clean {
			t.Error("a connect asked for a clean session: the broker would forget what it has in flight")
		}
	}
	if !s.sessions[len(s.sessions)-1] {
		t.Error("the last connect did not ask for a clean session: the broker keeps one for nobody")
	}
}

// TestSilence has the sink swallow one message for good: Run ends after its drain and owns up to it.
func TestSilence(t *testing.T) {
	s := newSink(t, true, func(_, _ int, p publish) (bool, bool) {
		return !strings.HasSuffix(p.payload, `"n":3}`), false
	})
	r, err := Run(t.Context(), Options{Broker: s.addr, Connections: 1, InFlight: 10, QoS: 1, Devices: 1, Count: 100, Drain: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	check(t, r, s.kept, 100)
	if r.Unacked != 1 || r.UnackedMessages[0].N != 3 {
		t.Errorf("unacked %+v, want the third message only", r.UnackedMessages)
	}
}

// TestGivesUp has the sink hang up again and again: Run ends after its drain, books in order.
func TestGivesUp(t *testing.T) {
	s := newSink(t, true, func(conn, nth int, _ publish) (ack, hangUp bool) {
		return conn == 1 && nth < 100, conn > 1 || nth == 100
	})
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("qos=%d", qos), func(t *testing.T) {
			s.mu.Lock()
			s.conns, s.kept = 0, nil
			s.mu.Unlock()
			r, err := Run(t.Context(), Options{Broker: s.addr, Connections: 1, InFlight: 50, QoS: qos, Devices: 5, Duration: 2 * time.Second, Drain: 100 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if r.Errors == 0 || r.FirstError == "" || r.Sent < 100 {
				t.Errorf("%v; want errors", r)
			}
			if qos == 1 {
				check(t, r, s.kept, r.Sent)
				if r.Acked != 99 || r.Unacked == 0 {
					t.Errorf("%d acked, %d unacked; want 99, some", r.Acked, r.Unacked)
				}
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	_ = l.Close()
	for _, tc := range []struct {
		name string
		o    Options
		want string
	}{
		{"no broker", Options{}, "broker"},
		{"too few devices", Options{Broker: nobody, Connections: 10, Devices: 9}, "devices: 9, want 10 to"},
		{"quality of service", Options{Broker: nobody, QoS: 2}, "qos: 2, want 0 to 1"},
		{"domain", Options{Broker: nobody, Domain: "A/B"}, "domain"},
		{"nobody listens", Options{Broker: nobody, Connecting: 100 * time.Millisecond}, "connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Run(t.Context(), tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Run: %v; want an error with %q", err, tc.want)
			}
		})
	}
}
