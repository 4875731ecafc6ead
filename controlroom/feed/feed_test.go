package feed

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/stream/alarms"
	"panormus/stream/batch"
)

// room is a Hub on a server, with the state that it shows.
type room struct {
	state *live.State
	hub   *Hub
	url   string
	plain bool // dial without compression
}

// open lets everybody in.
func open(h http.Handler) http.Handler {
	return (&auth.Guard{}).Wrap(h)
}

func newRoom(t testing.TB, cfg Config) *room {
	t.Helper()
	state := live.New(nil, nil, nil)
	cfg.State = state
	hub := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	srv := httptest.NewServer(open(hub))
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Close()
	})
	return &room{state: state, hub: hub, url: "ws" + strings.TrimPrefix(srv.URL, "http")}
}

func (r *room) set(device, metric string, at int64, value float64) {
	var o batch.Observations
	o.Append(o.Begin(at, at, "lighting", device), metric, value, "", 0)
	r.state.Apply(&o)
}

// wire is one connection of a test.
type wire struct {
	t testing.TB
	*websocket.Conn
}

func (r *room) dial(t testing.TB) *wire {
	t.Helper()
	d := websocket.Dialer{EnableCompression: !r.plain}
	conn, resp, err := d.Dial(r.url, nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	resp.Body.Close()
	t.Cleanup(func() { conn.Close() })
	return &wire{t, conn}
}

func (w *wire) say(format string, a ...any) {
	w.t.Helper()
	if err := w.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, a...)); err != nil {
		w.t.Fatalf("write: %v", err)
	}
}

type said struct {
	Type, ID, Epoch, Title, Detail, T string
	Seq                               uint64
	More                              bool
	N                                 json.RawMessage
	Items                             []map[string]any
	Event                             map[string]any
	Alarm                             map[string]any
	Stats                             map[string]any
}

// any returns the next message.
func (w *wire) any() said {
	w.t.Helper()
	_ = w.SetReadDeadline(time.Now().Add(time.Minute))
	_, data, err := w.ReadMessage()
	if err != nil {
		w.t.Fatalf("read: %v", err)
	}
	var s said
	if err := json.Unmarshal(data, &s); err != nil {
		w.t.Fatalf("message %.200s: %v", data, err)
	}
	return s
}

// next returns the next message that is no heartbeat.
func (w *wire) next() said {
	w.t.Helper()
	for {
		if s := w.any(); s.Type != "heartbeat" {
			return s
		}
	}
}

// closed reads until the connection ends and returns the close code.
func (w *wire) closed() int {
	_ = w.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := w.ReadMessage(); err != nil {
			if e, ok := err.(*websocket.CloseError); ok {
				return e.Code
			}
			w.t.Logf("ended with %v", err)
			return 0
		}
	}
}

func TestSnapshotThenDelta(t *testing.T) {
	r := newRoom(t, Config{})
	r.set("pole-7", "power_w", 1000, 80)
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"a","topic":"state","filter":{"domain":["lighting"]}}`)
	s := w.next()
	if s.Type != "snapshot" || s.ID != "a" || s.Epoch == "" || s.More || len(s.Items) != 1 || s.Items[0]["id"] != "pole-7" {
		t.Fatalf("snapshot %+v", s)
	}
	seq := s.Seq
	for i := range 5 {
		r.set("pole-7", "power_w", int64(2000+i), float64(i))
		s = w.next()
		seq++
		want := map[string]any{"id": "pole-7", "t": fmt.Sprintf("1970-01-01T00:00:02.00%dZ", i), "values": map[string]any{"power_w": float64(i)}}
		if s.Type != "delta" || s.Seq != seq || len(s.Items) != 1 || !reflect.DeepEqual(s.Items[0], want) {
			t.Fatalf("delta %d: %+v, want seq %d and %v", i, s, seq, want)
		}
	}
	var other batch.Observations
	other.Append(other.Begin(1, 1, "waste", "bin"), "fill", 1, "", 0)
	r.state.Apply(&other)
	r.set("pole-8", "power_w", 1, 5) // a new one comes whole
	s = w.next()
	if len(s.Items) != 1 || s.Items[0]["id"] != "pole-8" || s.Items[0]["domain"] != "lighting" || s.Items[0]["alarm"] != nil {
		t.Errorf("delta of a new device %+v", s)
	}
	w.say(`{"op":"unsubscribe","id":"a"}`)
	w.say(`{"op":"ping","n":7}`)
	if s := w.next(); s.Type != "pong" || string(s.N) != "7" {
		t.Errorf("%+v, want a pong", s)
	}
}

func TestSnapshotPages(t *testing.T) {
	r := newRoom(t, Config{})
	const n = 2*pageItems + 10
	for i := range n {
		r.set(fmt.Sprintf("d%d", i), "m", 1, 1)
	}
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"a","topic":"state"}`)
	seen, pages := map[any]bool{}, 0
	for more := true; more; pages++ {
		s := w.next()
		more = s.More
		for _, it := range s.Items {
			seen[it["id"]] = true
		}
	}
	if len(seen) != n || pages != 3 {
		t.Errorf("%d devices in %d pages, want %d in 3", len(seen), pages, n)
	}
}

