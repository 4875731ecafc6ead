package alarms

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"panormus/stream/log/logtest"
)

// BenchmarkBook has 100,000 open alarms in a real bucket: a page of them, and many acted on at once.
func BenchmarkBook(b *testing.B) {
	const n = 100_000
	l := logtest.Open(b, b.TempDir(), nil)
	bucket, err := l.KV(b.Context(), BucketName)
	if err != nil {
		b.Fatal(err)
	}
	desk, err := l.KV(b.Context(), DeskName)
	if err != nil {
		b.Fatal(err)
	}
	book := NewBook(Config{}, bucket, desk, nil)
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
