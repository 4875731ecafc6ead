package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/ingest/vds"
	"panormus/stream/privacy/privacytest"
)

// shelf is a Shelf in memory, which can be made to take nothing.
type shelf struct {
	mu     sync.Mutex
	held   map[string][]byte
	refuse error
	puts   int
}

func (s *shelf) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil {
		s.held[key] = value
		s.puts++
	}
	return s.refuse
}

func (s *shelf) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil {
		delete(s.held, key)
	}
	return s.refuse
}

func (s *shelf) Watch(ctx context.Context, change func(string, []byte), synced func()) error {
	s.mu.Lock()
	held := maps.Clone(s.held)
	s.mu.Unlock()
	for k, v := range held {
		change(k, v)
	}
	synced()
	<-ctx.Done()
	return ctx.Err()
}

func (s *shelf) refusing(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = err
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// retainedBy is what a new subscriber of a new broker over s is sent.
func retainedBy(t *testing.T, s *shelf, most int) map[string]string {
	t.Helper()
	b, _ := start(t, ingesttest.NewLog(), func(c *Config) { c.Shelf, c.MaxRetained = s, most })
	c := dial(t, b)
	c.connect("reader", 4, true)
	c.send(packet(0x82, []byte{0, 7}, str("#"), []byte{0}))
	c.expect(0x90)
	c.send(c.publish("end", "x", 0, 0, 0)) // it comes behind what is retained
	got := map[string]string{}
	for {
		body := c.expectPublish()
		n := int(body[0])<<8 | int(body[1])
		topic := string(body[2 : 2+n])
		if topic == "end" {
			return got
		}
		got[topic] = string(body[2+n:])
	}
}

// expectPublish reads a PUBLISH of QoS 0, retained or not.
func (c *raw) expectPublish() []byte {
	c.t.Helper()
	first, body, ok := c.read(time.Minute)
	if !ok || first&^flagRetain != 0x30 {
		c.t.Fatalf("packet %02x (%v), want a PUBLISH", first, ok)
	}
	return body
}

func TestRetainedOutlivesTheProcess(t *testing.T) {
	s := &shelf{held: map[string][]byte{"garbage": []byte("{"), shelfKey("a"): []byte(`{"topic_name":"b","payload":"eA=="}`)}}
	ctx, stop := context.WithCancel(t.Context())
	pump := ingesttest.NewPump(t, ingesttest.NewLog(), func(c *ingest.Config) {
		c.Routes, c.Video, c.Privacy = append(ingest.DefaultRoutes(), ingest.VideoRoutes()...), vds.Decoders(vds.Options{}), privacytest.Guard()
	})
	b, err := New(Config{Pump: pump, Addr: "127.0.0.1:0", Shelf: s})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	ingesttest.Eventually(t, "what is none is removed", func() bool { return s.count() == 0 })
	s.refusing(errors.New("no disk"))
	c := dial(t, b)
	c.connect("c", 5, true)
	say := func(topic, payload string, properties ...byte) {
		t.Helper()
		c.send(c.publish(topic, payload, 1, 3, flagRetain, properties...))
		c.acked(0x40)
	}
	say(pole, `{"power_w":1}`)
	say("state/gone", "x")
	say("state/lamp", "old")
	s.refusing(nil)
	say("state/gone", "")
	say("state/lamp", "new")
	say("state/brief", "x", 0x02, 0, 0, 0, 1)
	say("state/large", strings.Repeat("x", maxShelved+1))
	say("gate-1/onvif-ej/VideoSource/GlobalSceneChange/ImagingService", `{"Data":{"State":true}}`)
	ingesttest.Eventually(t, "it is kept", func() bool { return s.count() == 3 })
	if n := b.Stats().Unkept; n != 2 {
		t.Errorf("%d not kept, want the large one and the camera's", n)
	}
	// Kept although the process stops in the same moment.
	say("state/last", "word")
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := retainedBy(t, s, 0)
	delete(got, "state/brief") // which may have run out by now
	if want := map[string]string{pole: `{"power_w":1}`, "state/lamp": "new", "state/last": "word"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	ingesttest.Eventually(t, "the bound holds at the start too", func() bool { return len(retainedBy(t, s, 2)) == 2 })
}

// One topic that changes all the time is written now and then.
func TestRetainedIsCoalesced(t *testing.T) {
	s := &shelf{held: map[string][]byte{}}
	b, _ := start(t, ingesttest.NewLog(), func(c *Config) { c.Shelf = s })
	c := dial(t, b)
	c.connect("c", 4, true)
	const n = 5000
	for i := range n {
		c.send(c.publish("state/lamp", fmt.Sprint(i), 0, 0, flagRetain))
	}
	c.send(c.publish("state/end", "x", 1, 1, flagRetain))
	c.acked(0x40)
	ingesttest.Eventually(t, "the last one is kept", func() bool { return s.count() == 2 })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.puts > n/2 {
		t.Errorf("%d writes for %d messages", s.puts, n)
	}
}