func TestBadMessages(t *testing.T) {
	r := newRoom(t, Config{MaxSubscriptions: 2})
	for _, tc := range []struct{ say, want string }{
		{`{`, "not JSON"},
		{`[]`, "a JSON array, want an object"},
		{`{"op":"ping"} {}`, "one object a message"},
		{`{}`, "op: missing"},
		{`{"op":"shout"}`, `op: "shout"`},
		{`{"op":"subscribe","topic":"state"}`, "id: missing"},
		{`{"op":"subscribe","id":"","topic":"state"}`, "id: 0 bytes"},
		{`{"op":"subscribe","id":7,"topic":"state"}`, "id: a JSON number, want a string"},
		{`{"op":"subscribe","id":"x"}`, "topic: missing"},
		{`{"op":"subscribe","id":"x","topic":"news"}`, `topic: "news"`},
		{`{"op":"subscribe","id":"x","topic":"state","max_hz":0}`, "max_hz: 0"},
		{`{"op":"subscribe","id":"x","topic":"state","max_hz":"4"}`, "max_hz: a JSON string, want a number"},
		{`{"op":"subscribe","id":"x","topic":"state","encoding":"xml"}`, `encoding: "xml"`},
		{`{"op":"subscribe","id":"x","topic":"events","encoding":"bin"}`, "only state"},
		{`{"op":"subscribe","id":"x","topic":"state","filter":{"bbox":[1,2,3]}}`, "filter.bbox: 3 numbers"},
		{`{"op":"subscribe","id":"x","topic":"state","filter":{"bbox":[13,38,12,39]}}`, "west <= east"},
		{`{"op":"subscribe","id":"x","topic":"state","filter":{"domain":"lighting"}}`, "filter.domain: a JSON string, want an array of strings"},
		{`{"op":"subscribe","id":"x","topic":"state","filtre":{}}`, `unknown member "filtre"`},
		{`{"op":"subscribe","id":"x","topic":"events","filter":{"severity":["grave"]}}`, `filter.severity: "grave"`},
		{`{"op":"subscribe","id":"x","topic":"state","filter":{"severity":["info"]}}`, "filter.severity: not for topic state"},
		{`{"op":"unsubscribe","id":"x"}`, `"x" is not subscribed`},
		{`{"op":"ping","n":"` + strings.Repeat("x", 100) + `"}`, "want a number"},
	} {
		w := r.dial(t)
		w.say("%s", tc.say)
		if s := w.next(); s.Type != "error" || s.Title == "" || !strings.Contains(s.Detail, tc.want) {
			t.Errorf("%s\n got %+v\nwant an error with %q", tc.say, s, tc.want)
		}
		w.Close()
	}

	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"a","topic":"stats"}`)
	w.say(`{"op":"subscribe","id":"a","topic":"stats"}`)
	w.say(`{"op":"subscribe","id":"b","topic":"stats"}`)
	w.say(`{"op":"subscribe","id":"c","topic":"stats"}`)
	var details []string
	for len(details) < 2 {
		if s := w.next(); s.Type == "error" {
			details = append(details, s.ID+": "+s.Detail)
		}
	}
	if !strings.Contains(details[0], "subscribed already") || !strings.Contains(details[1], "c: 3 subscriptions, want at most 2") {
		t.Errorf("errors %q", details)
	}
}

func TestThreeBadInARowClose(t *testing.T) {
	r := newRoom(t, Config{})
	w := r.dial(t)
	for range 2 {
		w.say(`nonsense`)
	}
	w.say(`{"op":"ping","n":1}`) // starts the count again
	for range 2 {
		w.say(`nonsense`)
	}
	if err := w.WriteMessage(websocket.BinaryMessage, []byte{1}); err != nil {
		t.Fatal(err)
	}
	errors := 0
	for {
		_ = w.SetReadDeadline(time.Now().Add(time.Minute))
		_, data, err := w.ReadMessage()
		if err != nil {
			if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
				t.Errorf("ended with %v, want 1008", err)
			}
			break
		}
		if strings.Contains(string(data), `"error"`) {
			errors++
		}
	}
	if errors != 5 {
		t.Errorf("%d error frames before the close, want 5", errors)
	}
}

func TestOversizedMessage(t *testing.T) {
	r := newRoom(t, Config{MaxMessage: 1000})
	w := r.dial(t)
	w.say(`{"op":"ping","n":%s1}`, strings.Repeat(" ", 2000))
	if code := w.closed(); code != websocket.CloseMessageTooBig {
		t.Errorf("closed with %d, want 1009", code)
	}
}

func TestMaxHzConflates(t *testing.T) {
	r := newRoom(t, Config{})
	r.set("d", "m", 1, 0)
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"a","topic":"state","max_hz":5}`)
	w.next()
	begun := time.Now()
	const changes = 200
	go func() {
		for i := range changes {
			r.set("d", "m", int64(2+i), float64(i+1))
			time.Sleep(3 * time.Millisecond)
		}
	}()
	frames := 0
	for {
		s := w.next()
		frames++
		if len(s.Items) != 1 {
			t.Fatalf("frame %+v, want one item", s)
		}
		if s.Items[0]["values"].(map[string]any)["m"] == float64(changes) {
			break
		}
	}
	if most := int(time.Since(begun)/(200*time.Millisecond)) + 2; frames > most {
		t.Errorf("%d frames in %v, want at most %d", frames, time.Since(begun), most)
	}
}

