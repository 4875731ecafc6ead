package rules

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// pastOf gives a backtest what past holds, in batches of some rows, as the database does.
func pastOf(past *batch.Observations, rows int, asked *Past) func(context.Context, Past, func(*batch.Observations) error) (int64, error) {
	return func(_ context.Context, p Past, each func(*batch.Observations) error) (int64, error) {
		*asked = p
		var o *batch.Observations
		for i := range past.Len() {
			at, metric := past.Time[i], past.Metric.At(i)
			if at < p.From.UnixMilli() || at >= p.To.UnixMilli() || p.Metrics != nil && !slices.Contains(p.Metrics, metric) {
				continue
			}
			if o != nil && o.Len() >= rows && at != o.Time[o.Len()-1] {
				if err := each(o); err != nil {
					return 0, err
				}
				o = nil
			}
			if o == nil {
				o = &batch.Observations{}
			}
			o.Append(o.Begin(at, at, past.Domain.At(i), past.Device.At(i)), metric, past.Value[i], past.Text.At(i), 0)
		}
		if o != nil {
			return 0, each(o)
		}
		return 0, nil
	}
}

// A backtest raises what the engine raised when the past was the present, however it is cut.
func TestBacktestIsWhatHappened(t *testing.T) {
	t.Parallel()
	registry := &testRegistry{assets: map[string]*devices.Asset{}}
	for i := range 6 {
		id := fmt.Sprint("d", i)
		registry.assets[id] = &devices.Asset{Device: devices.Device{ID: id, Domain: "lighting", Zone: fmt.Sprint("z", i%2), Status: devices.Claimed}}
	}
	start := time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC)
	rng := rand.New(rand.NewPCG(1, 2))
	past := &batch.Observations{}
	for minute := range 600 {
		for i := range 6 {
			if (minute/50+i)%4 == 0 {
				continue // silent for fifty minutes now and then
			}
			at := start.Add(time.Duration(minute)*time.Minute + time.Duration(i)*time.Second).UnixMilli()
			h := past.Begin(at, at, "lighting", fmt.Sprint("d", i))
			past.Append(h, "x", float64(rng.IntN(10)), "", 0)
			past.Append(h, "y", float64(rng.IntN(10)), "", 0)
		}
	}
	for _, text := range []string{
		`{id: r, when: x > 7, text: "{x} and {y}"}`,
		`{id: r, when: x > 5, clear: x < 2, for: 3m, mode: shadow}`,
		`{id: r, when: x > 8, key: zone, enabled: false}`,
		`{id: r, absent: 20m}`,
		`{id: r, when: 'flagged("late") || x > y', for: 1m}`,
		`{id: r, when: n > 20, window: {type: tumbling, size: 10m}, let: {n: sum(x)}}`,
	} {
		rule := mustParse(t, "rules: ["+text+"]").Rules[0]
		live := *rule
		live.Disabled, live.Shadow = false, false
		e := New(Config{Registry: registry}, NewSet(&live))
		e.Tick((&Backtest{Rule: rule, From: start}).past().From.UnixMilli())
		var want []string
		note := func(events []batch.Event) (out []string) {
			for _, ev := range events {
				if ev.Time.Before(start) {
					continue // not asked for
				}
				out = append(out, ev.ID+" "+ev.State+" "+ev.Time.Format(time.TimeOnly)+" "+ev.Key+" "+ev.Text)
			}
			return out
		}
		for i := 0; i < past.Len(); i += 2 {
			o := past.Slice(i, i+2)
			e.Tick(o.Time[0] - 1)
			e.Apply(e.Partition(o.Device.At(0)), uint64(i+1), o)
			want = append(want, note(e.Settle())...)
		}
		end := start.Add(600 * time.Minute)
		e.Tick(end.UnixMilli() + 30_000)
		want = append(want, note(e.Settle())...)
		slices.Sort(want)
		for _, rows := range []int{1, 100, 5000} {
			var asked Past
			b := Backtest{Rule: rule, From: start, To: end, Config: Config{Registry: registry}, Read: pastOf(past, rows, &asked)}
			r, err := b.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := note(r.Events)
			slices.Sort(got)
			if !slices.Equal(got, want) || len(want) == 0 {
				t.Fatalf("%s, %d rows a batch: %d events, want %d\ngot  %q\nwant %q", text, rows, len(got), len(want), got[:min(5, len(got))], want[:min(5, len(want))])
			}
			raised, cleared := 0, 0
			for _, bucket := range r.Buckets {
				raised, cleared = raised+bucket.Raised, cleared+bucket.Cleared
			}
			if raised != r.Raised || cleared != r.Cleared || raised+cleared != len(got) || len(r.Buckets) != 10 || r.Readings == 0 || r.Devices != 6 {
				t.Errorf("%s: %d and %d in %d buckets, %d and %d in all, %d readings of %d devices", text, raised, cleared, len(r.Buckets), r.Raised, r.Cleared, r.Readings, r.Devices)
			}
			if all := asked.Metrics == nil; all != (rule.Absent > 0 || strings.Contains(text, "flagged")) {
				t.Errorf("%s: asked for %v", text, asked.Metrics)
			}
		}
	}
}

