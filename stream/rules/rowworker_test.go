package rules

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"panormus/devices"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

const rowRules = `
rules:
  - {id: person, on: detections, when: 'class == "person"', hold: 1s}
  - {id: track, on: detections, when: 'class == "car"', key: track, for: 1s, hold: 6s}
  - {id: tamper, on: detections, when: value == 1, clear: value == 0, hold: 1d, severity: major}
  - {id: busy, on: detections, window: {type: sliding, size: 20s, every: 5s}, let: {n: count(), cars: 'count(class == "car")'}, when: n > 12 && cars > 8}
  - {id: burst, on: detections, window: {type: session, gap: 3s}, let: {tracks: count_distinct(track)}, when: tracks > 2, key: class}
  - {id: order, on: detections, sequence: [{as: a, when: 'class == "person"'}, {as: b, within: 5s, when: 'class == "bus"'}], unless: {within: 1s, when: value == 1}, hold: 2s}
  - {id: odd, on: detections, when: 'zscore(score, 1m) > 1.5', key: track, hold: 2s}
`

// eventRules are on events, and some on those of others among them.
const eventRules = `
rules:
  - {id: critical, on: events, when: 'severity == "critical" && state == "raised"', key: zone, hold: 5s, severity: critical}
  - {id: critical-too, on: events, when: 'severity == "critical"', key: domain, hold: 5s, severity: critical}
  - {id: many, on: events, window: {type: tumbling, size: 30s}, let: {devices: count_distinct(device)}, when: devices > 4, key: zone}
  - {id: pair, on: events, sequence: [{as: a, when: 'rule == "r1"'}, {as: b, within: 10s, when: 'rule == "r2" && context.n > 5'}], key: device, hold: 3s}
`

// alarming is a made-up morning of events.
func alarming(t testing.TB, l *streamlog.Log, seed uint64, batches int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 9))
	at := rowStart
	for i := range batches {
		at += int64(rnd.IntN(3000))
		ev := batch.Event{
			ID: fmt.Sprintf("other-%d", i), Rule: fmt.Sprintf("r%d", rnd.IntN(4)), Severity: Severities[rnd.IntN(4)], State: []string{"raised", "cleared"}[rnd.IntN(2)],
			Time: time.UnixMilli(at - int64(rnd.IntN(30_000))), Received: time.UnixMilli(at), Domain: "safety", Device: fmt.Sprintf("d%d", rnd.IntN(8)),
			Zone: fmt.Sprintf("z%d", rnd.IntN(2)), Context: fmt.Appendf(nil, `{"values":{"n":%d}}`, rnd.IntN(12)),
		}
		data, err := batch.EncodeEvents([]batch.Event{ev})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(within(t), batch.KindEvents, 0, "", data); err != nil {
			t.Fatal(err)
		}
	}
}

// street is a made-up morning of two cameras, some rows late.
func street(seed uint64, rows int) []*batch.Detections {
	rnd := rand.New(rand.NewPCG(seed, 7))
	at := rowStart
	var out []*batch.Detections
	for range rows {
		at += int64(rnd.IntN(2500))
		d := &batch.Detections{}
		row := batch.Absent()
		row.Time, row.Received = at-int64(rnd.IntN(3)*rnd.IntN(2000)), at+50
		row.Camera, row.What, row.Track = fmt.Sprintf("cam-%d", rnd.IntN(2)), batch.WhatObject, fmt.Sprintf("t%d", rnd.IntN(4))
		row.Score = float32(rnd.IntN(100)) / 100
		row.Class = []string{"person", "car", "car", "bus"}[rnd.IntN(4)]
		if rnd.IntN(20) == 0 {
			row.What, row.Value = batch.WhatTamper, float64(rnd.IntN(2))
		}
		d.Append(&row)
		out = append(out, d)
	}
	return out
}

func putDetections(t testing.TB, l *streamlog.Log, batches []*batch.Detections) {
	t.Helper()
	for i, d := range batches {
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(within(t), batch.KindDetections, i%l.Partitions(), "", data); err != nil {
			t.Fatal(err)
		}
	}
}