// mirror puts frames together as a client does.
type mirror struct {
	epoch   string
	seq     uint64
	devices map[string]map[string]any
	loading map[string]map[string]any
}

func (m *mirror) take(t *testing.T, s said) {
	switch s.Type {
	case "snapshot":
		if m.loading == nil {
			m.loading = map[string]map[string]any{}
		}
		for _, it := range s.Items {
			m.loading[it["id"].(string)] = it
		}
		if !s.More {
			m.devices, m.loading = m.loading, nil
			m.epoch, m.seq = s.Epoch, s.Seq
		}
	case "delta":
		if s.Seq != m.seq+1 {
			t.Fatalf("delta %d after %d", s.Seq, m.seq)
		}
		m.seq = s.Seq
		for _, it := range s.Items {
			id := it["id"].(string)
			d := m.devices[id]
			if d == nil {
				m.devices[id] = it
				if _, whole := it["domain"]; !whole {
					t.Fatalf("a part of a device that was never whole: %v", it)
				}
				continue
			}
			values, _ := it["values"].(map[string]any)
			for k, v := range it {
				if k != "values" {
					d[k] = v
				}
			}
			if d["values"] == nil {
				d["values"] = map[string]any{}
			}
			for k, v := range values {
				d["values"].(map[string]any)[k] = v
			}
		}
	}
}

