package broker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
)

const pole = "city/lighting/pole-1/telemetry"

// Acknowledgements come in the order of the messages though these go through many lanes, and only
// once the log has them.
func TestAcksInOrder(t *testing.T) {
	for _, version := range []byte{4, 5} {
		l := ingesttest.NewLog()
		b, p := start(t, l, nil)
		c := dial(t, b)
		c.connect("c1", version, true)
		l.Block()
		const n = 3000
		var all bytes.Buffer
		for i := range n {
			payload := fmt.Sprintf(`{"n":%d}`, i)
			if i%100 == 7 {
				payload = "garbage"
			}
			all.Write(c.publish(fmt.Sprintf("city/lighting/pole-%d/telemetry", i%50), payload, 1, uint16(i+1), 0))
		}
		c.send(all.Bytes())
		ingesttest.Eventually(t, "all taken in", func() bool { return p.Stats().Received == n })
		if first, _, ok := c.read(60 * time.Millisecond); ok {
			t.Fatalf("packet %02x while the log is blocked, want none", first)
		}
		l.Unblock()
		for i := range n {
			if id := c.acked(0x40); id != uint16(i+1) {
				t.Fatalf("MQTT %d: acknowledgement %d is of %d, want %d", version, i, id, i+1)
			}
		}
		if rows, bad := len(l.Rows()), len(l.Rejected()); rows != n*99/100 || bad != n/100 {
			t.Errorf("%d rows and %d rejected, want %d and %d", rows, bad, n*99/100, n/100)
		}
	}
}

// A client that is cut off before its acknowledgements sends the messages again: stored once.
func TestDuplicateAfterReconnect(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, nil)
	c := dial(t, b)
	c.connect("c1", 4, false)
	l.Block()
	const n = 20
	timed := fmt.Sprintf(`{"ts":%d,"a":1}`, time.Now().UnixMilli())
	payload := func(i int) string {
		if i%2 == 0 {
			return timed
		}
		return `{"a":1}`
	}
	topic := func(i int) string { return fmt.Sprintf("city/lighting/pole-%d/telemetry", i) }
	for i := range n {
		c.send(c.publish(topic(i), payload(i), 1, uint16(i+1), 0))
	}
	ingesttest.Eventually(t, "all taken in", func() bool { return p.Stats().Received == n })
	c.conn.Close()
	l.Unblock()
	ingesttest.Eventually(t, "all on the log", func() bool { return len(l.Rows()) == n })

	c = dial(t, b)
	c.connect("c1", 4, false)
	for i := range n {
		c.send(c.publish(topic(i), payload(i), 1, uint16(i+1), flagDup))
	}
	for i := range n {
		if id := c.acked(0x40); id != uint16(i+1) {
			t.Fatalf("acknowledged %d, want %d", id, i+1)
		}
	}
	if s := p.Stats(); len(l.Rows()) != n || s.Duplicates != n {
		t.Errorf("%d rows and %d duplicates, want %d of each", len(l.Rows()), s.Duplicates, n)
	}
}

func TestQoS2(t *testing.T) {
	for _, version := range []byte{4, 5} {
		l := ingesttest.NewLog()
		b, _ := start(t, l, nil)
		c := dial(t, b)
		c.connect("c1", version, true)
		l.Block()
		c.send(c.publish(pole, `{"a":1}`, 2, 9, 0), c.publish(pole, `{"a":1}`, 2, 9, flagDup))
		if first, _, ok := c.read(40 * time.Millisecond); ok {
			t.Fatalf("packet %02x while the log is blocked, want none", first)
		}
		l.Unblock()
		if id := c.acked(0x50); id != 9 {
			t.Fatalf("PUBREC of %d, want 9", id)
		}
		c.send(c.publish(pole, `{"a":1}`, 2, 9, flagDup))
		if id := c.acked(0x50); id != 9 {
			t.Fatalf("PUBREC of %d, want 9", id)
		}
		c.send(packet(0x62, []byte{0, 9}))
		if id := c.acked(0x70); id != 9 {
			t.Fatalf("PUBCOMP of %d, want 9", id)
		}
		if n := len(l.Rows()); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
		c.send(packet(0x62, []byte{0, 9})) // released before: mochi answers
		if id := c.acked(0x70); id != 9 {
			t.Fatalf("PUBCOMP of %d, want 9", id)
		}
		c.send(c.publish(pole, `{"a":1}`, 2, 9, 0)) // the id is free: a new message
		c.acked(0x50)
		if n := len(l.Rows()); n != 2 {
			t.Errorf("%d rows, want 2", n)
		}
		// Topics that are no telemetry are the broker's own.
		c.send(c.publish("other", "x", 2, 10, 0))
		c.acked(0x50)
		c.send(packet(0x62, []byte{0, 10}))
		c.acked(0x70)
	}
}

