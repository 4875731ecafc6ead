package city

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"panormus/simulators/internal/mosquitto"
)

// waitFor polls: what it waits for happens in another process.
func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// start runs the city until the returned function is called.
func start(t *testing.T, c *City, o MQTTOptions) (stop func()) {
	o.Drain = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx, o) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func TestRun(t *testing.T) {
	m := mosquitto.Start(t)
	var mu sync.Mutex
	heard := map[string]int{}
	sub := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + m.Addr).SetClientID("listener"))
	if token := sub.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer sub.Disconnect(0)
	token := sub.Subscribe("city/#", 1, func(_ mqtt.Client, m mqtt.Message) {
		mu.Lock()
		defer mu.Unlock()
		heard[m.Topic()]++
	})
	if token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}

	c := New(Config{Seed: 1, Devices: 1000, Rate: 2000})
	stop := start(t, c, MQTTOptions{Broker: m.Addr, FirstState: 300 * time.Millisecond})
	waitFor(t, "every device's first state", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(heard) == c.Len()
	})
	if s := c.Stats(); s.Connected != 2 {
		t.Errorf("%d connections, want 2: one for every 500 devices", s.Connected)
	}
	waitFor(t, "more than first states", func() bool { return c.Stats().Acked > 3000 })
	stop()
	s := c.Stats()
	if s.Acked != s.Sent || s.Errors != 0 || s.Connected != 0 {
		t.Errorf("%+v; want all acknowledged, no errors, no connection left", s)
	}
	waitFor(t, "what was acknowledged", func() bool {
		mu.Lock()
		defer mu.Unlock()
		sum := int64(0)
		for _, n := range heard {
			sum += int64(n)
		}
		return sum == s.Acked
	})
	for topic := range heard {
		if !strings.HasPrefix(topic, "city/") || !strings.HasSuffix(topic, "/telemetry") {
			t.Errorf("topic %s", topic)
		}
	}
}

// TestRunOutlivesItsBroker kills the broker, lets the city wait at its window and starts it again.
func TestRunOutlivesItsBroker(t *testing.T) {
	m := mosquitto.Start(t)
	c := New(Config{Seed: 1, Devices: 200, Rate: 2000})
	stop := start(t, c, MQTTOptions{Broker: m.Addr, FirstState: 100 * time.Millisecond, InFlight: 50})
	waitFor(t, "the first messages", func() bool { return c.Stats().Acked > 300 })
	m.Kill()
	waitFor(t, "the loss to be seen", func() bool { return c.Stats().Errors > 0 })
	waitFor(t, "the window to fill", func() bool { s := c.Stats(); return s.Sent-s.Acked == 50 })
	before := c.Stats()
	m.Start(t)
	waitFor(t, "the city to go on", func() bool { return c.Stats().Acked > before.Acked+500 })
	stop()
	if s := c.Stats(); s.Acked != s.Sent || s.Skipped == 0 {
		t.Errorf("%+v; want all acknowledged in the end, and some skipped meanwhile", s)
	}
}

// TestRunBeforeItsBroker starts the city first.
func TestRunBeforeItsBroker(t *testing.T) {
	m := mosquitto.Start(t)
	m.Kill()
	c := New(Config{Seed: 1, Devices: 20, Rate: 200})
	stop := start(t, c, MQTTOptions{Broker: m.Addr, FirstState: 100 * time.Millisecond})
	waitFor(t, "the first words to wait", func() bool { return c.Stats().Sent > 0 })
	m.Start(t)
	waitFor(t, "them to be acknowledged", func() bool { s := c.Stats(); return s.Acked > 20 })
	stop()
}