// TestChaos: clients that are quick, that dawdle, and that break off and resume, under random
// changes, all end with the server's state.
func TestChaos(t *testing.T) {
	r := newRoom(t, Config{Coalesce: 2 * time.Millisecond, Heartbeat: 50 * time.Millisecond})
	const devices = 300
	for i := range devices / 2 {
		r.set(fmt.Sprintf("d%d", i), "m0", 1, 0)
	}
	stop := make(chan struct{})
	var want map[string]map[string]any // once stop is closed
	finished := make(chan map[string]map[string]any, 3)
	for _, kind := range []string{"quick", "slow", "resuming"} {
		go func() {
			rng := rand.New(rand.NewPCG(uint64(len(kind)), 1))
			var m mirror
			defer func() { finished <- m.devices }()
			w := r.dial(t)
			subscribe := func() {
				resume := ""
				if m.devices != nil {
					resume = fmt.Sprintf(`,"resume":{"epoch":%q,"seq":%d}`, m.epoch, m.seq)
				}
				w.say(`{"op":"subscribe","id":"s","topic":"state","max_hz":50%s}`, resume)
			}
			subscribe()
			for end := (time.Time{}); end.IsZero() || time.Now().Before(end); {
				m.take(t, w.any()) // a heartbeat wakes whoever has the last frame already
				select {
				case <-stop:
					if end.IsZero() {
						end = time.Now().Add(time.Minute)
					}
					if m.loading == nil && reflect.DeepEqual(m.devices, want) {
						return
					}
					continue
				default:
				}
				switch {
				case kind == "slow" && rng.IntN(10) == 0:
					time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
				case kind == "resuming" && rng.IntN(10) == 0 && m.devices != nil && m.loading == nil:
					w.Close()
					w = r.dial(t)
					subscribe()
				}
			}
		}()
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		var o batch.Observations
		for range 50 {
			at := time.Now().UnixMilli() - rng.Int64N(20)
			h := o.Begin(at, at, "lighting", fmt.Sprintf("d%d", rng.IntN(devices)))
			if rng.IntN(5) == 0 {
				o.Append(h, "status", math.NaN(), fmt.Sprint(rng.IntN(5)), 0)
			}
			o.Append(h, fmt.Sprintf("m%d", rng.IntN(4)), float64(rng.IntN(10)), "", 0)
		}
		r.state.Apply(&o)
		time.Sleep(time.Millisecond)
	}
	want = map[string]map[string]any{}
	for _, d := range r.state.Devices() {
		it := map[string]any{}
		if err := json.Unmarshal(r.state.AppendItem(nil, d, 0), &it); err != nil {
			t.Fatal(err)
		}
		want[d.ID()] = it
	}
	close(stop)
	for range 3 {
		got := <-finished
		if len(got) != len(want) {
			t.Errorf("a client knows %d devices, want %d", len(got), len(want))
		}
		for id, w := range want {
			if !reflect.DeepEqual(got[id], w) {
				t.Errorf("%s: the client has %v, want %v", id, got[id], w)
				break
			}
		}
	}
}

