package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/live"
	"panormus/stream/batch"
)

// BenchmarkFanOut has every client get every frame of 1,000 changed devices; one iteration is one
// frame at all clients. Clients read and throw away.
func BenchmarkFanOut(b *testing.B) {
	for _, tc := range []struct {
		clients  int
		encoding string
	}{{1, "json"}, {100, "json"}, {500, "json"}, {500, "bin"}} {
		b.Run(fmt.Sprintf("clients=%d/%s", tc.clients, tc.encoding), func(b *testing.B) {
			state := live.New(nil, nil, nil)
			hub := New(Config{State: state, Coalesce: time.Millisecond})
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = hub.Run(ctx)
			}()
			srv := httptest.NewServer(hub)
			defer func() {
				cancel()
				<-done
				srv.Close()
			}()
			const devices = 1000
			change := func(round int) {
				var o batch.Observations
				at := int64(1_700_000_000_000 + round)
				for i := range devices {
					h := o.Begin(at, at, "lighting", fmt.Sprintf("palermo-pole-%06d", i))
					o.Append(h, "power_w", float64(round*i%977)/10, "", 0)
				}
				state.Apply(&o)
			}
			change(0)
			var frames, bytes atomic.Int64
			var readers sync.WaitGroup
			dialer := websocket.Dialer{EnableCompression: true}
			for range tc.clients {
				conn, _, err := dialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				if err := conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"op":"subscribe","id":"s","topic":"state","max_hz":50,"encoding":%q}`, tc.encoding)); err != nil {
					b.Fatal(err)
				}
				readers.Go(func() {
					for {
						_, r, err := conn.NextReader()
						if err != nil {
							return
						}
						n, _ := io.Copy(io.Discard, r)
						if n > 1000 { // no heartbeat
							frames.Add(1)
							bytes.Add(n)
						}
					}
				})
			}
			expect := func(n int64) {
				for end := time.Now().Add(20 * time.Second); frames.Load() < n; time.Sleep(100 * time.Microsecond) {
					if time.Now().After(end) {
						b.Fatalf("%d frames, want %d", frames.Load(), n)
					}
				}
			}
			want := 2 * int64(tc.clients) // two pages of the snapshot
			expect(want)
			round := 0
			for b.Loop() {
				round++
				change(round)
				want += int64(tc.clients)
				expect(want)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*tc.clients), "us/client-frame")
			b.ReportMetric(float64(bytes.Load())/float64(frames.Load()), "bytes/frame")
		})
	}
}

// BenchmarkLatency is from a reading's Apply to a client that has parsed it, at 10,000 messages/s
// in bursts of 40 ms (as ingest closes its batches), the subscription at its default rate.
func BenchmarkLatency(b *testing.B) {
	for range b.N {
		state := live.New(nil, nil, nil)
		hub := New(Config{State: state})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = hub.Run(ctx)
		}()
		srv := httptest.NewServer(hub)
		conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"subscribe","id":"s","topic":"state"}`)); err != nil {
			b.Fatal(err)
		}
		go func() {
			burst := time.NewTicker(40 * time.Millisecond)
			defer burst.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-burst.C:
				}
				var o batch.Observations
				at := time.Now().UnixMilli()
				for i := range 400 {
					h := o.Begin(at, at, "lighting", fmt.Sprintf("palermo-pole-%06d", (n*400+i)%20_000))
					for _, m := range []string{"power_w", "dimming", "voltage_v", "current_a", "temperature_cel"} {
						o.Append(h, m, float64(n%97+i), "", 0)
					}
				}
				state.Apply(&o)
			}
		}()
		var took []float64
		for end := time.Now().Add(4 * time.Second); time.Now().Before(end); {
			_, data, err := conn.ReadMessage()
			if err != nil {
				b.Fatal(err)
			}
			var s struct {
				Type  string
				Items []struct{ T time.Time }
			}
			if err := json.Unmarshal(data, &s); err != nil {
				b.Fatal(err)
			}
			if s.Type == "delta" {
				for _, it := range s.Items {
					took = append(took, float64(time.Since(it.T).Microseconds())/1000)
				}
			}
		}
		cancel()
		<-done
		conn.Close()
		srv.Close()
		if len(took) < 20_000 {
			b.Fatalf("%d items in 4 s, want about 40,000", len(took))
		}
		slices.Sort(took)
		b.ReportMetric(took[len(took)/2], "p50-ms")
		b.ReportMetric(took[len(took)*99/100], "p99-ms")
	}
}