// rowEvents are the events on the log, each as text, in its order.
func rowEvents(t testing.TB, l *streamlog.Log) []string {
	t.Helper()
	last, err := l.LastSeq(within(t), batch.KindEvents)
	if err != nil || last == 0 {
		return nil
	}
	r, err := l.Read(within(t), batch.KindEvents, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []string
	for seq := uint64(0); seq < last; {
		m, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		seq = m.Seq
		events, err := batch.DecodeEvents(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			out = append(out, fmt.Sprintf("%s %s %s %s %d", ev.ID, ev.Rule, ev.State, ev.Key, ev.Time.UnixMilli()))
		}
	}
	return out
}

// A worker that is killed at any step, again and again, puts the same events on the log, each once,
// as one that runs through.
func TestRowWorkerKilled(t *testing.T) {
	killRows(t, OnDetections, rowRules, func(l *streamlog.Log) { putDetections(t, l, street(3, 400)) })
}

// So does one on events, which are on the log that it publishes to.
func TestEventWorkerKilled(t *testing.T) {
	killRows(t, OnEvents, eventRules, func(l *streamlog.Log) { alarming(t, l, 5, 400) })
}

const joinedRules = `
rules:
  - {id: door, sequence: [{as: a, when: 'class == "person"'}, {as: b, within: 20s, when: door_open == 1}], unless: {within: 5s, when: badge_ok == 1}, hold: 5s}
  - {id: tampered, key: domain, on: detections, sequence: [{as: a, when: value == 1}, {as: b, within: 2m, when: door_open == 1}], clear: guard_there == 1, hold: 10m}
  - {id: noisy, on: detections, when: 'class == "person" && zone_max("noise") == 1', hold: 3s}
  - {id: noisy-often, on: detections, window: {type: tumbling, size: 20s}, let: {n: 'count(zone_max("noise") == 1)'}, when: n > 2}
  - {id: crowded, key: zone, when: 'door_open == 1 && zone_sum("seen", "person") > 4', for: 5s}
  - {id: crowded-window, window: {type: sliding, size: 20s, every: 5s}, let: {n: 'max(zone_max("seen", "car") + rate(noise, 1m))'}, when: n > 3}
  - {id: quiet, on: counts, when: 'zone_sum("noise") == 0 && seen > zone_min("seen", "person")', key: zone}
`

// And so does one of rules about several kinds, which it reads side by side.
func TestJoinedWorkerKilled(t *testing.T) {
	t.Parallel()
	killRows(t, OnJoined, joinedRules, func(l *streamlog.Log) {
		rnd := rand.New(rand.NewPCG(6, 6))
		for i, d := range street(3, 300) {
			putDetections(t, l, []*batch.Detections{d})
			o := &batch.Observations{}
			at := d.Received[0] + int64(rnd.IntN(2000))
			metric := []string{"door_open", "badge_ok", "guard_there", "noise"}[rnd.IntN(4)]
			o.Append(o.Begin(at, at+20, "safety", fmt.Sprintf("d%d", rnd.IntN(3))), metric, float64(rnd.IntN(2)), "", 0)
			data, err := o.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Publish(within(t), batch.KindObservations, i%l.Partitions(), "", data); err != nil {
				t.Fatal(err)
			}
			if i%5 != 0 {
				continue
			}
			count := batch.Count{
				Time: time.UnixMilli(at - 60_000).UTC(), Received: time.UnixMilli(at).UTC(), Camera: fmt.Sprint("cam-", rnd.IntN(2)),
				Class: []string{"person", "car"}[rnd.IntN(2)], Seen: int64(rnd.IntN(8)),
			}
			if data, err = batch.EncodeCounts([]batch.Count{count}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Publish(within(t), batch.KindCounts, 0, "", data); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A silence beside counts that was raised after the last checkpoint stands after a kill, and ends with the
// device's next message.
func TestJoinedSilenceKilled(t *testing.T) {
	l := logtest.New(t, nil)
	rules := mustParse(t, `{id: dark, domain: lab, absent: 1s, when: 'of("cam-1", "seen", "person") > 5'}`)
	at := time.Now().Add(-time.Second).Truncate(time.Millisecond).UTC()
	data, err := batch.EncodeCounts([]batch.Count{{Time: at.Add(-time.Minute), Received: at, Camera: "cam-1", Class: "person", Seen: 9}})
	if err == nil {
		_, err = l.Publish(within(t), batch.KindCounts, 0, "", data)
	}
	if err != nil {
		t.Fatal(err)
	}
	speak := func(at int64) {
		t.Helper()
		o := &batch.Observations{}
		o.Append(o.Begin(at, at, "lab", "lamp"), "power_w", 1, "", 0)
		data, err := o.Encode()
		if err == nil {
			_, err = l.Publish(within(t), batch.KindObservations, 0, "", data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(until string) {
		t.Helper()
		w := NewRowWorker(RowWorkerConfig{Log: l, Rules: &changing{set: rules, changed: make(chan struct{})}, On: OnJoined, Checkpoint: time.Hour})
		w.every = 5 * time.Millisecond
		kill := errors.New("killed")
		w.hook = func(step string) error {
			if step == "checkpoint" {
				return kill
			}
			return nil
		}
		ctx, cancel := context.WithCancel(within(t))
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		for !strings.Contains(strings.Join(rowEvents(t, l), "\n"), until) {
			if ctx.Err() != nil {
				t.Fatalf("no %q: %v", until, rowEvents(t, l))
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel()
		if err := <-done; !errors.Is(err, kill) {
			t.Fatalf("a kill ended with %v", err)
		}
	}
	speak(at.UnixMilli())
	run(" dark raised lamp ")
	again := time.Now().UnixMilli()
	speak(again)
	run(" dark cleared lamp ")
	got := rowEvents(t, l)
	want := fmt.Sprintf(" dark cleared lamp %d", again)
	if len(got) < 2 || !strings.Contains(got[0], " dark raised lamp ") || !strings.HasSuffix(got[1], want) {
		t.Errorf("%v; want it raised, then %q", got, want)
	}
}

// A worker of sequences over several kinds reads those that its rules are about, as they change.
func TestJoinedWorkerFollowsItsRules(t *testing.T) {
	l := logtest.New(t, nil)
	source := &changing{set: mustParse(t, `{id: other, when: x > 1}`), changed: make(chan struct{})}
	w := NewRowWorker(RowWorkerConfig{Log: l, Rules: source, On: OnJoined, Checkpoint: 5 * time.Millisecond})
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	source.put(mustParse(t, `{id: door, key: domain, sequence: [{as: a, when: 'class == "person"'}, {as: b, within: 20s, when: door_open == 1}], hold: 1d}`))
	until := func(state string, each func(round int64)) {
		t.Helper()
		for round := int64(0); !strings.Contains(strings.Join(rowEvents(t, l), "\n"), " door "+state+" safety "); round++ {
			if ctx.Err() != nil {
				t.Fatalf("not %s: %q", state, rowEvents(t, l))
			}
			each(round)
			time.Sleep(5 * time.Millisecond)
		}
	}
	until("raised", func(round int64) { // the first ones come before it has begun to read
		for _, second := range []int64{0, 120} {
			at := rowStart + round*600_000 + second*1000
			d, row := &batch.Detections{}, batch.Absent()
			row.Time, row.Received, row.Camera, row.Class = at, at, "cam", "person"
			d.Append(&row)
			putDetections(t, l, []*batch.Detections{d})
			o := &batch.Observations{}
			o.Append(o.Begin(at+1000, at+1000, "safety", "door"), "door_open", 1, "", 0)
			data, err := o.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Publish(within(t), batch.KindObservations, 0, "", data); err != nil {
				t.Fatal(err)
			}
		}
	})
	source.put(mustParse(t, `{id: other, when: x > 1}`))
	until("cleared", func(int64) {})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// breakRows makes the newest checkpoint one that cannot be read, so that the one before it is what counts.
func breakRows(t *testing.T, l *streamlog.Log, object string) {
	t.Helper()
	objects, err := l.Objects(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	all, err := objects.Generations(within(t), object)
	if err != nil {
		t.Fatal(err)
	}
	broken := []byte("no state")
	if len(all) == 0 || all[0].Parts[0].Bytes == len(broken) {
		return
	}
	if _, err := objects.Write(within(t), object, all[0].At, broken); err != nil {
		t.Fatal(err)
	}
}

func killRows(t *testing.T, on, rules string, put func(*streamlog.Log)) {
	set := mustParse(t, rules)
	zoned := &testRegistry{assets: map[string]*devices.Asset{}}
	for i, id := range []string{"cam-0", "cam-1", "d0", "d1", "d2"} {
		zoned.assets[id] = &devices.Asset{Device: devices.Device{ID: id, Domain: "safety", Zone: fmt.Sprintf("z%d", i%2)}}
	}
	through := func(kill bool) []string {
		l := logtest.New(t, nil)
		put(l)
		inputs := inputsOf(set, on)
		rnd := rand.New(rand.NewPCG(1, 1))
		for kills := 0; ; kills++ {
			w := NewRowWorker(RowWorkerConfig{Log: l, Rules: FixedSource{set}, On: on, Checkpoint: 3 * time.Millisecond, Engine: Config{Registry: zoned}})
			// Its own clock must end nothing: the rows lie far ahead of it, and a tick is far behind them.
			left := int64(1 + rnd.IntN(30))
			if kill && kills%5 == 4 {
				breakRows(t, l, w.object())
			}
			var steps atomic.Int64
			if kill && kills < 60 {
				w.hook = func(string) error {
					if steps.Add(1) >= left {
						return errKilled
					}
					return nil
				}
			}
			ctx, cancel := context.WithCancel(within(t))
			done := make(chan error, 1)
			var err error
			go func() { done <- w.Run(ctx) }()
			for {
				select {
				case err = <-done:
				case <-time.After(2 * time.Millisecond):
					over := true
					for _, on := range inputs {
						// First how far it is, then the end: on events that moves with what it publishes itself.
						applied := w.applied[on].Load()
						end, err := l.LastSeq(ctx, batchKind(on))
						over = over && err == nil && applied >= end
					}
					if !over {
						continue
					}
					cancel()
					err = <-done
				}
				break
			}
			cancel()
			if err == nil {
				return rowEvents(t, l)
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
	}
	want, got := through(false), through(true)
	if len(want) < 50 {
		t.Fatalf("%d events, want enough to tell", len(want))
	}
	for _, r := range set.Rules {
		if !strings.Contains(strings.Join(want, "\n"), " "+r.ID+" raised ") {
			t.Errorf("%s has raised nothing, want every rule to", r.ID)
		}
	}
	// Of one key the order is the log's; of several kinds it is no certain one.
	keyed := func(a, b string) int {
		if on == OnJoined {
			return strings.Compare(a, b)
		}
		x, y := strings.Fields(a), strings.Fields(b)
		return cmp.Or(strings.Compare(x[1], y[1]), strings.Compare(x[3], y[3]))
	}
	slices.SortStableFunc(got, keyed)
	slices.SortStableFunc(want, keyed)
	if !slices.Equal(got, want) {
		i := 0
		for i < min(len(got), len(want)) && got[i] == want[i] {
			i++
		}
		t.Errorf("%d events after kills, want %d; from event %d on\n%s\nwant\n%s", len(got), len(want), i,
			strings.Join(got[i:min(i+10, len(got))], "\n"), strings.Join(want[i:min(i+10, len(want))], "\n"))
	}
}

func TestRowWorkerReplacesRules(t *testing.T) {
	l := logtest.New(t, nil)
	source := &changing{set: mustParse(t, rowRules), changed: make(chan struct{})}
	metrics := prometheus.NewRegistry()
	NewWorker(WorkerConfig{Log: l, Rules: source, Metrics: metrics})
	NewRowWorker(RowWorkerConfig{Log: l, Rules: source, On: OnEvents, Metrics: metrics})
	w := NewRowWorker(RowWorkerConfig{Log: l, Rules: source, On: OnDetections, Metrics: metrics})
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	putDetections(t, l, street(3, 40))
	wait := func(what string, ok func([]string) bool) {
		t.Helper()
		for !ok(rowEvents(t, l)) {
			if ctx.Err() != nil {
				t.Fatalf("not %s: %q", what, rowEvents(t, l))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	wait("raised", func(all []string) bool { return strings.Contains(strings.Join(all, "\n"), " person raised ") })
	source.put(mustParse(t, `{id: other, on: detections, when: 'class == "bus"', hold: 1d}`))
	wait("ended", func(all []string) bool {
		open := map[string]bool{}
		for _, line := range all {
			f := strings.Fields(line)
			open[f[1]+f[3]] = f[2] == "raised"
		}
		for k, is := range open {
			if is && !strings.HasPrefix(k, "other") {
				return false
			}
		}
		return true
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "panormus_rules_raised_total" }); i < 0 ||
		len(families[i].Metric) != 1 || families[i].Metric[0].Label[0].GetValue() != "other" {
		t.Errorf("%d families, want one of raised_total with the rule other among them", len(families))
	}
}

func BenchmarkRows(b *testing.B) {
	var d batch.Detections
	for i := range 10_000 {
		row := batch.Absent()
		row.Time, row.Received = rowStart+int64(i), rowStart+int64(i)
		row.Camera, row.What, row.Class, row.Track = fmt.Sprintf("cam-%d", i%100), batch.WhatObject, "car", fmt.Sprintf("t%d", i%800)
		d.Append(&row)
	}
	data, err := d.Encode()
	if err != nil {
		b.Fatal(err)
	}
	e := NewRowEngine(Config{}, OnDetections, Defaults())
	n := 0
	for b.Loop() {
		if err := eachDetection(data, func(r *Row) { n++; e.Apply(1, r) }); err != nil || len(e.Settle()) != 0 {
			b.Fatal("events of cars that pass, or ", err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
}