func TestResume(t *testing.T) {
	r := newRoom(t, Config{})
	r.set("a", "m", 1, 1)
	r.set("b", "m", 1, 1)
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"x","topic":"state"}`)
	s := w.next()
	epoch := s.Epoch
	r.set("a", "m", 2, 2)
	if s = w.next(); s.Type != "delta" {
		t.Fatalf("%+v, want a delta", s)
	}
	at := s.Seq
	w.Close()
	g := r.group(t)
	for i := range 3 {
		before := g.number()
		r.set("b", "m", int64(3+i), float64(3+i))
		waitFor(t, func() bool { return g.number() > before })
	}
	w = r.dial(t)
	w.say(`{"op":"subscribe","id":"y","topic":"state","resume":{"epoch":%q,"seq":%d}}`, epoch, at)
	var last any
	for n := range 3 {
		s = w.next()
		if s.Type != "delta" || s.ID != "y" || s.Seq != at+1+uint64(n) {
			t.Fatalf("%+v, want delta %d", s, at+1+uint64(n))
		}
		for _, it := range s.Items {
			if it["id"] != "b" {
				t.Errorf("%v after the resume, want only b", it)
			}
			last = it["values"].(map[string]any)["m"]
		}
	}
	if last != 5.0 {
		t.Errorf("b = %v, want 5", last)
	}
	for _, resume := range []string{`{"epoch":"gone","seq":1}`, fmt.Sprintf(`{"epoch":%q,"seq":99999}`, epoch)} {
		w = r.dial(t)
		w.say(`{"op":"subscribe","id":"z","topic":"state","resume":%s}`, resume)
		if s := w.next(); s.Type != "snapshot" || len(s.Items) != 2 {
			t.Errorf("resume %s gives %+v, want a snapshot", resume, s)
		}
	}
}

func (r *room) group(t *testing.T) *stateGroup {
	t.Helper()
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for _, g := range r.hub.groups {
		if g, ok := g.(*stateGroup); ok {
			return g
		}
	}
	t.Fatal("no group")
	return nil
}

func (g *stateGroup) number() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seq
}

func waitFor(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass in a minute")
		}
	}
}

func testEvent(id, severity, state string, at int) batch.Event {
	return batch.Event{ID: id, Rule: "hot", Key: "pole-7", Device: "pole-7", Domain: "lighting", Severity: severity, State: state, Time: time.Unix(int64(at), 0).UTC()}
}

// siren is alarms that a test changes.
type siren struct {
	open   []alarms.Record
	listen func([]alarms.Record)
}

func (s *siren) List(q alarms.Query) ([]alarms.Record, bool, int) {
	var out []alarms.Record
	for _, r := range s.open {
		if len(q.Severities) == 0 || slices.Contains(q.Severities, r.Severity) {
			out = append(out, r)
		}
	}
	return out, false, len(out)
}
func (s *siren) OnChange(listen func([]alarms.Record)) { s.listen = listen }

func TestAlarms(t *testing.T) {
	alarm := func(severity string, active bool, rev uint64) alarms.Record {
		return alarms.Record{Alarm: &alarms.Alarm{ID: "x", Severity: severity, Active: active, Confirmed: !active, Domain: "lighting"}, Rev: rev}
	}
	from := &siren{open: []alarms.Record{alarm("warning", true, 1)}}
	r := newRoom(t, Config{Alarms: from})
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"a","topic":"alarms","filter":{"severity":["warning"]}}`)
	if s := w.next(); s.Type != "snapshot" || len(s.Items) != 1 || s.Items[0]["state"] != "unacked" || s.Items[0]["rev"] != 1.0 {
		t.Fatalf("snapshot %+v", s)
	}
	var changes []alarms.Record
	for rev := uint64(2); rev <= 500; rev++ {
		changes = append(changes, alarm("warning", true, rev))
	}
	// Graver than the filter wants: told once, so that nobody goes on showing it as it was.
	from.listen(append(changes, alarm("critical", true, 501), alarm("critical", true, 502)))
	from.listen([]alarms.Record{alarm("warning", false, 503)})
	for rev := 2; rev <= 503; rev++ {
		if rev == 502 {
			continue
		}
		if s := w.next(); s.Type != "alarm" || s.Alarm["rev"] != float64(rev) {
			t.Fatalf("%s %v, want the alarm of rev %d: none is left out or merged", s.Type, s.Alarm, rev)
		}
	}
}

func TestEvents(t *testing.T) {
	r := newRoom(t, Config{})
	r.set("pole-7", "m", 1, 1)
	r.state.ApplyEvents([]batch.Event{testEvent("1", "warning", "raised", 1)})
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"e","topic":"events","filter":{"severity":["warning","major"]}}`)
	s := w.next()
	if s.Type != "snapshot" || len(s.Items) != 1 || s.Items[0]["id"] != "1" || s.Items[0]["time"] != "1970-01-01T00:00:01.000Z" {
		t.Fatalf("events snapshot %+v", s)
	}
	epoch, seq := s.Epoch, s.Seq
	var events []batch.Event
	for i := range 500 {
		events = append(events, testEvent(fmt.Sprint("u", i), []string{"info", "major"}[i%2], "updated", 2+i))
	}
	r.state.ApplyEvents(events)
	r.state.ApplyEvents([]batch.Event{testEvent("end", "major", "cleared", 1000)})
	for range 251 {
		if s := w.next(); s.Type != "event" || s.Seq != seq+1 {
			t.Fatalf("%s %d, want event %d: none is left out or merged", s.Type, s.Seq, seq+1)
		}
		seq++
	}
	w = r.dial(t)
	w.say(`{"op":"subscribe","id":"e","topic":"events","filter":{"severity":["major","warning"]},"resume":{"epoch":%q,"seq":%d}}`, epoch, seq-1)
	if s := w.next(); s.Type != "event" || s.Event["id"] != "end" {
		t.Errorf("after a resume %+v, want the last event", s)
	}
	w.say(`{"op":"subscribe","id":"f","topic":"events","filter":{"severity":["warning","major"]}}`)
	if s := w.next(); s.Type != "snapshot" || len(s.Items) != listShown || s.Items[listShown-1]["id"] != "end" {
		t.Errorf("snapshot of %d events, want the newest %d", len(s.Items), listShown)
	}
}

func TestStats(t *testing.T) {
	r := newRoom(t, Config{StatsEvery: 20 * time.Millisecond, Stats: func() any { return map[string]int{"received": 7} }})
	w := r.dial(t)
	w.say(`{"op":"subscribe","id":"s","topic":"stats"}`)
	s := w.next()
	if s.Type != "snapshot" || len(s.Items) != 1 || s.Items[0]["received"] != 7.0 {
		t.Fatalf("stats snapshot %+v", s)
	}
	for i := range 3 {
		if n := w.next(); n.Type != "stats" || n.Seq != s.Seq+1+uint64(i) || n.Stats["received"] != 7.0 {
			t.Errorf("stats %+v", n)
		}
	}
}

func TestHeartbeat(t *testing.T) {
	r := newRoom(t, Config{Heartbeat: 20 * time.Millisecond})
	w := r.dial(t)
	for range 3 {
		_, data, err := w.ReadMessage()
		if err != nil || !strings.HasPrefix(string(data), `{"type":"heartbeat","t":"2`) {
			t.Fatalf("%s, %v; want a heartbeat", data, err)
		}
	}
}

