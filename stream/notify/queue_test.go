package notify

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

const testSecret = "a secret of thirty-two characters"

// hook is a receiver of webhooks: it answers what answer says and keeps what it took.
type hook struct {
	*httptest.Server
	t      *testing.T
	answer func(n int) int // status of the nth request, from 1; 0 hangs
	mu     sync.Mutex
	n      int
	taken  []Message
	again  map[string]int // how often each id was taken
	change chan struct{}
}

func newHook(t *testing.T, answer func(int) int) *hook {
	h := &hook{t: t, answer: answer, again: map[string]int{}, change: make(chan struct{}, 1000)}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // it gave up
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	status := 200
	if h.answer != nil {
		status = h.answer(h.n)
	}
	if status == 0 {
		h.mu.Unlock()
		<-r.Context().Done()
		h.mu.Lock()
		return
	}
	if status == 200 {
		want := "sha256=" + hex.EncodeToString(Sign([]byte(testSecret), r.Header.Get(HeaderTimestamp), body))
		if got := r.Header.Get(HeaderSignature); got != want {
			h.t.Errorf("signature %s, want %s", got, want)
		}
		var m Message
		if err := json.Unmarshal(body, &m); err != nil {
			h.t.Errorf("body %s: %v", body, err)
		}
		if r.Header.Get(HeaderID) != m.ID {
			h.t.Errorf("%s %q, want the message's id %q", HeaderID, r.Header.Get(HeaderID), m.ID)
		}
		h.taken = append(h.taken, m)
		h.again[m.ID]++
	}
	w.WriteHeader(status)
	h.change <- struct{}{}
}

// await waits until done accepts what was taken.
func (h *hook) await(done func([]Message) bool) []Message {
	h.t.Helper()
	for deadline := time.After(time.Minute); ; {
		h.mu.Lock()
		taken := slices.Clone(h.taken)
		h.mu.Unlock()
		if done(taken) {
			return taken
		}
		select {
		case <-h.change:
		case <-deadline:
			h.t.Fatalf("not in a minute; taken: %+v", taken)
		}
	}
}

func alarmIDs(messages []Message) []string {
	var ids []string
	for _, m := range messages {
		for _, a := range m.Alarms {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

func duration(d time.Duration) *devices.Duration { return (*devices.Duration)(&d) }

// testDesk is a desk whose routes send every warning to every receiver at once.
func testDesk(t *testing.T, l *streamlog.Log, receivers ...Receiver) *Desk {
	t.Helper()
	var names []string
	for _, r := range receivers {
		names = append(names, r.ID)
	}
	return testDeskWith(t, l, Settings{Receivers: receivers, Routes: []Route{{ID: "all", Receivers: names, GroupWait: duration(0)}}})
}

func testDeskWith(t *testing.T, l *streamlog.Log, s Settings) *Desk {
	t.Helper()
	ctx := t.Context()
	routes, err := l.KV(ctx, "notify_routes")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := l.KV(ctx, "notify_dead")
	if err != nil {
		t.Fatal(err)
	}
	states, err := l.Objects(ctx, "notify")
	if err != nil {
		t.Fatal(err)
	}
	notes, err := l.KV(ctx, "notify_sent")
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{Settings: s, Outlets: &Outlets{Log: l, States: states, Notes: notes}, RouteBucket: routes, DeadBucket: dead, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// start runs parts until the returned function is called, which waits for them.
func start(t *testing.T, runs ...func(context.Context) error) func() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, errKilled) {
				t.Errorf("run: %v", err)
			}
		})
	}
	stop := sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func (d *Desk) runs() []func(context.Context) error {
	out := []func(context.Context) error{
		func(ctx context.Context) error { return d.Run(ctx, func() {}) },
		func(ctx context.Context) error { return d.Dead.Run(ctx, func() {}) },
	}
	for _, q := range d.queues {
		out = append(out, q.Run)
	}
	return out
}

func publish(t *testing.T, l *streamlog.Log, events ...batch.Event) {
	t.Helper()
	data, err := batch.EncodeEvents(events)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), batch.KindEvents, 0, "", data); err != nil {
		t.Fatal(err)
	}
}