func TestTopicAlias(t *testing.T) {
	l := ingesttest.NewLog()
	b, _ := start(t, l, nil)
	c := dial(t, b)
	c.connect("c1", 5, true)
	alias := []byte{0x23, 0, 3}
	user := append([]byte{0x26}, append(str("k"), str("v")...)...)
	c.send(c.publish(pole, `{"a":1}`, 1, 1, 0, append(alias, user...)...), c.publish("", `{"a":2}`, 1, 2, 0, alias...))
	c.acked(0x40)
	c.acked(0x40)
	rows := l.Rows()
	if len(rows) != 2 || rows[1].Device != "pole-1" || rows[1].Value != 2 {
		t.Errorf("rows %+v, want two of pole-1", rows)
	}
	c.send(c.publish("", `{"a":2}`, 1, 2, 0, 0x23, 0, 0)) // alias 0 is a protocol error
	c.gone()
}

// Packets are taken from the stream wherever reads cut it, and mochi's stay in order among them.
func TestFragments(t *testing.T) {
	l := ingesttest.NewLog()
	b, _ := start(t, l, nil)
	c := dial(t, b)
	var all bytes.Buffer
	all.Write(connectPacket("c1", 4, true, "", ""))
	all.Write(c.publish(pole, `{"a":1}`, 1, 1, 0)) // before the CONNACK, as MQTT allows
	all.Write([]byte{0xc0, 0})
	all.Write(c.publish("other", "x", 1, 2, 0))
	all.Write(c.publish(pole, fmt.Sprintf(`{"t":"%s"}`, strings.Repeat("y", 70_000)), 1, 3, 0))
	all.Write([]byte{0xc0, 0})
	all.Write(c.publish(pole, `{"a":2}`, 0, 0, 0))
	rest := all.Bytes()
	for size := 1; len(rest) > 0; size = size%13 + 1 {
		n := min(size, len(rest))
		if len(rest) > 60_000 && len(rest) < 70_000 {
			n = min(5000, len(rest))
		}
		c.send(rest[:n])
		rest = rest[n:]
	}
	c.expect(0x20)
	var got []byte
	for range 5 {
		first, _, ok := c.read(time.Minute)
		if !ok {
			t.Fatalf("packets %x, want five", got)
		}
		got = append(got, first)
	}
	if bytes.Count(got, []byte{0x40}) != 3 || bytes.Count(got, []byte{0xd0}) != 2 {
		t.Errorf("packets %x, want three PUBACKs and two PINGRESPs", got)
	}
	ingesttest.Eventually(t, "three on the log", func() bool { return len(l.Rows()) == 3 })
}