// TestSlowClient: one that does not read is closed with 1013 once it reads again, and delays nobody.
func TestSlowClient(t *testing.T) {
	// The quick one must not be taken for slow when the machine stands still, and the slow one not be
	// cut off: were the quick one to wait for it, it would wait in vain.
	const slowAfter = 2 * time.Second
	r := newRoom(t, Config{SlowAfter: slowAfter, CutAfter: time.Hour})
	r.plain = true // what compresses well takes long to fill the kernel's buffers
	long := strings.Repeat("x", 2000)
	set := func(round int) {
		var o batch.Observations
		at := int64(round + 1)
		for i := range 500 {
			o.Append(o.Begin(at, at, "lighting", fmt.Sprintf("d%d", i)), "status", math.NaN(), fmt.Sprint(long, round), 0)
		}
		r.state.Apply(&o)
	}
	set(0)
	slow, quick := r.dial(t), r.dial(t)
	for _, w := range []*wire{slow, quick} {
		w.say(`{"op":"subscribe","id":"s","topic":"state","max_hz":50}`)
	}
	quick.next()
	for round := range 20 { // 1 MB each, more than is held on the way
		set(round + 1)
		if s := quick.next(); s.Type != "delta" || len(s.Items) == 0 {
			t.Fatalf("%+v, want a delta", s)
		}
	}
	time.Sleep(2 * slowAfter) // the server waits for the slow one for longer than it may take
	if code := slow.closed(); code != websocket.CloseTryAgainLater {
		t.Errorf("the slow client was closed with %d, want 1013", code)
	}
	quick.say(`{"op":"ping","n":1}`)
	for quick.next().Type != "pong" {
	}
}

// TestOvertakenByEvents: a client whose queue of events overflows is closed, not given a part.
func TestOvertakenByEvents(t *testing.T) {
	r := newRoom(t, Config{})
	g := newEventGroup(r.state, "e", func(any) bool { return true })
	c := &client{hub: r.hub, who: auth.Open, wakeup: make(chan struct{}, 1)}
	sub := g.join(c, "x", nil)
	if m, _, err := sub.step(time.Now()); len(m) != 1 || err != nil {
		t.Fatalf("snapshot: %d messages, %v", len(m), err)
	}
	fill := func(n int) {
		for i := range n {
			g.append(fmt.Appendf(nil, "%d", i))
		}
	}
	fill(listHeld)
	if m, _, err := sub.step(time.Now()); len(m) != 1 || err != nil {
		t.Fatalf("at the bound: %d messages, %v; want the next one", len(m), err)
	}
	fill(2)
	if _, _, err := sub.step(time.Now()); err != errSlow {
		t.Errorf("beyond the bound: %v, want %v", err, errSlow)
	}
	sub.leave()
	if len(g.subs.count) != 0 {
		t.Error("the group still has subscribers")
	}
}

