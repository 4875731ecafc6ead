package rules

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// checkpointSteps are the messages to the log of which the writing of a checkpoint is made.
var checkpointSteps = []string{"piece", "manifest", "clean", "positions"}

func fourPartitions(cfg *streamlog.Config) { cfg.Partitions = 4 }

// beginsAt are the places in the log from which a worker that starts now would go on, by partition.
func beginsAt(t *testing.T, cfg WorkerConfig) []uint64 {
	t.Helper()
	w := NewWorker(cfg)
	objects, err := cfg.Log.Objects(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Worker: w, engine: w.engine.Load(), objects: objects, restored: make([]uint64, cfg.Log.Partitions())}
	err = r.restoreShards(within(t), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r.restored
}

// A checkpoint whose writing is cut off before any of its messages leaves what the last whole one was, and what comes
// after it is judged once, by one worker and where several share the partitions.
func TestCheckpointCutOff(t *testing.T) {
	t.Parallel()
	set := mustParse(t, crashRules)
	work := day(23, 400)
	want := ofOneWorker(t, set, work, fourPartitions)
	for name, cfgs := range map[string][]WorkerConfig{
		"one worker": {{}},
		"shared":     {{Partitions: []int{0, 2}}, {Partitions: []int{1, 3}}, {Spanning: true}},
	} {
		t.Run(name, func(t *testing.T) { cutOffCheckpoints(t, cfgs, set, work, want) })
	}
}

func cutOffCheckpoints(t *testing.T, cfgs []WorkerConfig, set *Set, work []*batch.Observations, want map[string]batch.Event) {
	const parts = 10
	l := logtest.New(t, fourPartitions)
	steps := map[string]bool{}
	for part := range parts {
		from, to := part*len(work)/parts, (part+1)*len(work)/parts
		put(t, l, work[from:to])
		for _, cfg := range cfgs {
			cfg.Log, cfg.Rules, cfg.Checkpoint = l, FixedSource{set}, time.Hour
			last := uint64(0)
			for i, o := range work[:to] {
				if cfg.Partitions == nil || slices.Contains(cfg.Partitions, l.Partition(o.Device.At(0))) {
					last = uint64(i + 1)
				}
			}
			before := beginsAt(t, cfg)
			w := NewWorker(cfg)
			left, written := part, false
			w.hook = func(step string) error {
				if !slices.Contains(checkpointSteps, step) {
					return nil
				}
				written = written || step == "clean" // which is after the manifest
				if left--; left < 0 {
					steps[step] = true
					return errKilled
				}
				return nil
			}
			if err := untilSeq(t, w, last); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			after := beginsAt(t, cfg)
			if written == slices.Equal(after, before) {
				t.Errorf("part %d: begins at %d, before at %d; a manifest was written: %t", part, after, before, written)
			}
			if err := untilSeq(t, NewWorker(cfg), last); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, step := range checkpointSteps {
		if !steps[step] {
			t.Errorf("never cut off before %q", step)
		}
	}
	sameEvents(t, byID(t, logged(t, l)), want)
}

// A newest checkpoint that cannot be read, for whatever reason, is left for the one before it: with its positions
// nothing is lost and nothing there twice.
func TestCheckpointBeforeTheNewest(t *testing.T) {
	set := mustParse(t, crashRules)
	work := day(29, 500)
	want := ofOneWorker(t, set, work, nil)
	l := logtest.New(t, nil)
	var said bytes.Buffer
	cfg := WorkerConfig{Log: l, Rules: FixedSource{set}, Checkpoint: time.Hour, Logger: slog.New(slog.NewTextHandler(&said, nil))}
	objects, err := l.Objects(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	for part := range 5 {
		put(t, l, work[part*100:(part+1)*100])
		if err := until(t, NewWorker(cfg)); err != nil {
			t.Fatal(err)
		}
		if part == 0 {
			continue
		}
		all, err := objects.Generations(within(t), wholeFolder)
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		breakPart(t, objects, all[0], 1+part)
		if got := slices.Min(beginsAt(t, cfg)); got != all[0].At[atObservations] {
			t.Errorf("begins at %d, want %d", got, all[0].At[atObservations])
		}
	}
	if !strings.Contains(said.String(), "a checkpoint is not whole") {
		t.Errorf("it is not said, but %s", said.String())
	}
	if err := until(t, NewWorker(cfg)); err != nil {
		t.Fatal(err)
	}
	sameEvents(t, byID(t, logged(t, l)), want)
}

// breakPart writes a newer checkpoint, of which one part is no snapshot.
func breakPart(t *testing.T, objects *streamlog.Objects, g streamlog.Generation, part int) {
	t.Helper()
	var parts [][]byte
	for i := range g.Parts {
		data, err := objects.Read(within(t), wholeFolder, g, i)
		if err != nil {
			t.Fatal(err)
		}
		if i == part {
			data[len(data)/2] ^= 1
		}
		parts = append(parts, data)
	}
	if _, err := objects.Write(within(t), wholeFolder, g.At, parts...); err != nil {
		t.Fatal(err)
	}
}
