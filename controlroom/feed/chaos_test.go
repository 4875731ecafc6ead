package feed

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/stream/alarms"
	"panormus/stream/batch"
)

// A rough is a TCP proxy before the feed that is worse than any network: it hands bytes on in pieces and late,
// cuts connections in the middle of a message, and loses, doubles and swaps whole messages. It keeps its hands
// off the pages of a snapshot, which have no numbers of their own.
type rough struct {
	t       *testing.T
	to      string
	calm    atomic.Bool // it behaves
	l       net.Listener
	wg      sync.WaitGroup
	harmed  [4]atomic.Int64 // messages lost, doubled, swapped; connections cut
	mu      sync.Mutex
	open    map[net.Conn]bool
	stopped bool
}

const (
	lost = iota
	doubled
	swapped
	severed
)

func newRough(t *testing.T, to string) *rough {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &rough{t: t, to: to, l: l, open: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for seed := uint64(1); ; seed++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(conn, seed) })
		}
	})
	t.Cleanup(p.stop)
	return p
}

func (p *rough) stop() {
	p.l.Close()
	p.mu.Lock()
	p.stopped = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// hold closes c when the proxy stops.
func (p *rough) hold(c net.Conn) (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		c.Close()
	}
	p.open[c] = true
	return func() {
		c.Close()
		p.mu.Lock()
		delete(p.open, c)
		p.mu.Unlock()
	}
}

func (p *rough) serve(client net.Conn, seed uint64) {
	defer p.hold(client)()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer p.hold(server)()
	up := rand.New(rand.NewPCG(seed, 1))
	p.wg.Go(func() {
		defer server.Close()
		buf := make([]byte, 4096)
		for {
			n, err := client.Read(buf)
			if err != nil || p.pass(server, buf[:n], up) != nil {
				return
			}
		}
	})
	p.down(client, bufio.NewReader(server), rand.New(rand.NewPCG(seed, 2)))
}

// pass hands bytes on, in pieces.
func (p *rough) pass(to net.Conn, b []byte, rng *rand.Rand) error {
	for len(b) > 0 {
		n := len(b)
		if !p.calm.Load() && rng.IntN(4) == 0 {
			n = 1 + rng.IntN(n)
			time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
		}
		if _, err := to.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// down hands on what the server says, message by message.
func (p *rough) down(client net.Conn, server *bufio.Reader, rng *rand.Rand) {
	for { // the answer to the upgrade
		line, err := server.ReadString('\n')
		if err != nil || p.pass(client, []byte(line), rng) != nil {
			return
		}
		if strings.TrimSpace(line) == "" {
			break
		}
	}
	var held []byte // comes after the next one
	for {
		m, err := readMessage(server)
		if err != nil {
			return
		}
		out := [][]byte{m}
		if held != nil {
			out = append(out, held)
			held = nil
		} else if numbered := strings.Contains(string(m[:min(40, len(m))]), `"delta"`) || strings.Contains(string(m[:min(40, len(m))]), `"event"`) || strings.Contains(string(m[:min(40, len(m))]), `"alarm"`); numbered && !p.calm.Load() {
			switch rng.IntN(25) {
			case 0:
				p.harmed[lost].Add(1)
				out = nil
			case 1:
				p.harmed[doubled].Add(1)
				out = append(out, m)
			case 2:
				p.harmed[swapped].Add(1)
				held, out = m, nil
			case 3:
				p.harmed[severed].Add(1)
				_ = p.pass(client, m[:rng.IntN(len(m))], rng)
				return
			}
		}
		for _, m := range out {
			if p.pass(client, m, rng) != nil {
				return
			}
		}
	}
}

// readMessage reads one message of a server, which masks and splits none.
func readMessage(r *bufio.Reader) ([]byte, error) {
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	length := uint64(head[1] & 0x7f)
	if more := map[uint64]int{126: 2, 127: 8}[length]; more > 0 {
		head = head[:2+more]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		length = 0
		for _, b := range head[2:] {
			length = length<<8 | uint64(b)
		}
	}
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 || length > 1<<24 {
		return nil, fmt.Errorf("a frame that begins with % x", binary.BigEndian.AppendUint16(nil, uint16(head[0])<<8|uint16(head[1])))
	}
	m := make([]byte, len(head)+int(length))
	copy(m, head)
	_, err := io.ReadFull(r, m[len(head):])
	return m, err
}

// A follower follows three topics as FEED.md says, whatever becomes of its connection.
type follower struct {
	t      *testing.T
	url    string
	conn   *websocket.Conn
	topics map[string]*following // by topic
	state  mirror
	told   map[string]map[string]int // by topic, what was told and how often
	asked  int                       // subscriptions made, which names them
}

type following struct {
	id      string
	epoch   string
	seq     uint64
	loading bool
}

func (f *follower) say(format string, a ...any) error {
	return f.conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, a...))
}

// connect opens a connection and goes on with all topics.
func (f *follower) connect() {
	f.t.Helper()
	for {
		conn, resp, err := websocket.DefaultDialer.Dial(f.url, nil)
		if err != nil {
			f.t.Errorf("dial: %v", err)
			return
		}
		resp.Body.Close()
		f.conn = conn
		err = nil
		for topic := range f.topics {
			err = errors.Join(err, f.subscribe(topic))
		}
		if err == nil {
			return
		}
		conn.Close()
	}
}

// subscribe goes on with a topic under a new name: what is on its way under the old one counts no more.
func (f *follower) subscribe(topic string) error {
	s := f.topics[topic]
	f.asked++
	s.id, s.loading = fmt.Sprint(topic, f.asked), false
	from := ""
	if s.epoch != "" {
		from = fmt.Sprintf(`,"resume":{"epoch":%q,"seq":%d}`, s.epoch, s.seq)
	}
	return f.say(`{"op":"subscribe","id":%q,"topic":%q,"max_hz":50%s}`, s.id, topic, from)
}