// TestFarBehind: a client far behind gets what changed in one frame, the numbers between empty.
func TestFarBehind(t *testing.T) {
	r := newRoom(t, Config{})
	now := time.Now() // it stands still
	r.set("a", "m", 1, 0)
	r.set("b", "m", 1, 0)
	q := request{Topic: "state", ID: new(string)}
	g := newStateGroup(r.hub, "e", &q, nil)
	c := &client{hub: r.hub, who: auth.Open, wakeup: make(chan struct{}, 1)}
	sub := g.join(c, "x", nil).(*stateSubscription)
	if m, _, _ := sub.step(now); len(m) != 1 {
		t.Fatal("no snapshot")
	}
	a := r.state.Lookup("a")
	for range framesHeld - 1 {
		g.pending = append(g.pending, entry{a, 1})
		g.seal(now)
	}
	m, _, err := sub.step(now)
	if err != nil || len(m) != framesHeld-1 || sub.at != g.seq {
		t.Fatalf("%d messages to %d, %v; want %d to %d", len(m), sub.at, err, framesHeld-1, g.seq)
	}
	if len(m[0].data) < 60 || len(m[1].data) > 60 {
		t.Errorf("messages of %d and %d bytes, want all in the first", len(m[0].data), len(m[1].data))
	}
	g.pending = append(g.pending, entry{a, 1})
	g.seal(now)
	if m, again, _ := sub.step(now); len(m) != 0 || again.IsZero() {
		t.Errorf("%d messages right after it lagged, want it left alone", len(m))
	}
	for range framesHeld + 1 {
		g.pending = append(g.pending, entry{a, 1})
		g.seal(now)
	}
	if _, _, err := sub.step(now.Add(time.Hour)); err != errSlow {
		t.Errorf("farther behind than is held: %v, want %v", err, errSlow)
	}
	if len(g.frames) > framesHeld || len(g.old) > 2 {
		t.Errorf("%d frames and %d old entries held", len(g.frames), len(g.old))
	}
}

// TestLaggards steps subscriptions at random paces, and resumes some from places they once had,
// under random changes, with little held: all end with the state.
func TestLaggards(t *testing.T) {
	state := live.New(nil, nil, nil)
	r := &room{state: state, hub: New(Config{State: state})}
	rng := rand.New(rand.NewPCG(5, 6))
	id := "x"
	g := newStateGroup(r.hub, "e", &request{Topic: "state", ID: &id}, nil)
	g.least = 100
	c := &client{hub: r.hub, who: auth.Open, wakeup: make(chan struct{}, 1)}
	type reader struct {
		sub subscription
		m   mirror
	}
	now := time.Now()
	step := func(l *reader) bool {
		now = now.Add(time.Second) // past the time it is left alone
		messages, _, err := l.sub.step(now)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			var s said
			if err := json.Unmarshal(m.data, &s); err != nil {
				t.Fatal(err)
			}
			l.m.take(t, s)
		}
		return len(messages) > 0
	}
	var readers []*reader
	for range 6 {
		readers = append(readers, &reader{sub: g.join(c, id, nil)})
	}
	for round := range 600 {
		var o batch.Observations
		at := int64(1000 + round)
		for range 1 + rng.IntN(6) {
			h := o.Begin(at, at, "lighting", fmt.Sprintf("d%d", rng.IntN(60)))
			o.Append(h, fmt.Sprintf("m%d", rng.IntN(4)), float64(rng.IntN(9)), "", 0)
		}
		state.Apply(&o)
		if rng.IntN(2) == 0 {
			g.note(state.Collect(nil))
		}
		if len(g.pending) > 0 && rng.IntN(3) > 0 {
			g.seal(now)
		}
		for i, l := range readers {
			if rng.IntN(1+i*i*4) > 0 { // the last ones lag far behind
				continue
			}
			for step(l) && rng.IntN(4) > 0 {
			}
			if l.m.devices != nil && l.m.loading == nil && rng.IntN(10) == 0 {
				l.sub.leave()
				l.sub = g.join(c, "y", &resume{Epoch: "e", Seq: l.m.seq})
			}
		}
	}
	g.note(state.Collect(nil))
	g.seal(now)
	if g.oldFirst == 0 {
		t.Error("nothing was folded: the test holds too much")
	}
	for i, l := range readers {
		for step(l) {
		}
		if l.m.seq != g.seq || len(l.m.devices) != state.Len() {
			t.Errorf("reader %d is at %d with %d devices, want %d with %d", i, l.m.seq, len(l.m.devices), g.seq, state.Len())
		}
		for id, got := range l.m.devices {
			var want map[string]any
			if err := json.Unmarshal(state.AppendItem(nil, state.Lookup(id), 0), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("reader %d has %v, want %v", i, got, want)
				break
			}
		}
	}
}

