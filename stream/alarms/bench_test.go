package alarms

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// BenchmarkBook has 100,000 open alarms in a real bucket: a page of them, and many acted on at once.
func BenchmarkBook(b *testing.B) {
	const n = 100_000
	l := logtest.Open(b, b.TempDir(), nil)
	book := bookOn(b, l, Config{})
	book.OnChange(func([]Record) {}) // as in a control room
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- book.Run(ctx, func() { close(ready) }) }()
	<-ready
	defer func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = ID("hot", fmt.Sprint(i))
	}
	c := testConfig()
	for _, r := range book.edit(b.Context(), ids, func(i int, _ *Alarm) (*Alarm, error) {
		ev := event("hot", fmt.Sprint(i), "major", "raised", float64(i*7919%n)/1000)
		a := &Alarm{ID: ids[i], Rule: "hot", Key: fmt.Sprint(i), Confirmed: true}
		a.apply(&ev, Place{Seq: 1, Row: i}, Hold{}, c)
		a.Pending = nil // as after the alarm log is written
		return a, nil
	}) {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	r := &run{Worker: NewWorker(WorkerConfig{Log: l, Book: book}), published: map[string]int64{}}
	for _, many := range []int{100, 1000} {
		b.Run(fmt.Sprint("list=", many), func(b *testing.B) {
			for b.Loop() {
				if page, more, total := book.List(Query{Limit: many, Severities: []string{"major"}}); len(page) != many || !more || total != n {
					b.Fatalf("%d of %d", len(page), total)
				}
			}
		})
	}
	b.Run("health", func(b *testing.B) {
		for b.Loop() {
			if h := book.Health(t0.Add(time.Hour)); h.States[Unacked]+h.States[Acked] != n {
				b.Fatalf("%+v", h.States)
			}
		}
	})
	for _, many := range []int{1, 1000, 10_000, n} {
		b.Run(fmt.Sprint("ack=", many), func(b *testing.B) {
			act := func(at int, x Act) ([]Result, error) { return book.Act(b.Context(), ids[at:at+many], x) }
			if many == n {
				act = func(_ int, x Act) ([]Result, error) {
					done, refused, more, err := book.ActAll(b.Context(), Query{}, n, x)
					if more || done != n {
						b.Fatalf("%d acted on, more %v", done, more)
					}
					return refused, err
				}
			}
			worst, used := time.Duration(0), time.Duration(0)
			at := 0
			action := "ack"
			for b.Loop() {
				if at+many > n {
					at, action = 0, map[string]string{"ack": "unack", "unack": "ack"}[action]
				}
				began, before := time.Now(), cpuTime(b)
				results, err := act(at, Act{Action: action, By: "ada", Note: "known"})
				if err != nil {
					b.Fatal(err)
				}
				worst, used = max(worst, time.Since(began)), used+cpuTime(b)-before
				for _, r := range results {
					if r.Err != nil {
						b.Fatal(r.Err)
					}
				}
				if at += many; book.waiting > maxWaiting/2 { // the worker's part, which nobody waits for
					b.StopTimer()
					if err := r.settleLog(b.Context()); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/request")
			b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
			b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/request")
			if _, _, _, err := book.ActAll(b.Context(), Query{States: Fits("unack")}, n, Act{Action: "unack", By: "ada"}); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// cpuTime is the processor time that the process has taken.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkActBesideEvents acts on 100 alarms by id, over and over, while the worker makes alarms of events as fast as it
// can or as they come: how long an operator waits in a flood of events, and how many of those are applied beside.
func BenchmarkActBesideEvents(b *testing.B) {
	for _, perSecond := range []int{0, 2_000, 20_000} {
		b.Run(fmt.Sprint("events=", perSecond), func(b *testing.B) { actBesideEvents(b, perSecond) })
	}
}

func actBesideEvents(b *testing.B, perSecond int) {
	const n, at = 20_000, 100 // alarms, and batches of events a second
	l := logtest.Open(b, b.TempDir(), nil)
	book := bookOn(b, l, Config{})
	book.OnChange(func([]Record) {})
	worker := NewWorker(WorkerConfig{Log: l, Book: book})
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	g, ctx := errgroup.WithContext(ctx)
	ready := make(chan struct{})
	g.Go(func() error { return book.Run(ctx, func() { close(ready) }) })
	<-ready
	g.Go(func() error { return worker.Run(ctx) })
	defer func() {
		cancel()
		if err := g.Wait(); err != nil {
			b.Error(err)
		}
	}()
	publish := func(from, many, round int) error {
		events := make([]batch.Event, many)
		for i := range events {
			events[i] = event("hot", fmt.Sprint((from+i)%n), "major", []string{"raised", "cleared"}[round%2], float64(round))
		}
		data, err := batch.EncodeEvents(events)
		if err == nil {
			_, err = l.Publish(ctx, batch.KindEvents, 0, "", data)
		}
		return err
	}
	for from := 0; from < n; from += 1000 {
		if err := publish(from, 1000, 0); err != nil {
			b.Fatal(err)
		}
	}
	applied := func() bool { lag, err := worker.Lag(ctx); return err == nil && lag == 0 }
	for !applied() {
		time.Sleep(time.Millisecond)
	}
	began, first := time.Now(), worker.Applied()
	if perSecond > 0 {
		g.Go(func() error {
			tick := time.NewTicker(time.Second / at)
			defer tick.Stop()
			for sent, round := 0, 1; ; round = 1 + sent/n {
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
				if err := publish(sent%n, perSecond/at, round); err != nil && ctx.Err() == nil {
					return err
				}
				sent += perSecond / at
			}
		})
	}
	ids := make([]string, 100)
	var took []time.Duration
	for b.Loop() {
		for i := range ids {
			ids[i] = ID("hot", fmt.Sprint((len(took)*len(ids)+i)%n))
		}
		began := time.Now()
		results, err := book.Act(b.Context(), ids, Act{Action: "comment", By: "ada", Note: "seen"})
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	batches := float64(worker.Applied() - first)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "worst-ms")
	b.ReportMetric(batches*float64(perSecond/at)/time.Since(began).Seconds(), "events/s")
}
