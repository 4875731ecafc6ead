package load

import (
	"context"
	"fmt"
	"testing"

	"panormus/simulators/internal/mosquitto"
)

func TestMosquitto(t *testing.T) {
	m := mosquitto.Start(t)
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("qos=%d", qos), func(t *testing.T) {
			r, err := Run(t.Context(), Options{Broker: m.Addr, Connections: 10, QoS: qos, Devices: 100, Count: 20_000})
			if err != nil {
				t.Fatal(err)
			}
			if r.Sent != 20_000 || r.Unacked != 0 || r.Errors != 0 || qos == 1 && r.Acked != 20_000 {
				t.Errorf("%v %s; want 20000 sent and no trouble", r, r.FirstError)
			}
		})
	}
}

// TestMosquittoKilled kills the broker in the middle of a run; the run outlives it.
func TestMosquittoKilled(t *testing.T) {
	m := mosquitto.Start(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Broker: m.Addr, Connections: 5, InFlight: 20, QoS: 1, Devices: 50, Rate: 5000}
	killed := false
	var before int64
	o.Progress = func(p Progress) {
		switch {
		case !killed:
			killed, before = true, p.Acked
			m.Kill()
			m.Start(t)
		case p.Acked > before+1000:
			cancel()
		}
	}
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unacked != 0 || r.Acked != r.Sent || r.Reconnects < 5 {
		t.Errorf("%v, %d reconnects; want all acked and 5 reconnects", r, r.Reconnects)
	}
}
