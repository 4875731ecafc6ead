package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"panormus/stream/batch"
	"panormus/stream/rules"
)

// ruleRounds is how often each figure is taken; the least counts, being the one that others disturbed
// least. All are of processor time, so that a busy machine does not make them much worse.
const ruleRounds = 25

// ruleBench measures the rules engine on one core, on batches as the log gives them.
func ruleBench(ctx context.Context, quick bool, w io.Writer) error {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	fmt.Fprintf(w, "\n## Rules: one core, readings in batches as the log gives them\n"+
		"Processor time, garbage collection included, the least of %d rounds. A message has one reading unless it says so.\n\n"+
		"| what | reached | wanted |\n|---|---|---|\n", ruleRounds)
	for _, measure := range []func(context.Context, bool, io.Writer) error{
		filterBench, peersBench, thousandBench, slidingBench, backtestBench, stateBench, millionBench,
	} {
		if err := measure(ctx, quick, w); err != nil {
			return err
		}
		debug.FreeOSMemory()
	}
	return nil
}

// A fleet is devices that report metrics in turn, as batches of the log's partitions.
type fleet struct {
	batches []fleetBatch
	start   int64 // Unix ms of the first turn
	rows    int   // of a turn of all devices
	seq     uint64
}

type fleetBatch struct {
	partition int
	rows      int     // of a millisecond
	at        float64 // share of the turn at which it comes
	*batch.Observations
}

const fleetStart = 1_790_000_000_000

// newFleet makes batches of at most size rows in which every device reports once: all metrics, or where
// spread is true one of them, in turn. value is what a metric of a device is.
func newFleet(devices, size int, metrics []string, spread bool, value func(device, metric int) float64) (*fleet, error) {
	return newRepeatedFleet(devices, size, 1, metrics, spread, value)
}

// newRepeatedFleet is one whose devices report so many times in a batch, a millisecond apart.
func newRepeatedFleet(devices, size, repeat int, metrics []string, spread bool, value func(device, metric int) float64) (*fleet, error) {
	partitions := make([][]int, 16)
	for d := range devices {
		p := partitionOf(deviceName(d), len(partitions))
		partitions[p] = append(partitions[p], d)
	}
	each := len(metrics)
	if spread {
		each = 1
	}
	f := &fleet{start: fleetStart, rows: devices * each * repeat}
	for len(partitions) > 0 {
		left := partitions[:0]
		for p, all := range partitions {
			n := min(max(size/each/repeat, 1), len(all))
			if n == 0 {
				continue
			}
			o := &batch.Observations{}
			for r := range repeat {
				for _, d := range all[:n] {
					h := o.Begin(fleetStart+int64(r), fleetStart, "city", deviceName(d))
					for m := range each {
						if spread {
							m = d % len(metrics)
						}
						o.Append(h, metrics[m], value(d, m), "", 0)
					}
				}
			}
			data, err := o.Encode()
			if err != nil {
				return nil, err
			}
			if o, err = batch.DecodeObservations(data); err != nil { // its texts are its own, as in life
				return nil, err
			}
			f.batches = append(f.batches, fleetBatch{partition: partitionOf(deviceName(all[0]), 16), rows: o.Len() / repeat, Observations: o})
			partitions[p] = all[n:]
		}
		for _, all := range partitions {
			if len(all) > 0 {
				left = append(left, all)
			}
		}
		partitions = left
	}
	for i := range f.batches {
		f.batches[i].at = float64(i) / float64(len(f.batches))
	}
	return f, nil
}

func deviceName(d int) string { return fmt.Sprintf("device-%07d", d) }

// partitionOf is the log's: FNV-1a of the id.
func partitionOf(id string, n int) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % uint32(n))
}

// turn lets every device report once, in turn number n of so long each, and settles after every few batches.
func (f *fleet) turn(e *rules.Engine, n int, period time.Duration) (events int) {
	for i := range f.batches {
		b := &f.batches[i]
		at := f.start + int64((float64(n)+b.at)*float64(period.Milliseconds()))
		for first := 0; first < len(b.Time); first += b.rows {
			for j := first; j < first+b.rows; j++ {
				b.Time[j], b.Received[j] = at, at
			}
			at++
		}
		f.seq++
		e.Apply(b.partition, f.seq, b.Observations)
		if i%32 == 31 {
			events += len(e.Settle())
		}
	}
	return events + len(e.Settle())
}