func TestOriginAndBounds(t *testing.T) {
	r := newRoom(t, Config{MaxClients: 1})
	dial := func(origin string) (*websocket.Conn, *http.Response) {
		conn, resp, err := websocket.DefaultDialer.Dial(r.url, http.Header{"Origin": {origin}})
		if err != nil {
			return nil, resp
		}
		return conn, resp
	}
	if conn, resp := dial("https://evil.example"); conn != nil || resp.StatusCode != http.StatusForbidden || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("a page elsewhere gets %v", resp)
	}
	conn, _ := dial("http" + strings.TrimPrefix(r.url, "ws"))
	if conn == nil {
		t.Fatal("our own page is refused")
	}
	defer conn.Close()
	if second, resp := dial(""); second != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a client too many gets %v, want 503", resp)
	}
}

func TestStopSays1001(t *testing.T) {
	state := live.New(nil, nil, nil)
	hub := New(Config{State: state})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	srv := httptest.NewServer(open(hub))
	defer srv.Close()
	w := (&room{url: "ws" + strings.TrimPrefix(srv.URL, "http")}).dial(t)
	w.say(`{"op":"ping","n":1}`)
	w.next()
	cancel()
	if code := w.closed(); code != websocket.CloseGoingAway {
		t.Errorf("closed with %d, want 1001", code)
	}
	<-done
}

func TestGroupsAreSharedAndForgotten(t *testing.T) {
	r := newRoom(t, Config{Linger: time.Millisecond, StatsEvery: 5 * time.Millisecond})
	a, b := r.dial(t), r.dial(t)
	a.say(`{"op":"subscribe","id":"x","topic":"state","max_hz":4,"filter":{"domain":["a","b"],"bbox":[13.3,38.0,13.5,38.2]}}`)
	b.say(`{"op":"subscribe","id":"y","topic":"state","max_hz":4.9,"filter":{"domain":["b","a"],"bbox":[13.301,38.0,13.5,38.2]}}`)
	a.next()
	b.next()
	count := func() int {
		r.hub.mu.Lock()
		defer r.hub.mu.Unlock()
		return len(r.hub.groups)
	}
	if n := count(); n != 1 {
		t.Errorf("%d groups for two subscriptions alike, want 1", n)
	}
	a.Close()
	b.Close()
	waitFor(t, func() bool { return count() == 0 })
}

func TestKeyIgnoresOrder(t *testing.T) {
	id := "x"
	a := request{Topic: "events", ID: &id, Filter: filter{Rule: []string{"q", "p", "p"}}}
	b := request{Topic: "events", ID: &id, Filter: filter{Rule: []string{"p", "q"}}}
	c := request{Topic: "events", ID: &id, Filter: filter{Zone: []string{"p", "q"}}}
	if a.key() != b.key() || a.key() == c.key() {
		t.Errorf("keys %q, %q, %q", a.key(), b.key(), c.key())
	}
	if !slices.IsSortedFunc(hzSteps, func(a, b float64) int { return int(b*10 - a*10) }) {
		t.Error("the rates are not in order")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"op":"subscribe","id":"a","topic":"state","filter":{"domain":["lighting"],"bbox":[13.3,38.0,13.5,38.2],"device":["x"],"zone":["y"]},"max_hz":4,"resume":{"epoch":"e","seq":123}}`,
		`{"op":"subscribe","id":"b","topic":"events","filter":{"severity":["major"]}}`, `{"op":"unsubscribe","id":"a"}`, `{"op":"ping","n":1}`, `{"op":"subscribe","id":"a","topic":"state","max_hz":1e-300}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%q is refused without a word", data)
			}
			return
		}
		if r.Op == "subscribe" && (r.ID == nil || r.interval() <= 0 || r.interval() > 200*time.Second || r.key() == "") {
			t.Errorf("%q is taken as %+v, every %v", data, r, r.interval())
		}
	})
}