func TestTooLarge(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, nil)
	c := dial(t, b)
	c.connect("c1", 4, true)
	at := func(n int) string { return `{"a":"` + strings.Repeat("z", n-8) + `"}` }
	c.send(c.publish(pole, at(ingest.MaxPayload), 1, 1, 0))
	c.send(c.publish(pole, at(ingest.MaxPayload+1), 1, 2, 0))
	c.send(c.publish(pole, at(3<<20), 1, 3, 0))
	c.send(c.publish(pole, at(3<<20), 2, 4, 0))
	c.send(c.publish(pole, `{"a":1}`, 1, 5, 0))
	for want := uint16(1); want <= 5; want++ {
		kind := byte(0x40)
		if want == 4 {
			kind = 0x50
		}
		if id := c.acked(kind); id != want {
			t.Fatalf("acknowledged %d, want %d", id, want)
		}
	}
	rejected := l.Rejected()
	if len(l.Rows()) != 2 || len(rejected) != 3 || p.Stats().RejectedBy[ingest.ReasonTooLarge] != 3 {
		t.Fatalf("%d rows and %d rejected, want 2 and 3", len(l.Rows()), len(rejected))
	}
	if r := rejected[1]; len(r.Payload) != 64<<10 || r.Detail != "payload of 3145728 bytes, want at most 1048576; the first 65536 are kept" {
		t.Errorf("%d bytes kept, %s; want 65536 of 3145728", len(r.Payload), r.Detail)
	}
	c.send(c.publish("other", strings.Repeat("z", 2<<20), 1, 6, 0)[:200<<10]) // not telemetry: refused
	c.gone()
}

// Subscribers get telemetry as from any broker, its publisher too unless it asks not to.
func TestSubscribers(t *testing.T) {
	l := ingesttest.NewLog()
	b, _ := start(t, l, nil)
	sub, pub := dial(t, b), dial(t, b)
	sub.connect("sub", 4, true)
	pub.connect("pub", 5, true)
	pub.send(pub.publish(pole, `{"a":0}`, 1, 1, 0)) // nobody yet
	pub.acked(0x40)
	sub.send(packet(0x82, []byte{0, 1}, str("city/lighting/#"), []byte{1}))
	sub.expect(0x90)
	pub.send(packet(0x82, []byte{0, 2}, []byte{0}, str("city/+/pole-1/telemetry"), []byte{1 | 4})) // no local
	pub.expect(0x90)
	for qos := range byte(3) {
		pub.send(pub.publish(pole, fmt.Sprintf(`{"a":%d}`, qos+1), qos, uint16(qos+1), 0, 0x03, 0, 1, 'j'))
		kind := []byte{0x30, 0x32, 0x32}[qos]
		body := sub.expect(kind)
		if !bytes.HasSuffix(body, []byte(fmt.Sprintf(`{"a":%d}`, qos+1))) || !bytes.Contains(body, []byte(pole)) {
			t.Errorf("QoS %d: %q, want the message", qos, body)
		}
		if qos > 0 {
			pub.acked([]byte{0, 0x40, 0x50}[qos])
		}
	}
	sub.send(packet(0xa2, []byte{0, 3}, str("city/lighting/#")))
	sub.expect(0xb0)
	pub.send(pub.publish(pole, `{"a":9}`, 1, 9, 0))
	pub.acked(0x40)
	if first, body, ok := sub.read(50 * time.Millisecond); ok {
		t.Errorf("packet %02x %q after unsubscribing, want none", first, body)
	}
	if n := len(l.Rows()); n != 5 {
		t.Errorf("%d rows, want 5", n)
	}
}

// An empty retained message clears state and is no telemetry.
func TestRetainedCleared(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, nil)
	c := dial(t, b)
	c.connect("c1", 4, true)
	c.send(c.publish(pole, `{"a":1}`, 1, 1, flagRetain))
	c.acked(0x40)
	// Subscribers are served after the log, and maybe after the acknowledgement.
	kept := func() bool { return len(b.server.Topics.Messages(pole)) == 1 }
	ingesttest.Eventually(t, "retained", kept)
	c.send(c.publish(pole, ``, 1, 2, flagRetain))
	c.acked(0x40)
	ingesttest.Eventually(t, "cleared", func() bool { return !kept() })
	if s := p.Stats(); s.Decoded != 1 || s.IgnoredBy["cleared"] != 1 || s.Rejected != 0 {
		t.Errorf("stats %+v, want one decoded and one cleared", s)
	}
}

