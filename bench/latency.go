package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"panormus/simulators/load"
)

// latency measures from writing a publish to reading its value on a websocket, while 10,000
// messages a second pass: the load's own messages carry their time stamp, and the feed shows it.
func latency(ctx context.Context, quick bool, w io.Writer) error {
	s, stop, err := startFresh(ctx)
	if err != nil {
		return err
	}
	defer stop()
	duration := 30 * time.Second
	if quick {
		duration = 8 * time.Second
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := follow(ctx, "ws://"+s.info.HTTP+"/ws/v1/feed", "bench-0000000", "bench-0000099", "bench-0004242")
	if err != nil {
		return err
	}
	report, err := load.Run(ctx, load.Options{
		Broker: s.info.MQTT, Connections: 100, InFlight: 100, QoS: 1, Rate: 10_000, Duration: duration,
		Devices: 10_000, Metrics: 5, Seed: 1, Domain: "lighting", Prefix: "bench",
	})
	if err != nil {
		return err
	}
	time.Sleep(time.Second) // the last deltas
	cancel()
	ms := f.latencies()
	if len(ms) == 0 {
		return fmt.Errorf("the feed showed none of %d messages", report.Acked)
	}
	at := func(q float64) float64 { return ms[int(q*float64(len(ms)-1))] }
	fmt.Fprintf(w, "\n## Publish to websocket\n%.0f messages/s for %.0f s; three devices of 10,000 followed, %d values seen.\n\n"+
		"| figure | reached | wanted |\n|---|---|---|\n| p50 | %.0f ms | 100 ms |\n| p99 | %.0f ms | 300 ms |\n| most | %.0f ms | |\n",
		report.AckedRate, report.Elapsed, len(ms), at(0.5), at(0.99), ms[len(ms)-1])
	return nil
}

// follower reads a state subscription and notes how old each value is when it comes.
type follower struct {
	mu sync.Mutex
	ms []float64
	wg sync.WaitGroup
}

func follow(ctx context.Context, url string, devices ...string) (*follower, error) {
	c, _, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if err != nil {
		return nil, err
	}
	err = c.WriteJSON(map[string]any{"op": "subscribe", "id": "a", "topic": "state", "filter": map[string]any{"device": devices}})
	if err != nil {
		return nil, err
	}
	f := &follower{}
	f.wg.Go(func() {
		defer c.Close()
		for {
			_, b, err := c.ReadMessage()
			if err != nil {
				return
			}
			now := time.Now()
			var m struct {
				Type  string
				Items []struct{ T time.Time }
			}
			if json.Unmarshal(b, &m) != nil || m.Type != "delta" {
				continue
			}
			f.mu.Lock()
			for _, item := range m.Items {
				f.ms = append(f.ms, float64(now.Sub(item.T).Microseconds())/1000)
			}
			f.mu.Unlock()
		}
	})
	context.AfterFunc(ctx, func() { c.Close() })
	return f, nil
}

func (f *follower) latencies() []float64 {
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.ms))
}
