package rules

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// Two workers share the partitions and a third has the rules whose keys span them. They are killed again and
// again between any two steps, and others take over, each time with other partitions. What is on the log is
// what one worker would have made, each event once. So it is where one worker had all of the work before.
func TestPartitionsMoveBetweenWorkers(t *testing.T) {
	t.Parallel()
	set := mustParse(t, crashRules)
	work := day(11, 500)
	want := ofOneWorker(t, set, work, nil)
	t.Run("from the start", func(t *testing.T) { moveBetweenWorkers(t, set, work, want, 0) })
	t.Run("after one worker", func(t *testing.T) { moveBetweenWorkers(t, set, work, want, 2) })
}

// moveBetweenWorkers has the work done in five parts, the first of them, so many, by a worker that has all of it.
func moveBetweenWorkers(t *testing.T, set *Set, work []*batch.Observations, want map[string]batch.Event, alone int) {
	l := logtest.New(t, nil)
	rnd := rand.New(rand.NewPCG(5, 6))
	kills := 0
	for part := range 5 {
		put(t, l, work[part*100:(part+1)*100])
		// Which of two workers has a partition changes every time.
		var parts [2][]int
		for p := range l.Partitions() {
			i := rnd.IntN(2)
			parts[i] = append(parts[i], p)
		}
		var all []WorkerConfig
		for i := range parts {
			if len(parts[i]) > 0 {
				all = append(all, WorkerConfig{Partitions: parts[i]})
			}
		}
		if all = append(all, WorkerConfig{Spanning: true}); part < alone {
			all = []WorkerConfig{{}}
		}
		var mu sync.Mutex
		var g sync.WaitGroup
		for _, cfg := range all {
			cfg.Log, cfg.Rules, cfg.Checkpoint = l, FixedSource{set}, time.Duration(1+rnd.IntN(10))*time.Millisecond
			seed, last := rnd.Uint64(), uint64(0)
			for i, o := range work[:(part+1)*100] {
				if p := l.Partition(o.Device.At(0)); cfg.Spanning || cfg.Partitions == nil || slices.Contains(cfg.Partitions, p) {
					last = uint64(i + 1)
				}
			}
			g.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, 1))
				for {
					w := NewWorker(cfg)
					w.every, w.most = time.Duration(1+rnd.IntN(10))*time.Millisecond, 1+rnd.IntN(20)
					var left atomic.Int64
					left.Store(1 + rnd.Int64N(100))
					w.hook = func(string) error {
						if left.Add(-1) <= 0 {
							return errKilled
						}
						return nil
					}
					err := untilSeq(t, w, last)
					// One that may not keep its last state in the time it has is as good as killed.
					if errors.Is(err, errKilled) || errors.Is(err, context.DeadlineExceeded) {
						mu.Lock()
						kills++
						mu.Unlock()
						continue
					}
					if err != nil {
						t.Error(err)
					}
					return
				}
			})
		}
		g.Wait()
	}
	if kills < 5 {
		t.Errorf("%d kills, want enough to mean something", kills)
	}
	sameEvents(t, byID(t, logged(t, l)), want)
	t.Logf("%d kills, %d events", kills, len(want))
}

// Of the two states that a partition may have, the worker's and one worker's before, the newer counts.
func TestNewestSnapshot(t *testing.T) {
	l := logtest.New(t, nil)
	objects, err := l.Objects(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		folder string
		seq    uint64
		want   uint64
	}{{wholeFolder, 20, 20}, {"own", 10, 20}, {"own", 30, 30}, {wholeFolder, 25, 30}, {wholeFolder, 31, 31}} {
		name, parts := objectName(c.folder, 3), []int{3}
		if c.folder == wholeFolder {
			name, parts = wholeFolder, append([]int{-1}, allPartitions(l.Partitions())...)
		}
		var all [][]byte
		for _, p := range parts {
			all = append(all, New(Config{Partitions: l.Partitions()}, NewSet()).Snapshot(p, c.seq))
		}
		if _, err := objects.Write(within(t), name, map[string]uint64{atObservations: c.seq}, all...); err != nil {
			t.Fatal(err)
		}
		w := NewWorker(WorkerConfig{Log: l, Rules: FixedSource{NewSet()}, Partitions: []int{3}})
		r := &run{Worker: w, engine: w.engine.Load(), objects: objects, restored: make([]uint64, l.Partitions())}
		if err := r.restoreShards(within(t), 0); err != nil || r.restored[3] != c.want {
			t.Errorf("with %s of %d: %d, %v; want %d", c.folder, c.seq, r.restored[3], err, c.want)
		}
	}
}