// A will on a telemetry topic is telemetry.
func TestWill(t *testing.T) {
	l := ingesttest.NewLog()
	b, _ := start(t, l, nil)
	c := dial(t, b)
	c.send(packet(0x10, str("MQTT"), []byte{4, 2 | 4, 0, 60}, str("c1"), str(pole), str(`{"online":false}`)))
	c.expect(0x20)
	c.conn.Close()
	ingesttest.Eventually(t, "the will is on the log", func() bool { return len(l.Rows()) == 1 })
}

// What no client should send ends that client's connection at most.
func TestHostile(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, func(c *Config) { c.MaxClients = 40 })
	hello := connectPacket("bad", 4, true, "", "")
	for name, bytes := range map[string][]byte{
		"no connect":        {0x30, 5, 0, 1, 'a', 'b', 'c'},
		"garbage":           []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"endless length":    append(append([]byte{}, hello...), 0x30, 0xff, 0xff, 0xff, 0xff, 0xff),
		"QoS 3":             append(append([]byte{}, hello...), packet(0x36, str(pole), []byte{0, 1}, []byte(`{"a":1}`))...),
		"packet id 0":       append(append([]byte{}, hello...), packet(0x32, str(pole), []byte{0, 0}, []byte(`{"a":1}`))...),
		"topic cut":         append(append([]byte{}, hello...), 0x30, 3, 0, 9, 'a'),
		"wildcard":          append(append([]byte{}, hello...), packet(0x30, str("city/+/x/telemetry"), []byte(`{"a":1}`))...),
		"topic not UTF-8":   append(append([]byte{}, hello...), packet(0x30, str("city/lighting/\xff/telemetry"), []byte(`{"a":1}`))...),
		"second connect":    append(append([]byte{}, hello...), hello...),
		"unknown type":      append(append([]byte{}, hello...), 0x00, 0x00),
		"too large":         append(append([]byte{}, hello...), 0x30, 0xff, 0xff, 0xff, 0x7f),
		"empty publish":     append(append([]byte{}, hello...), 0x30, 0),
		"huge connect":      {0x10, 0xff, 0xff, 0xff, 0x7f},
		"connect not UTF-8": packet(0x10, str("MQTT"), []byte{4, 2, 0, 60}, str("\xff")),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, b)
			c.send(bytes)
			c.gone()
		})
	}
	ingesttest.Eventually(t, "all gone", func() bool { return b.Stats().Clients == 0 })
	c := dial(t, b)
	c.connect("good", 4, true)
	c.send(c.publish(pole, `{"a":1}`, 1, 1, 0))
	c.acked(0x40)
	if s := p.Stats(); s.Decoded != 1 || s.Received != 1 {
		t.Errorf("stats %+v, want just the good one", s)
	}
}

func TestMaxClients(t *testing.T) {
	b, _ := start(t, ingesttest.NewLog(), func(c *Config) { c.MaxClients = 3 })
	for i := range 3 {
		dial(t, b).connect(fmt.Sprint("c", i), 4, true)
	}
	dial(t, b).gone()
	if n := b.Stats().Refused; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
}

