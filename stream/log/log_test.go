package log_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"panormus/stream/batch"
	"panormus/stream/log"
	"panormus/stream/log/logtest"
)

// patience bounds waits for things that happen at once on an idle machine.
const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func publish(t *testing.T, l *log.Log, partition int, data string) uint64 {
	t.Helper()
	seq, err := l.Publish(within(t), batch.KindObservations, partition, "", []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

func TestReadInOrderAndResume(t *testing.T) {
	dir := t.TempDir()
	l := logtest.Open(t, dir, nil)
	for i := range 100 {
		if seq := publish(t, l, i%16, fmt.Sprint(i)); seq != uint64(i+1) {
			t.Fatalf("sequence %d, want %d", seq, i+1)
		}
	}
	epoch := l.Epoch()
	l.Close()

	l = logtest.Open(t, dir, nil)
	if l.Epoch() != epoch {
		t.Errorf("epoch %s after a restart, want %s", l.Epoch(), epoch)
	}
	r, err := l.Read(within(t), batch.KindObservations, 40)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := 40; i < 100; i++ {
		m, err := r.Next(within(t))
		if err != nil || string(m.Data) != fmt.Sprint(i) || m.Seq != uint64(i+1) || m.Partition != i%16 {
			t.Fatalf("%+v, %v; want batch %d", m, err, i)
		}
	}
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := r.Next(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("at the end: %v, want the deadline", err)
	}
	publish(t, l, 3, "later")
	if m, err := r.Next(within(t)); err != nil || string(m.Data) != "later" {
		t.Fatalf("after the deadline: %+v, %v; want the reader to go on", m, err)
	}
}

func TestReadPartitions(t *testing.T) {
	l := logtest.New(t, nil)
	for i := range 32 {
		publish(t, l, i%16, fmt.Sprint(i))
	}
	r, err := l.Read(within(t), batch.KindObservations, 0, 3, 5)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, want := range []string{"3", "5", "19", "21"} {
		if m, err := r.Next(within(t)); err != nil || string(m.Data) != want {
			t.Fatalf("%s, %v; want %s", m.Data, err, want)
		}
	}
}

func TestPublishTwiceUnderOneID(t *testing.T) {
	l := logtest.New(t, nil)
	a, err := l.Publish(within(t), batch.KindEvents, 0, "same", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Publish(within(t), batch.KindEvents, 0, "same", []byte("x"))
	if err != nil || a != b {
		t.Errorf("sequences %d and %d, %v; want one", a, b, err)
	}
	if last, err := l.LastSeq(within(t), batch.KindEvents); err != nil || last != 1 {
		t.Errorf("last sequence %d, %v; want 1", last, err)
	}
}

func TestPublishTooLarge(t *testing.T) {
	l := logtest.New(t, nil)
	if _, err := l.Publish(within(t), batch.KindEvents, 0, "", make([]byte, 9<<20)); err == nil || !strings.Contains(err.Error(), "want at most") {
		t.Errorf("9 MiB: %v, want an error that names the bound", err)
	}
}

// At its bound the log takes nothing more until its consumers have passed enough of it, and then
// gives up only what they have passed.
func TestFullLogWaitsForConsumers(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	filling, full := context.WithCancel(ctx)
	l := logtest.New(t, func(c *log.Config) {
		c.MaxBytes, c.Consumers = 20<<20, []string{"writer"}
		c.Log = slog.New(slog.NewTextHandler(ear{"maximum bytes exceeded", full}, nil))
	})
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	defer wg.Wait()
	defer stop()

	data := make([]byte, 1<<20)
	taken := uint64(0)
	for {
		seq, err := l.Publish(filling, batch.KindObservations, 0, "", data)
		if err != nil {
			break // 12 MiB are for observations
		}
		if taken = seq; taken > 20 {
			t.Fatal("20 MiB fit into 12")
		}
	}
	if err := l.SetPosition(within(t), "rules", batch.KindObservations, log.Position{Seq: taken}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if _, err := l.Publish(short, batch.KindObservations, 0, "", data); err == nil {
		t.Fatal("published while the writer had read nothing, want to wait for it")
	}
	if err := l.SetPosition(within(t), "writer", batch.KindObservations, log.Position{Seq: 6}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(within(t), batch.KindObservations, 0, "", data); err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(within(t), batch.KindObservations, 6)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if m, err := r.Next(within(t)); err != nil || m.Seq != 7 {
		t.Errorf("batch %d, %v; want 7: what the writer has not passed stays", m.Seq, err)
	}
}

// An ear calls heard when word is logged.
type ear struct {
	word  string
	heard func()
}

func (e ear) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(e.word)) {
		e.heard()
	}
	return len(p), nil
}

// Detections that the tracks have not read stay, whatever the writer has passed; observations do not
// wait for them.
func TestFullLogWaitsForTracks(t *testing.T) {
	l := logtest.New(t, func(c *log.Config) { c.MaxBytes = 60 << 20; c.Consumers = []string{"writer", "tracks"} })
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	defer wg.Wait()
	defer stop()
	data := make([]byte, 1<<18)
	fill := func(kind batch.Kind, wait time.Duration) error {
		var err error
		for range 200 { // more than there is room for
			short, cancel := context.WithTimeout(ctx, wait)
			var seq uint64
			if seq, err = l.Publish(short, kind, 0, "", data); err == nil {
				err = l.SetPosition(within(t), "writer", kind, log.Position{Seq: seq})
			}
			cancel()
			if err != nil {
				break
			}
		}
		return err
	}
	if err := fill(batch.KindDetections, 3*time.Second); err == nil {
		t.Error("detections went that the tracks have not read")
	}
	if err := fill(batch.KindObservations, time.Minute); err != nil {
		t.Errorf("observations: %v, want them to wait for the writer alone", err)
	}
}

func TestKV(t *testing.T) {
	l := logtest.New(t, nil)
	kv, err := l.KV(within(t), "things")
	if err != nil {
		t.Fatal(err)
	}
	const key = "d:Palo 7/è.*>"
	if err := kv.Put(within(t), key, []byte("one")); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := kv.Get(within(t), key); err != nil || !ok || string(v) != "one" {
		t.Fatalf("%q, %v, %v; want one", v, ok, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	type change struct{ key, value string }
	changes := make(chan change, 8)
	var wg sync.WaitGroup
	wg.Go(func() {
		kv.Watch(ctx, func(k string, v []byte) { changes <- change{k, string(v)} }, func() { changes <- change{"synced", ""} })
	})
	defer wg.Wait()
	defer stop()
	expect := func(want change) {
		t.Helper()
		select {
		case got := <-changes:
			if got != want {
				t.Fatalf("%+v, want %+v", got, want)
			}
		case <-time.After(patience):
			t.Fatalf("nothing, want %+v", want)
		}
	}
	expect(change{key, "one"})
	expect(change{"synced", ""})
	if err := kv.Delete(within(t), key); err != nil {
		t.Fatal(err)
	}
	expect(change{key, ""})
	if _, ok, err := kv.Get(within(t), key); ok || err != nil {
		t.Errorf("there after Delete: %v, %v", ok, err)
	}
}

func TestObjects(t *testing.T) {
	l := logtest.New(t, nil)
	o, err := l.Objects(within(t), "checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := o.Get(within(t), "a"); ok || err != nil {
		t.Fatalf("%v, %v; want none", ok, err)
	}
	for _, size := range []int{10, 3 << 20, 0} {
		if err := o.Put(within(t), "a", make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if b, ok, err := o.Get(within(t), "a"); !ok || err != nil || len(b) != size {
			t.Errorf("%d bytes, %v, %v; want %d", len(b), ok, err, size)
		}
	}
}

// TestKilledWriter kills a process that publishes, again and again, and finds every acknowledged
// batch in the log, in order and once.
func TestKilledWriter(t *testing.T) {
	if dir := os.Getenv("PANORMUS_TEST_LOG"); dir != "" {
		publishForever(t, dir)
		return
	}
	dir := t.TempDir()
	acked := map[string]bool{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWriter$")
		cmd.Env = append(os.Environ(), "PANORMUS_TEST_LOG="+dir, "PANORMUS_TEST_ROUND="+strconv.Itoa(round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		killAt := 50 + rand.IntN(300)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "acked "); ok {
				acked[id] = true
				if n++; n == killAt {
					cmd.Process.Kill()
				}
			}
		}
		cmd.Wait()
	}
	l := logtest.Open(t, dir, nil)
	last, err := l.LastSeq(within(t), batch.KindObservations)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(within(t), batch.KindObservations, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	held := map[string]bool{}
	for seq := uint64(0); seq < last; {
		m, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		seq = m.Seq
		id := string(m.Data[:12])
		if held[id] {
			t.Errorf("batch %s is in the log twice", id)
		}
		held[id] = true
	}
	for id := range acked {
		if !held[id] {
			t.Errorf("batch %s was acknowledged and is not in the log", id)
		}
	}
	if len(acked) < 200 {
		t.Errorf("%d batches acknowledged, want 200 for the test to mean something", len(acked))
	}
}

func publishForever(t *testing.T, dir string) {
	l, err := log.Open(context.Background(), log.Config{Dir: dir, Sync: time.Minute, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for p := range 4 {
		wg.Go(func() {
			data := make([]byte, 40_000)
			for n := 0; ; n++ {
				id := fmt.Sprintf("%s-%02d-%07d", os.Getenv("PANORMUS_TEST_ROUND"), p, n)
				copy(data, id)
				if _, err := l.Publish(context.Background(), batch.KindObservations, p, id, data); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				os.Stdout.WriteString("acked " + id[:12] + "\n")
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func TestPartitionIsStable(t *testing.T) {
	// Positions and state outlive the process: these numbers must never change.
	for device, want := range map[string]int{"pole-1": 1, "bus-42": 14, "è": 14} {
		if got := log.Partition(device, 16); got != want {
			t.Errorf("partition of %s is %d, want %d", device, got, want)
		}
	}
}
