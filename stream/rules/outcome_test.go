package rules

import (
	"cmp"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"panormus/stream/batch"
)

// toldContext is what an event says of its episode.
type toldContext struct {
	Since, Ended, Episode string
	For                   string
	Correction            int
	Withdrawn             bool
	Values                map[string]any
}

func contextOf(t testing.TB, ev *batch.Event) toldContext {
	t.Helper()
	var c toldContext
	if err := json.Unmarshal(ev.Context, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// outcome is what events came to, read as who keeps the newest of each episode reads them: the line of each
// episode's beginning and end, with the event that says so.
func outcome(t testing.TB, events []batch.Event) map[string]batch.Event {
	t.Helper()
	byID(t, events)
	begun, ended := map[string]batch.Event{}, map[string]batch.Event{}
	told := map[string]toldContext{} // by id: to read them is what a test of many events takes long for
	for _, ev := range events {
		c := contextOf(t, &ev)
		told[ev.ID] = c
		switch {
		case c.Withdrawn:
			delete(begun, c.Episode)
			delete(ended, c.Episode)
		case ev.State == "cleared":
			if _, ok := begun[c.Episode]; !ok {
				t.Errorf("%s %s ends at %v without a beginning: %s", ev.Rule, ev.Key, ev.Time, ev.Context)
			}
			ended[c.Episode] = ev
		default:
			if _, ok := begun[c.Episode]; ok && ev.State == "raised" && c.Correction == 0 {
				t.Errorf("%s %s is raised twice: %s", ev.Rule, ev.Key, ev.Context)
			}
			begun[c.Episode] = ev
			delete(ended, c.Episode)
		}
	}
	out := map[string]batch.Event{}
	for episode, ev := range begun {
		end, over := ended[episode]
		c := told[ev.ID]
		if over {
			c = told[end.ID]
		}
		since := parseTime(t, c.Since)
		at := ev.Time
		if first := told[ev.ID]; first.Correction > 0 || first.Since != c.Since {
			long, err := parseDuration(cmp.Or(c.For, "0"))
			if err != nil {
				t.Fatal(err)
			}
			at = since.Add(long)
		}
		out[line(ev.Rule, ev.Key, "raised", since.UnixMilli(), at.UnixMilli())] = ev
		if over {
			at := end.Time
			if c.Ended != "" {
				at = parseTime(t, c.Ended)
			}
			out[line(ev.Rule, ev.Key, "cleared", since.UnixMilli(), at.UnixMilli())] = end
		}
	}
	standsAsTold(t, events, told, begun, ended)
	return out
}

// standsAsTold: who knows only rules and keys, in the order of the log or of times, knows what stands.
func standsAsTold(t testing.TB, events []batch.Event, told map[string]toldContext, begun, ended map[string]batch.Event) {
	t.Helper()
	stands := map[string]bool{}
	for episode, ev := range begun {
		if _, over := ended[episode]; !over {
			stands[ev.Rule+" "+ev.Key] = true
		}
	}
	byTime := slices.Clone(events)
	order := []string{"raised", "updated", "cleared"}
	slices.SortStableFunc(byTime, func(a, b batch.Event) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		return slices.Index(order, a.State) - slices.Index(order, b.State)
	})
	corrected := map[string]bool{}
	for _, ev := range events {
		corrected[ev.Rule+" "+ev.Key] = corrected[ev.Rule+" "+ev.Key] || told[ev.ID].Correction > 0
	}
	for name, all := range map[string][]batch.Event{"the log": events, "time": byTime} {
		last := map[string]string{}
		for _, ev := range all {
			last[ev.Rule+" "+ev.Key] = ev.State
		}
		for k, state := range last {
			if (state != "cleared") != stands[k] && corrected[k] {
				t.Errorf("%s: the last by %s is %s, stands: %v", k, name, state, stands[k])
			}
		}
	}
}

func parseTime(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(timeLayout, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// sameOutcome: what events came to is the same, whatever corrections led there.
func sameOutcome(t testing.TB, got, want map[string]batch.Event) {
	t.Helper()
	for at, w := range want {
		g, ok := got[at]
		if !ok {
			t.Errorf("missing: %s: %s", at, w.Context)
			continue
		}
		a, b := evidence{text: g.Text, values: contextOf(t, &g).Values}, evidence{text: w.Text, values: contextOf(t, &w).Values}
		if !a.same(&b) || g.Device != w.Device || g.Zone != w.Zone || g.Domain != w.Domain {
			t.Errorf("%s differs:\n%s %s\nwant\n%s %s", at, g.Text, g.Context, w.Text, w.Context)
		}
	}
	for at, g := range got {
		if _, ok := want[at]; !ok {
			t.Errorf("too many: %s: %s", at, g.Context)
		}
	}
}
