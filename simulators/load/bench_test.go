package load

import "testing"

func BenchmarkEncode(b *testing.B) {
	e := newEncoder("lighting", "load", 5, 1, 1)
	buf := make([]byte, 0, 1<<16)
	m := message{ts: 1732311111123}
	b.ReportAllocs()
	for b.Loop() {
		m.device, m.n = m.device+1, m.n+1
		if m.device == 1000 {
			m.device = 0
		}
		if len(buf) > 1<<16-256 {
			buf = buf[:0]
		}
		buf = e.append(buf, m, uint16(m.n), false)
	}
}

// BenchmarkRun sends through loopback to a sink in the same process, which only acknowledges: the
// CPU a message it reports is the sink's share included, hence an upper bound of the generator's.
func BenchmarkRun(b *testing.B) {
	for _, bc := range []struct {
		name string
		o    Options
	}{
		{"qos=1/connections=100/inflight=100", Options{Connections: 100, InFlight: 100, QoS: 1}},
		{"qos=1/connections=20/inflight=1000", Options{Connections: 20, InFlight: 1000, QoS: 1}},
		{"qos=0/connections=100", Options{Connections: 100, InFlight: 100}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := newSink(b, false, nil)
			bc.o.Broker = s.addr
			bc.o.Count = int64(b.N)
			b.ReportAllocs()
			b.ResetTimer()
			r, err := Run(b.Context(), bc.o)
			b.StopTimer()
			if err != nil || r.Sent != int64(b.N) || r.Unacked != 0 {
				b.Fatalf("%v, %v; want %d sent", r, err, b.N)
			}
			b.ReportMetric(r.CPUPerMessage, "cpu-us/msg")
			b.ReportMetric(r.SentRate, "msg/s")
		})
	}
}