func event(n int, state string) batch.Event {
	return batch.Event{
		ID: fmt.Sprintf("%d-%s", n, state), Rule: "r", RuleVersion: "1", Severity: "warning", State: state, Time: time.UnixMilli(int64(1000 * n)).UTC(),
		Domain: "lighting", Device: fmt.Sprintf("pole-%d", n), Key: fmt.Sprintf("pole-%d", n), Zone: "z", Text: "dark", Context: json.RawMessage(`{"a":1}`),
	}
}

func webhookTo(t *testing.T, id, url string) Receiver {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Receiver{ID: id, Webhook: &Webhook{URL: url, Secret: Secret{File: file}}, Timeout: devices.Duration(30 * time.Second)} // who is slower is told twice
}

// awaitSeq waits until the queue has a state: what is published after is told.
func awaitRunning(t *testing.T, d *Desk) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		running := true
		for _, s := range d.Receivers() {
			running = running && s.Running
		}
		if running {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("queues do not run after a minute")
		}
	}
}

func TestWebhookTakesAlarmAndEnd(t *testing.T) {
	l := logtest.New(t, nil)
	publish(t, l, event(1, "raised")) // before there was a receiver: not told
	h := newHook(t, func(n int) int { return map[bool]int{true: 503, false: 200}[n == 1] })
	d := testDesk(t, l, webhookTo(t, "ops", h.URL))
	start(t, d.runs()...)
	awaitRunning(t, d)
	publish(t, l, event(2, "raised"))
	taken := h.await(func(m []Message) bool { return len(m) == 1 })
	if m := taken[0]; m.Status != StatusFiring || m.Severity != "warning" || m.Open != 1 || len(m.Alarms) != 1 || m.Alarms[0].ID != "2-raised" || string(m.Alarms[0].Context) != `{"a":1}` {
		t.Errorf("message %+v, want pole 2 raised", m)
	}
	cleared := event(2, "cleared")
	cleared.Time = cleared.Time.Add(time.Minute)
	publish(t, l, cleared)
	taken = h.await(func(m []Message) bool { return len(m) == 2 })
	if m := taken[1]; m.Status != StatusResolved || m.Open != 0 || m.Alarms[0].State != "cleared" || !m.Alarms[0].Raised.Equal(time.UnixMilli(2000)) {
		t.Errorf("message %+v, want pole 2 cleared, raised at 2 s", m)
	}
}

func TestFailedReceiverDelaysNobody(t *testing.T) {
	l := logtest.New(t, nil)
	hangs, fails, well := newHook(t, func(int) int { return 0 }), newHook(t, func(int) int { return 500 }), newHook(t, nil)
	d := testDesk(t, l, webhookTo(t, "hangs", hangs.URL), webhookTo(t, "fails", fails.URL), webhookTo(t, "well", well.URL))
	start(t, d.runs()...)
	awaitRunning(t, d)
	var want []string
	for i := range 20 {
		publish(t, l, event(i, "raised"))
		want = append(want, fmt.Sprintf("%d-raised", i))
	}
	got := alarmIDs(well.await(func(m []Message) bool { return len(alarmIDs(m)) >= 20 }))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the well receiver got %v, want %v", got, want)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		i := slices.IndexFunc(d.Receivers(), func(s Status) bool { return s.Receiver == "fails" })
		s := d.Receivers()[i]
		if s.Waiting > 0 && s.Failing != nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("status %+v, want messages that wait and since when it fails", s)
		}
	}
}

var errKilled = errors.New("killed")