func TestBacktestRefuses(t *testing.T) {
	at := time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule     string
		from, to time.Time
		want     string
	}{
		{`{id: r, on: tracks, when: score > 1}`, at, at.Add(time.Hour), "a rule about rows"},
		{`{id: r, when: x > 1}`, at, at, "is not before"},
		{`{id: r, when: x > 1}`, at, at.Add(93 * 24 * time.Hour), "want at most"},
	} {
		b := Backtest{Rule: mustParse(t, "rules: ["+c.rule+"]").Rules[0], From: c.from, To: c.to}
		_, err := b.Run(t.Context())
		if e, ok := errors.AsType[*BacktestError](err); !ok || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.rule, err, c.want)
		}
	}
}

// The end of ctx ends a backtest at the next batch.
func TestBacktestEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	b := Backtest{
		Rule: mustParse(t, "rules: [{id: r, when: x > 1}]").Rules[0], From: time.UnixMilli(rowStart), To: time.UnixMilli(rowStart + 1000),
		Read: func(_ context.Context, _ Past, each func(*batch.Observations) error) (int64, error) {
			for {
				if n++; n == 3 {
					cancel()
				}
				if err := each(benchBatch(2)); err != nil {
					return 0, err
				}
			}
		},
	}
	if _, err := b.Run(ctx); !errors.Is(err, context.Canceled) || n != 3 {
		t.Errorf("%v after %d batches, want it to end after 3", err, n)
	}
}

// What a rule writes of itself is taken again as the same rule.
func TestWritten(t *testing.T) {
	for _, r := range Defaults().Rules {
		again, err := ParseRule(r.ID, r.Written())
		if err != nil || again.Version != r.Version {
			t.Errorf("%s: %v, want it taken as the same: %s", r.ID, err, r.Written())
		}
	}
	r := mustParse(t, `rules: [{id: w, when: n > 20, mode: shadow, key: zone, window: {type: tumbling, size: 10m}, let: {n: sum(x)}}]`).Rules[0]
	if again, err := ParseRule("w", r.Written()); err != nil || again.Version != r.Version {
		t.Errorf("%v: %s", err, r.Written())
	}
	// With the calendars that it names, each day as it was written.
	whole := mustParse(t, "calendars:\n  - {id: sea, base: none, holidays: [07-15, 2026-12-24, 2026-08-01..2026-08-15], working: {days: [mon-sat], hours: \"08:00-13:00\"}}\n"+
		`rules: [{id: w, when: 'n > 20 && is_holiday("sea") && working_hours("sea")'}]`).Rules[0]
	again, err := ParseRule("w", whole.WrittenWhole())
	if err != nil || string(again.WrittenWhole()) != string(whole.WrittenWhole()) || !strings.Contains(string(again.WrittenWhole()), `"2026-12-24"`) {
		t.Errorf("%v: %s", err, whole.WrittenWhole())
	}
}