// take takes the next message, or another connection where there is none.
func (f *follower) take() {
	_ = f.conn.SetReadDeadline(time.Now().Add(time.Minute))
	_, data, err := f.conn.ReadMessage()
	if err != nil {
		f.conn.Close()
		f.connect()
		return
	}
	var m said
	if err := json.Unmarshal(data, &m); err != nil {
		f.t.Errorf("%.200s: %v", data, err)
	}
	for topic, s := range f.topics {
		if s.id != m.ID || m.ID == "" {
			continue
		}
		switch {
		case m.Type == "error":
			f.t.Errorf("%s: %s", topic, m.Detail)
		case m.Type == "snapshot":
			if s.epoch != "" && topic != "state" && !s.loading {
				f.t.Errorf("%s: a snapshot, and what came after %d was still held", topic, s.seq)
			}
			if topic == "state" {
				if !s.loading {
					f.state.loading = nil
				}
				f.state.take(f.t, m)
			}
			if s.loading = m.More; !m.More {
				s.epoch, s.seq = m.Epoch, m.Seq
			}
		case m.Seq <= s.seq: // once more
		case m.Seq > s.seq+1:
			if f.say(`{"op":"unsubscribe","id":%q}`, s.id) != nil || f.subscribe(topic) != nil {
				f.conn.Close()
				f.connect()
			}
		default:
			s.seq = m.Seq
			switch topic {
			case "state":
				f.state.take(f.t, m)
			case "events":
				f.told[topic][fmt.Sprint(m.Event["id"])]++
			case "alarms":
				f.told[topic][fmt.Sprint(m.Alarm["id"], " ", m.Alarm["count"])]++
			}
		}
	}
}

// TestRoughNetwork has followers behind a proxy that spares nothing end with the server's state, and with every
// event and every change of an alarm exactly once.
func TestRoughNetwork(t *testing.T) {
	bell := &siren{}
	r := newRoom(t, Config{Coalesce: 2 * time.Millisecond, Heartbeat: 50 * time.Millisecond, Alarms: bell})
	p := newRough(t, strings.TrimPrefix(r.url, "ws://"))
	const followers, rounds, devices = 4, 200, 60
	finished := make(chan *follower, followers)
	var subscribed sync.WaitGroup
	want := make(chan struct{})
	var state map[string]map[string]any // once want is closed
	events, changes := map[string]int{}, map[string]int{}
	for range followers {
		f := &follower{t: t, url: "ws://" + p.l.Addr().String(), topics: map[string]*following{"state": {}, "events": {}, "alarms": {}}, told: map[string]map[string]int{"events": {}, "alarms": {}}}
		subscribed.Add(1)
		go func() {
			defer func() { finished <- f }()
			f.connect()
			for f.topics["state"].epoch == "" || f.topics["events"].epoch == "" || f.topics["alarms"].epoch == "" {
				f.take()
			}
			subscribed.Done()
			for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); f.take() { // heartbeats wake it
				select {
				case <-want:
					if !f.topics["state"].loading && reflect.DeepEqual(f.state.devices, state) && reflect.DeepEqual(f.told["events"], events) && reflect.DeepEqual(f.told["alarms"], changes) {
						f.conn.Close()
						return
					}
				default:
				}
			}
		}()
	}
	subscribed.Wait()
	rng := rand.New(rand.NewPCG(7, 7))
	round := func(i int) {
		var o batch.Observations
		for range 10 {
			o.Append(o.Begin(int64(1000+i), int64(1000+i), "lighting", fmt.Sprintf("d%d", rng.IntN(devices))), fmt.Sprintf("m%d", rng.IntN(3)), float64(rng.IntN(1000)), "", 0)
		}
		r.state.Apply(&o)
		e := testEvent(fmt.Sprint("e", i), "major", "raised", 1000+i)
		r.hub.events([]batch.Event{e})
		a := alarms.Record{Alarm: &alarms.Alarm{ID: fmt.Sprint("a", i%5), Rule: "r", Severity: "major", Domain: "lighting", Count: i + 1}}
		bell.listen([]alarms.Record{a})
		events[e.ID]++
		changes[fmt.Sprint(a.ID, " ", i+1)]++
	}
	for i := range rounds {
		round(i)
		time.Sleep(5 * time.Millisecond) // so that there are many frames
	}
	p.calm.Store(true)
	round(rounds) // who has lost the last one notices by the next
	state = map[string]map[string]any{}
	for _, d := range r.state.Devices() {
		it := map[string]any{}
		if err := json.Unmarshal(r.state.AppendItem(nil, d, 0), &it); err != nil {
			t.Fatal(err)
		}
		state[d.ID()] = it
	}
	close(want)
	for range followers {
		f := <-finished
		for topic, want := range map[string]map[string]int{"events": events, "alarms": changes} {
			for id, n := range want {
				if f.told[topic][id] != n {
					t.Errorf("%s %s was told %d times, want %d", topic, id, f.told[topic][id], n)
				}
			}
			if len(f.told[topic]) != len(want) {
				t.Errorf("%d %s were told, want %d", len(f.told[topic]), topic, len(want))
			}
		}
		if !reflect.DeepEqual(f.state.devices, state) {
			t.Error("a follower ends with another state")
		}
	}
	for what := range p.harmed {
		if p.harmed[what].Load() == 0 {
			t.Errorf("harm %d was not done", what)
		}
	}
	t.Logf("%d messages lost, %d doubled, %d swapped, %d connections cut", p.harmed[lost].Load(), p.harmed[doubled].Load(), p.harmed[swapped].Load(), p.harmed[severed].Load())
}
