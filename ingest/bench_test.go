package ingest_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/stream/batch"
)

// nowhere is a log that forgets.
type nowhere struct{}

func (nowhere) Partitions() int { return 16 }
func (nowhere) MaxBatch() int   { return 8 << 20 }
func (nowhere) Publish(context.Context, batch.Kind, int, string, []byte) (uint64, error) {
	return 1, nil
}

type counter struct{ n atomic.Int64 }

func (c *counter) Ack(tokens []uint64) { c.n.Add(int64(len(tokens))) }

// A message through the pump: routed, decoded, judged, compared with what came before, batched,
// encoded and acknowledged, everything but the wire and the log.
func BenchmarkHandle(b *testing.B) {
	for _, devices := range []int{100, 10_000} {
		b.Run("devices="+strconv.Itoa(devices), func(b *testing.B) {
			p := ingesttest.NewPump(b, nowhere{}, func(c *ingest.Config) { c.Linger, c.Fingerprints = ingest.DefaultLinger, 0 })
			a := &counter{}
			s := p.Session("bench", "c1", a, nil)
			topics := make([][]byte, devices)
			for i := range topics {
				topics[i] = fmt.Appendf(nil, "city/lighting/pole-%d/telemetry", i)
			}
			payload := []byte(`{"ts":1764000000000,"power_w":83.2,"voltage_v":228.1,"current_a":1.372,"energy_kwh":2041.07,"n":4711}`)
			e := &ingest.Envelope{Payload: payload}
			b.ReportAllocs()
			n := int64(0)
			for b.Loop() {
				n++
				strconv.AppendInt(payload[:6], 1764000000000+n, 10)
				*e = ingest.Envelope{Topic: topics[n%int64(devices)], Payload: payload, Received: 1764000000000 + n, Token: uint64(n)}
				if err := s.Handle(e); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
			if st := p.Stats(); st.Observations != uint64(5*n) || a.n.Load() != n {
				b.Fatalf("%+v and %d acknowledged, want %d messages of 5", st, a.n.Load(), n)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
