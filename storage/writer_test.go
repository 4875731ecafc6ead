package storage_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"panormus/storage"
	"panormus/storage/embedded"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// patience bounds waits for what happens at once on an idle machine.
const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func publish(t *testing.T, l *streamlog.Log, kind batch.Kind, data []byte, err error) uint64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	seq, err := l.Publish(within(t), kind, 0, "", data)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// running runs a writer until stop, which waits for its end.
func running(t *testing.T, db *storage.DB, l *streamlog.Log, cfg storage.WriterConfig) (w *storage.Writer, stop func()) {
	t.Helper()
	w = storage.NewWriter(db, l, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("writer: %v", err)
		}
	}
	t.Cleanup(stop)
	return w, stop
}

func caughtUp(t *testing.T, w *storage.Writer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for {
		lag, err := w.Lag(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if lag == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%d batches not stored: %v", lag, w.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func observation(o *batch.Observations, at time.Time, device, metric string, value float64, text string, quality uint8) {
	o.Append(o.Begin(at.UnixMilli(), at.Add(42*time.Millisecond).UnixMilli(), "lighting", device), metric, value, text, quality)
}

func TestWriterStoresEveryKind(t *testing.T) {
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	at := time.Now().UTC().Truncate(time.Hour).Add(-48*time.Hour + 121987*time.Millisecond) // what is older than its retention is not kept

	o := &batch.Observations{}
	observation(o, at, "pole-7", "power_w", 83.2, "", 0)
	observation(o, at, "pole-7", "status", math.NaN(), "rötlich, 'kaputt'\n", 33)
	observation(o, at.Add(time.Second), "pole-8", "power_w", math.Inf(-1), "", 255)
	data, err := o.Encode()
	publish(t, l, batch.KindObservations, data, err)
	publish(t, l, batch.KindObservations, data[:len(data)/2], nil) // cut: to be filed as rejected

	event := batch.Event{ID: "e1", Rule: "r", RuleVersion: "3", Severity: "major", State: "raised", Time: at, Received: at.Add(time.Second),
		Domain: "lighting", Device: "pole-7", Zone: "kalsa", Key: "pole-7", Text: "zu dunkel", Context: json.RawMessage(`{"power_w":83.2,"limits":{"min":90},"since":"2026-01-02T03:04:05.678Z","day":"2026-01-02"}`)}
	broken := event
	broken.ID, broken.Context = "e2", json.RawMessage(`{"a":1,"a":2}`) // one path twice: the column refuses it
	data, err = batch.EncodeEvents([]batch.Event{event, broken, event})
	publish(t, l, batch.KindEvents, data, err)

	up := batch.Uplink{Time: at, Device: "bin-1", DevEUI: "70b3d57ed0000001", Gateway: "gw-1", RSSIdBm: -117, SNRdB: -7.25, FrequencyHz: 868.1e6,
		DataRate: "SF7BW125", FCnt: 70000, FPort: 2, AirtimeMs: 61.7}
	data, err = batch.EncodeUplinks([]batch.Uplink{up})
	publish(t, l, batch.KindUplinks, data, err)

	w, _ := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	if w.Stored() != 3 || w.Err() != nil {
		t.Errorf("stored %d observations, error %v; want 3 and none", w.Stored(), w.Err())
	}

	var rows []struct {
		Time     time.Time `ch:"time"`
		Received time.Time `ch:"received"`
		Domain   string    `ch:"domain"`
		Device   string    `ch:"device"`
		Metric   string    `ch:"metric"`
		Value    float64   `ch:"value"`
		Text     string    `ch:"text"`
		Quality  uint8     `ch:"quality"`
	}
	if err := db.Conn().Select(within(t), &rows, "SELECT * FROM observations ORDER BY time, metric"); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 {
		t.Fatalf("%d observations, want 3", len(rows))
	}
	if r := rows[0]; !r.Time.Equal(at) || !r.Received.Equal(at.Add(42*time.Millisecond)) || r.Domain != "lighting" || r.Device != "pole-7" || r.Metric != "power_w" || r.Value != 83.2 || r.Quality != 0 {
		t.Errorf("first observation: %+v", r)
	}
	if r := rows[1]; !math.IsNaN(r.Value) || r.Text != "rötlich, 'kaputt'\n" || r.Quality != 33 {
		t.Errorf("text observation: %+v", r)
	}
	if r := rows[2]; !math.IsInf(r.Value, -1) || r.Quality != 255 || !r.Time.Equal(at.Add(time.Second)) {
		t.Errorf("last observation: %+v", r)
	}
	for _, view := range []string{"observations_1m", "observations_1h"} {
		var n uint64
		var lo, hi, avg, last float64
		if err := db.Conn().QueryRow(within(t), "SELECT count, min, max, avg, last FROM "+view+" WHERE device = 'pole-7' AND metric = 'power_w'").Scan(&n, &lo, &hi, &avg, &last); err != nil {
			t.Fatalf("%s: %v", view, err)
		}
		if n != 1 || lo != 83.2 || hi != 83.2 || avg != 83.2 || last != 83.2 {
			t.Errorf("%s: %d %v %v %v %v, want one of 83.2", view, n, lo, hi, avg, last)
		}
	}

	got, _, err := db.Events(within(t), storage.EventFilter{}, 10, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d events, want the good one once: %+v", len(got), got)
	}
	var context, wantContext any
	json.Unmarshal(got[0].Context, &context)
	json.Unmarshal(event.Context, &wantContext)
	if !reflect.DeepEqual(context, wantContext) {
		t.Errorf("context %s, want %s", got[0].Context, event.Context)
	}
	got[0].Context, event.Context = nil, nil
	if !reflect.DeepEqual(got[0], event) {
		t.Errorf("event %+v, want %+v", got[0], event)
	}

	var u batch.Uplink
	if err := db.Conn().QueryRow(within(t), "SELECT time, device, dev_eui, gateway, rssi_dbm, snr_db, frequency_hz, data_rate, f_cnt, f_port, airtime_ms FROM uplinks").Scan(
		&u.Time, &u.Device, &u.DevEUI, &u.Gateway, &u.RSSIdBm, &u.SNRdB, &u.FrequencyHz, &u.DataRate, &u.FCnt, &u.FPort, &u.AirtimeMs); err != nil {
		t.Fatal(err)
	}
	if u != up {
		t.Errorf("uplink %+v, want %+v", u, up)
	}

	var reasons []struct {
		Reason string `ch:"reason"`
		N      uint64 `ch:"n"`
	}
	if err := db.Conn().Select(within(t), &reasons, "SELECT reason, count() AS n FROM rejected GROUP BY reason ORDER BY reason"); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(reasons) != "[{refused by the database 1} {unreadable batch 1}]" {
		t.Errorf("rejected: %v", reasons)
	}
}

// spread makes a batch of n rows over three days, so that one insert makes several parts.
func spread(rng *rand.Rand, n int) ([]byte, error) {
	o := &batch.Observations{}
	midnight := time.Now().UTC().Truncate(24 * time.Hour).Add(-96 * time.Hour)
	for o.Len() < n {
		observation(o, midnight.Add(time.Duration(rng.Int64N(int64(3*24*time.Hour)))), fmt.Sprintf("d%d", rng.IntN(500)), "m", 1, "", 0)
	}
	return o.Encode()
}

// counted compares the table and both rollups with what was published.
func counted(t *testing.T, db *storage.DB, want uint64) {
	t.Helper()
	for _, q := range []string{
		"SELECT count() FROM observations", "SELECT sum(count) FROM observations_1h", "SELECT sum(count) FROM observations_1m",
		"SELECT toUInt64(sum(avg * count)) FROM observations_1h",
	} {
		var n uint64
		ctx := within(t)
		err := db.Conn().QueryRow(ctx, q).Scan(&n)
		for storage.IsAway(err) && ctx.Err() == nil { // killed a moment ago, and not yet known to be
			err = db.Conn().QueryRow(ctx, q).Scan(&n)
		}
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		if n != want {
			t.Errorf("%s = %d, want %d", q, n, want)
		}
	}
}

// The database is killed over and over while the writer inserts, and the writer stopped and started:
// every row is there once, in the rollups too.
func TestWriterExactlyOnceThroughKills(t *testing.T) {
	server := storagetest.NewServer(t)
	db, err := storage.Open(within(t), storage.Config{Embedded: server})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := logtest.New(t, nil)
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	t.Logf("seed %d", os.Getpid())
	const batches, rows = 240, 2000
	for range batches {
		data, err := spread(rng, rows)
		publish(t, l, batch.KindObservations, data, err)
	}
	cfg := storage.WriterConfig{MaxRows: 20 * rows, MaxWait: 10 * time.Millisecond}
	for kill := range 8 {
		w, stop := running(t, db, l, cfg)
		if err := server.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		before := w.Stored()
		for deadline := time.Now().Add(5 * time.Second); w.Stored() == before && time.Now().Before(deadline); {
			if lag, _ := w.Lag(within(t)); lag == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Millisecond) // a random moment is the point here
		if pid := server.PID(); pid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if kill%3 == 2 {
			stop()
		} else {
			server.Ready(within(t))
			stop()
		}
	}
	w, stop := running(t, db, l, cfg)
	caughtUp(t, w)
	stop()
	counted(t, db, batches*rows)
}

// The writer dies after an insert and before it could record it.
func TestWriterRepeatsUnrecordedInsert(t *testing.T) {
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	rng := rand.New(rand.NewPCG(1, 1))
	const rows = 3000
	more := func(n int) {
		for range n {
			data, err := spread(rng, rows)
			publish(t, l, batch.KindObservations, data, err)
		}
	}
	more(10)
	cfg := storage.WriterConfig{MaxRows: 5 * rows, MaxWait: time.Hour} // groups of five batches, whatever the machine
	w, stop := running(t, db, l, cfg)
	caughtUp(t, w)
	stop()
	if p, err := l.Position(within(t), storage.Consumer, batch.KindObservations); err != nil || p != (streamlog.Position{Seq: 10}) {
		t.Fatalf("position %+v, %v; want 10", p, err)
	}
	counted(t, db, 10*rows)
	for _, p := range []streamlog.Position{{Seq: 5, Until: 10}, {Seq: 0, Until: 5}} {
		if err := l.SetPosition(within(t), storage.Consumer, batch.KindObservations, p); err != nil {
			t.Fatal(err)
		}
		w, stop := running(t, db, l, cfg)
		caughtUp(t, w)
		stop()
		counted(t, db, 10*rows)
	}
	more(2)
	cfg.MaxWait = 10 * time.Millisecond
	w, stop = running(t, db, l, cfg)
	caughtUp(t, w)
	stop()
	counted(t, db, 12*rows)
}

// The database is away when the writer starts and goes away again: the log waits, nothing is lost,
// and it is said once each time.
func TestWriterWaitsForDatabase(t *testing.T) {
	dir := t.TempDir()
	binary, err := storagetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.New(embedded.Config{Dir: dir, Binary: binary})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	if err := server.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	var said lines
	log := slog.New(slog.NewTextHandler(&said, nil))
	db, err := storage.Open(within(t), storage.Config{Embedded: server})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := logtest.New(t, nil)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond, Log: log})

	cancel() // the database stops, cleanly, and stays away
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(within(t)); !storage.IsAway(err) {
		t.Errorf("ping: %v, want the database away", err)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for range 5 {
		data, err := spread(rng, 1000)
		publish(t, l, batch.KindObservations, data, err)
	}
	for ctx := within(t); w.Err() == nil; {
		select {
		case <-ctx.Done():
			t.Fatal("the writer does not say that it cannot store")
		case <-time.After(time.Millisecond):
		}
	}
	if lag, err := w.Lag(within(t)); err != nil || lag != 5 {
		t.Errorf("lag %d, %v; want 5", lag, err)
	}
	stop() // a writer that cannot store ends all the same

	again, stopAgain, err := storagetest.Start(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stopAgain()
	db2, err := storage.Open(within(t), storage.Config{Embedded: again})
	if err != nil {
		t.Fatal(err)
	}
	defer db2.Close()
	w, _ = running(t, db2, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond, Log: log})
	caughtUp(t, w)
	counted(t, db2, 5000)
	if n := strings.Count(said.String(), "cannot store for now"); n != 1 {
		t.Errorf("it was said %d times that nothing can be stored, want once:\n%s", n, said.String())
	}
}

// lines collects what is logged.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