// untilSeq runs w till it has evaluated what lies at a sequence, then stops it.
func untilSeq(t *testing.T, w *Worker, last uint64) error {
	t.Helper()
	return untilSo(t, w, func(context.Context) bool { return w.applied.Load() >= last })
}

// Of two workers that are told to evaluate the same one does; when it dies without a word the other takes
// over after the lease, and each event is there once. One that stops hands over at once.
func TestAnotherWorkerTakesOver(t *testing.T) {
	t.Parallel()
	l := logtest.New(t, nil)
	cfg := WorkerConfig{Log: l, Rules: FixedSource{mustParse(t, `{id: hot, when: x > 1}`)}, Checkpoint: time.Hour, Lease: 4 * time.Second}
	var dead atomic.Bool
	runs := make(chan string, 1000)
	startOne := func(name string) *running {
		return start(t, cfg, func(step string) error {
			switch {
			case name == "first" && dead.Load():
				return errKilled
			case step == "round":
				runs <- name
			}
			return nil
		})
	}
	first := startOne("first")
	say(t, l, "a", 5)
	see(t, l, 1)
	second := startOne("second")
	dead.Store(true)
	say(t, l, "b", 5)
	if err := first.stop(); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	see(t, l, 2)
	third := startOne("third")
	say(t, l, "b", 0)
	see(t, l, 3)
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}
	say(t, l, "a", 0)
	events := see(t, l, 4)
	if err := third.stop(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range events {
		got = append(got, ev.State+" "+ev.Key)
	}
	if want := []string{"raised a", "raised b", "cleared b", "cleared a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	close(runs)
	var by []string
	for name := range runs {
		by = append(by, name)
	}
	if by = slices.Compact(by); !slices.Equal(by, []string{"first", "second", "third"}) {
		t.Errorf("evaluated by %q", by)
	}
	byID(t, logged(t, l))
}

// A worker whose lease is taken, because it was not heard of, ends without a word on the log.
func TestLeaseThatIsLost(t *testing.T) {
	l := logtest.New(t, nil)
	cfg := WorkerConfig{Log: l, Rules: FixedSource{mustParse(t, `{id: hot, when: x > 1}`)}, Lease: 4 * time.Second}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- NewWorker(cfg).Run(ctx) }()
	say(t, l, "a", 5)
	see(t, l, 1)
	kv, err := l.KV(within(t), "rules_leases")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Put(within(t), "partition/03", []byte(`{"owner":"another","ttl_ms":4000}`)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errLeaseLost) {
			t.Errorf("%v, want the lease lost", err)
		}
	case <-time.After(patience):
		t.Fatal("the worker goes on without its lease")
	}
}

// A worker that lost its lease because the server was away does not wait for itself.
func TestLeaseOfOneself(t *testing.T) {
	l := logtest.New(t, nil)
	w := NewWorker(WorkerConfig{Log: l, Rules: FixedSource{mustParse(t, `{id: hot, when: x > 1}`)}, Lease: time.Hour})
	kv, err := l.KV(within(t), "rules_leases")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range w.leases() {
		if err := kv.Put(within(t), key, plainJSON(leaseValue{w.owner, time.Hour.Milliseconds()})); err != nil {
			t.Fatal(err)
		}
	}
	say(t, l, "a", 5)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	see(t, l, 1)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