// TestKilledQueueTellsOnce kills the queue at every step in turn; each event arrives, and what arrives
// twice has the same id.
func TestKilledQueueTellsOnce(t *testing.T) {
	l := logtest.New(t, nil)
	h := newHook(t, nil)
	const n = 30
	steps, kills := atomic.Int64{}, 0
	first := true
	publishing := make(chan struct{})
	for kills < 12 {
		d := testDesk(t, l, webhookTo(t, "ops", h.URL))
		killAt := steps.Load() + 1 + int64(kills%3)
		d.queues[0].hook = func(string) error {
			if steps.Add(1) >= killAt && !first {
				return errKilled
			}
			return nil
		}
		if first {
			// The place in the log is kept before anything is published.
			stop := start(t, d.runs()...)
			awaitRunning(t, d)
			stop()
			first = false
			go func() {
				defer close(publishing)
				for i := range n {
					publish(t, l, event(i, "raised"))
				}
			}()
			continue
		}
		if err := d.queues[0].Run(t.Context()); !errors.Is(err, errKilled) {
			t.Fatalf("run: %v, want the kill", err)
		}
		kills++
		if kills == 6 {
			<-publishing
		}
		h.mu.Lock()
		all := len(h.taken) > 0 && len(unique(alarmIDs(h.taken))) == n
		h.mu.Unlock()
		if all {
			break
		}
	}
	<-publishing
	d := testDesk(t, l, webhookTo(t, "ops", h.URL))
	start(t, d.runs()...)
	taken := h.await(func(m []Message) bool { return len(unique(alarmIDs(m))) == n })
	byID := map[string][]string{}
	seen := map[string]string{}
	for _, m := range taken {
		ids := alarmIDs([]Message{m})
		if old, ok := byID[m.ID]; ok && !slices.Equal(old, ids) {
			t.Errorf("message %s told %v, then %v", m.ID, old, ids)
		}
		byID[m.ID] = ids
		for _, id := range ids {
			if other, ok := seen[id]; ok && other != m.ID {
				t.Errorf("event %s is in messages %s and %s: a receiver cannot know it again", id, other, m.ID)
			}
			seen[id] = m.ID
		}
	}
	if kills == 0 || len(taken) == len(byID) {
		t.Errorf("%d kills, %d messages under %d ids, want kills and a repeat: else this test looked at nothing", kills, len(taken), len(byID))
	}
}

func unique(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

func TestDeadLetterIsReplayed(t *testing.T) {
	l := logtest.New(t, nil)
	var mended atomic.Bool
	h := newHook(t, func(int) int {
		if mended.Load() {
			return 200
		}
		return 422
	})
	d := testDesk(t, l, webhookTo(t, "ops", h.URL))
	start(t, d.runs()...)
	awaitRunning(t, d)
	publish(t, l, event(1, "raised"))
	var dead []*DeadLetter
	for deadline := time.Now().Add(time.Minute); len(dead) == 0; time.Sleep(time.Millisecond) {
		if dead = d.Letters("ops"); time.Now().After(deadline) {
			t.Fatal("no dead letter after a minute")
		}
	}
	if dead[0].Attempts != 1 || dead[0].Message.Alarms[0].ID != "1-raised" || dead[0].Error == "" {
		t.Errorf("dead letter %+v, want one attempt at 1-raised and why", dead[0])
	}
	mended.Store(true)
	if _, err := d.Replay(t.Context(), dead[0].ID); err != nil {
		t.Fatal(err)
	}
	if m := h.await(func(m []Message) bool { return len(m) == 1 })[0]; m.ID != dead[0].Message.ID {
		t.Errorf("replayed under id %s, want %s", m.ID, dead[0].Message.ID)
	}
	for deadline := time.Now().Add(time.Minute); len(d.Letters("")) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %+v", d.Letters("")[0])
		}
	}
	if _, err := d.Replay(t.Context(), dead[0].ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("second replay: %v, want %v", err, ErrNotFound)
	}
}