// A log that stands still blocks clients, holds a bounded amount, and loses nothing.
func TestBackpressure(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, nil)
	c := dial(t, b)
	c.connect("c1", 4, true)
	l.Block()
	body := strings.Repeat("x", 40_000)
	sent := make(chan int, 1)
	go func() {
		for i := range 200 {
			if _, err := c.conn.Write(c.publish(pole, fmt.Sprintf(`{"n":%d,"t":"%s"}`, i, body), 1, uint16(i+1), 0)); err != nil {
				sent <- i
				return
			}
		}
		sent <- 200
	}()
	ingesttest.Eventually(t, "blocked", func() bool { return p.Stats().Blocked == 1 })
	if n := p.Stats().InFlight; n > 60 {
		t.Errorf("%d messages of 40 kB held, want at most two batches of 1 MiB", n)
	}
	// Another client's takeover of the session is not held up by the first being blocked.
	c2 := dial(t, b)
	c2.connect("c1", 4, true)
	l.Unblock()
	c2.send(c2.publish("city/lighting/pole-2/telemetry", `{"a":1}`, 1, 1, 0))
	c2.acked(0x40)
	<-sent
	// The first connection may still be passing on what it had read.
	ingesttest.Eventually(t, "at rest, each message decoded and on the log", func() bool {
		s := p.Stats()
		return s.InFlight == 0 && s.Blocked == 0 && b.Stats().Clients == 1 && uint64(len(l.Rows())) == 2*(s.Decoded-1)+1
	})
}

// A client that never reads its acknowledgements holds up nobody else.
func TestClientThatDoesNotRead(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, nil)
	bad, good := dial(t, b), dial(t, b)
	bad.connect("bad", 4, true)
	good.connect("good", 4, true)
	if err := bad.conn.(*net.TCPConn).SetReadBuffer(1024); err != nil {
		t.Fatal(err)
	}
	go func() {
		var all bytes.Buffer
		for i := range 60_000 {
			all.Write(bad.publish("city/lighting/pole-9/telemetry", `{"a":1}`, 1, uint16(i%65535+1), 0))
		}
		_, _ = io.Copy(bad.conn, &all)
	}()
	for i := range 20 {
		good.send(good.publish(pole, `{"a":1}`, 1, uint16(i+1), 0))
		good.acked(0x40)
	}
	// On a slow machine it is let go (writeTimeout) before all that it sent was read; what was read is kept.
	ingesttest.Eventually(t, "the other's are in too, or it is let go", func() bool {
		s := p.Stats()
		return s.InFlight == 0 && (s.Decoded == 60_020 || b.Stats().Clients == 1 && uint64(len(l.Rows())) == s.Decoded)
	})
}

// When the broker stops, what it has read is acknowledged first.
func TestStopAcks(t *testing.T) {
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.Linger = 50 * time.Millisecond })
	b, err := New(Config{Pump: p, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	c := dial(t, b)
	c.connect("c1", 4, true)
	idle := dial(t, b) // has not even said hello
	l.Block()
	c.send(c.publish(pole, `{"a":1}`, 1, 7, 0))
	ingesttest.Eventually(t, "taken in", func() bool { return p.Stats().Received == 1 })
	cancel()
	time.Sleep(20 * time.Millisecond)
	l.Unblock()
	if id := c.acked(0x40); id != 7 {
		t.Errorf("acknowledged %d, want 7", id)
	}
	c.gone()
	idle.gone()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := b.Stats().Clients; n != 0 {
		t.Errorf("%d clients after the end, want none", n)
	}
}

// An idle client is cut off after one and a half times its keep-alive, a busy one is not.
func TestKeepAlive(t *testing.T) {
	b, _ := start(t, ingesttest.NewLog(), nil)
	idle, busy := dial(t, b), dial(t, b)
	for c, seconds := range map[*raw]byte{idle: 1, busy: 4} { // the busy one may stand still for 6 s with the machine
		c.send(packet(0x10, str("MQTT"), []byte{4, 2, 0, seconds}, str(fmt.Sprintf("%p", c))))
		c.expect(0x20)
	}
	began := time.Now()
	gone := make(chan time.Duration, 1)
	go func() {
		_, _ = io.Copy(io.Discard, idle.conn)
		gone <- time.Since(began)
	}()
	for i := range uint16(75) { // 7.5 s of telemetry alone
		busy.send(busy.publish(pole, `{"a":1}`, 1, i+1, 0))
		busy.acked(0x40)
		time.Sleep(100 * time.Millisecond)
	}
	if d := <-gone; d < 1200*time.Millisecond {
		t.Errorf("the idle client was cut off after %v, want 1.5 s", d)
	}
}