// processorTime is what the process has used, user and system.
func processorTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perReading is the least processor time a reading of several rounds of turns; begin is the first turn's number.
func (f *fleet) perReading(ctx context.Context, e *rules.Engine, begin, turns int, period time.Duration) (ns float64, events int, err error) {
	ns = 1e18
	for r := range ruleRounds {
		if ctx.Err() != nil {
			return 0, 0, ctx.Err()
		}
		before := processorTime()
		for t := range turns {
			events += f.turn(e, begin+r*turns+t, period)
		}
		ns = min(ns, float64((processorTime()-before).Nanoseconds())/float64(turns*f.rows))
	}
	return ns, events, nil
}

func parseRules(yaml string) (*rules.Set, error) { return rules.Parse("bench", []byte(yaml)) }

func turnsFor(quick bool, rows int) int {
	if quick {
		return 1
	}
	return max(400_000/rows, 1)
}

func filterBench(ctx context.Context, quick bool, w io.Writer) error {
	set, err := parseRules(`rules: [{id: hot, when: power_w > 100}]`)
	if err != nil {
		return err
	}
	for _, shape := range []struct{ devices, repeat int }{{1_000, 16}, {100_000, 1}} {
		f, err := newRepeatedFleet(shape.devices, 4096, shape.repeat, []string{"power_w"}, false, func(d, _ int) float64 { return float64(d % 90) })
		if err != nil {
			return err
		}
		e := rules.New(rules.Config{}, set)
		f.turn(e, 0, time.Minute)
		ns, events, err := f.perReading(ctx, e, 1, turnsFor(quick, f.rows), time.Minute)
		if err != nil {
			return err
		}
		if s := e.Stats(); events != 0 || s.Evaluations != s.Messages {
			return fmt.Errorf("one filter: %d events, %d evaluations of %d messages", events, s.Evaluations, s.Messages)
		}
		fmt.Fprintf(w, "| one filter rule, `power_w > 100`, %d devices, %d readings of each in a batch: ns a reading | %.1f | 25 |\n", shape.devices, shape.repeat, ns)
	}
	return nil
}

func thousandBench(ctx context.Context, quick bool, w io.Writer) error {
	var yaml strings.Builder
	yaml.WriteString("rules:\n")
	metrics := make([]string, 50)
	for m := range metrics {
		metrics[m] = fmt.Sprintf("metric_%d", m)
	}
	forms := []string{"%s > 95", "%s > 92 && %s < 93", "%s < 0 || %s > 99", "%s >= 90.5"}
	for i := range 1000 {
		name := metrics[i%50]
		when := strings.ReplaceAll(forms[i/50%4], "%s", name)
		fmt.Fprintf(&yaml, "  - {id: r%d, when: '%s'}\n", i, when)
	}
	set, err := parseRules(yaml.String())
	if err != nil {
		return err
	}
	for _, shape := range []struct {
		name    string
		devices int
		spread  bool
	}{{"one in a message", 10_000, true}, {"all 50 metrics in a message", 1_000, false}} {
		f, err := newFleet(shape.devices, 4096, metrics, shape.spread, func(d, m int) float64 { return float64((d/50 + m) % 90) })
		if err != nil {
			return err
		}
		e := rules.New(rules.Config{}, set)
		f.turn(e, 0, time.Minute)
		before := e.Stats()
		ns, events, err := f.perReading(ctx, e, 1, turnsFor(quick, 4*f.rows), time.Minute)
		if err != nil {
			return err
		}
		s := e.Stats()
		if each := float64(s.Evaluations-before.Evaluations) / float64(s.Observations-before.Observations); events != 0 || each != 20 {
			return fmt.Errorf("1,000 rules: %d events, %.2f evaluations a reading, want none and 20", events, each)
		}
		fmt.Fprintf(w, "| 1,000 rules over 50 metrics, 20 apply to a reading, %s, %d devices: ns a reading | %.0f | 600 |\n", shape.name, shape.devices, ns)
	}
	return nil
}

func slidingBench(ctx context.Context, quick bool, w io.Writer) error {
	set, err := parseRules(`rules: [{id: r, window: {type: sliding, size: 10m}, let: {v: avg(x)}, when: v > 1000}]`)
	if err != nil {
		return err
	}
	f, err := newFleet(100_000, 4096, []string{"x"}, false, func(d, _ int) float64 { return float64(d % 90) })
	if err != nil {
		return err
	}
	e := rules.New(rules.Config{}, set)
	for n := range 12 { // until every window is full
		f.turn(e, n, time.Minute)
	}
	before := e.Stats()
	ns, events, err := f.perReading(ctx, e, 12, 1, time.Minute)
	if err != nil {
		return err
	}
	s := e.Stats()
	if each := float64(s.Evaluations-before.Evaluations) / float64(s.Messages-before.Messages); events != 0 || each < 0.95 || s.WindowLate != 0 {
		return fmt.Errorf("sliding average: %d events, %.2f windows judged a reading, %d late", events, each, s.WindowLate)
	}
	fmt.Fprintf(w, "| sliding average of 10 minutes in 60 steps, of each of 100,000 devices that report every minute: ns a reading | %.0f | 250 |\n", ns)
	return nil
}

func backtestBench(ctx context.Context, quick bool, w io.Writer) error {
	set, err := parseRules(`rules: [{id: r, when: x > 80, for: 5m}]`)
	if err != nil {
		return err
	}
	f, err := newFleet(10_000, 4096, []string{"x"}, false, func(d, _ int) float64 { return float64(d % 90) })
	if err != nil {
		return err
	}
	turns := max(turnsFor(quick, f.rows), 10)
	from := time.UnixMilli(fleetStart)
	t := rules.Backtest{Rule: set.Rules[0], From: from, To: from.Add(time.Duration(turns+1) * time.Minute)}
	t.Read = func(ctx context.Context, _ rules.Past, each func(*batch.Observations) error) (int64, error) {
		for n := range turns {
			for i := range f.batches {
				b := f.batches[i]
				o := *b.Observations // the engine keeps it
				at := fleetStart + int64((float64(n)+b.at)*60_000)
				o.Time, o.Received = make([]int64, o.Len()), make([]int64, o.Len())
				for j := range o.Time {
					o.Time[j], o.Received[j] = at, at
				}
				if err := each(&o); err != nil {
					return 0, err
				}
			}
		}
		return 0, nil
	}
	least := 1e18
	for range 5 {
		before := processorTime()
		got, err := t.Run(ctx)
		if err != nil {
			return err
		}
		if got.Readings != int64(turns*f.rows) || got.Raised == 0 {
			return fmt.Errorf("backtest: %d readings, %d raised; want %d and some", got.Readings, got.Raised, turns*f.rows)
		}
		least = min(least, (processorTime()-before).Seconds()/float64(got.Readings))
	}
	fmt.Fprintf(w, "| backtest of a threshold with `for`, without the database: readings a second | %.1f M | 1 M |\n", 1e-6/least)
	return nil
}

// stateBench weighs a threshold with `for` while it waits on a third of the devices, and on all.
func stateBench(ctx context.Context, quick bool, w io.Writer) error {
	set, err := parseRules(`rules: [{id: r, when: x > 29, for: 5m}]`)
	if err != nil {
		return err
	}
	const devices = 400_000 // so that what a shard has once does not count
	for _, waiting := range []struct {
		name string
		of   int // so many of 90 are above 29
	}{{"none", 0}, {"a third", 30}, {"all", 90}} {
		f, err := newFleet(devices, 4096, []string{"x"}, false, func(d, _ int) float64 {
			if d%90 < waiting.of {
				return 50
			}
			return 1
		})
		if err != nil {
			return err
		}
		before := heap()
		e := rules.New(rules.Config{}, set)
		f.turn(e, 0, time.Minute)
		f.turn(e, 1, time.Minute)
		size := float64(heap()-before) / devices
		if e.Devices() != devices {
			return fmt.Errorf("state: %d devices, want %d", e.Devices(), devices)
		}
		fmt.Fprintf(w, "| state of a threshold with `for`, waiting on %s of the devices: bytes a device | %.0f | 200 |\n", waiting.name, size)
		runtime.KeepAlive(f)
	}
	return nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// millionBench gives a million devices ten thresholds with `for`, and keeps a checkpoint of them while
// evaluation goes on.
func millionBench(ctx context.Context, quick bool, w io.Writer) error {
	var yaml strings.Builder
	yaml.WriteString("rules:\n")
	for i := range 10 {
		fmt.Fprintf(&yaml, "  - {id: r%d, when: x > %d, for: %dm}\n", i, 3*i+2, 5+i)
	}
	set, err := parseRules(yaml.String())
	if err != nil {
		return err
	}
	devices := 1_000_000
	if quick {
		devices = 100_000
	}
	f, err := newFleet(devices, 4096, []string{"x"}, false, func(d, _ int) float64 { return float64(d % 30) })
	if err != nil {
		return err
	}
	before := heap()
	e := rules.New(rules.Config{MaxDevices: 2_000_000}, set)
	f.turn(e, 0, time.Minute)
	f.turn(e, 1, time.Minute)
	if e.Devices() != devices {
		return fmt.Errorf("a million devices: %d, want %d", e.Devices(), devices)
	}
	resident, err := residentMiB()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| %d devices with 10 such rules, half of them waiting: resident MiB, the benchmark's own batches included | %.0f | 2560 |\n", devices, resident)
	fmt.Fprintf(w, "| of that, state: bytes a device | %.0f | |\n", float64(heap()-before)/float64(devices))
	return checkpointBench(ctx, f, e, w)
}

// checkpointBench takes snapshots as the worker does, one between two rounds, with the evaluation of as many
// batches as a round has at most between them. So evaluation pauses for as long as one of them takes.
func checkpointBench(ctx context.Context, f *fleet, e *rules.Engine, w io.Writer) error {
	const round = 128
	took, longest, size := time.Hour, time.Hour, 0
	kept := map[int][]byte{}
	next := 0
	evaluate := func() {
		for range round {
			b := &f.batches[next%len(f.batches)]
			for j := range b.Time {
				b.Time[j] += 60_000
				b.Received[j] += 60_000
			}
			f.seq++
			e.Apply(b.partition, f.seq, b.Observations)
			next++
		}
		e.Settle()
	}
	for range 5 {
		var all, most time.Duration
		size = 0
		for p := range 17 {
			if p == 16 {
				p = -1 // the shared shard is last
			}
			evaluate()
			before := processorTime()
			kept[p] = e.Snapshot(p, f.seq)
			size += len(kept[p])
			pause := processorTime() - before
			all, most = all+pause, max(most, pause)
		}
		took, longest = min(took, all), min(longest, most)
	}
	fmt.Fprintf(w, "| checkpoint of them, a partition after every round of %d batches, one core, without the rounds: s | %.2f | 2 |\n"+
		"| longest pause of the evaluation for it, one core: ms | %d | 100 |\n| its size: MB | %.0f | |\n",
		round, took.Seconds(), longest.Milliseconds(), float64(size)/1e6)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return restoreBench(e, kept, w)
}

// restoreBench reads the snapshots of an engine into new ones, one after the other, as a start does.
func restoreBench(e *rules.Engine, kept map[int][]byte, w io.Writer) error {
	took := time.Hour
	for range 3 {
		runtime.GC()
		before := processorTime()
		next := rules.New(rules.Config{MaxDevices: 2_000_000}, e.Set())
		for p := -1; p < 16; p++ { // the shared shard is first
			if _, err := next.Restore(p, kept[p]); err != nil {
				return err
			}
		}
		if took = min(took, processorTime()-before); next.Devices() != e.Devices() {
			return fmt.Errorf("restore: %d devices, want %d", next.Devices(), e.Devices())
		}
	}
	fmt.Fprintf(w, "| restored from it, one core, without reading it from the log: s | %.2f | 5 |\n", took.Seconds())
	return nil
}

func residentMiB() (float64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kb / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc/self/status")
}
