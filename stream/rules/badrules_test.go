package rules

import (
	"fmt"
	"strings"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

// What rules may do wrong is refused with a message that names it, or contained: the rule errs, is bounded
// and counted, and the one beside it judges every message.
func TestBadRulesAreRefusedOrContained(t *testing.T) {
	deep := strings.Repeat("(", 100) + "x > 1" + strings.Repeat(")", 100)
	for _, c := range []struct {
		name, rule string
		refused    string // part of the message; "" for one that runs
		contained  func(s Stats, r RuleStats) bool
	}{
		{"divides by zero", `when: x / (y - y) > 1`, "", func(_ Stats, r RuleStats) bool { return r.Errors == 50 && r.Raised == 0 && r.Failed == "" }},
		{"a number that is none", `when: sqrt(0 - x) > 1`, "", func(_ Stats, r RuleStats) bool { return r.Errors == 50 && r.Failed == "" }},
		{"an unlike type", `when: x > "a" && x > 1`, "want the same kind on both sides", nil},
		{"a condition that is a number", `when: x + 1`, "found a number, want a condition", nil},
		{"brackets without end", `when: '` + deep + `'`, "recursion limit exceeded", nil},
		{"nesting without end", `when: '` + strings.Repeat("-(", 500) + "x" + strings.Repeat(")", 500) + ` > 1'`, "recursion limit exceeded", nil},
		{"more text than may be", `when: '` + strings.Repeat("x > 1 || ", 400) + `x > 2'`, "want at most", nil},
		{"a regex that others never end", `when: 'name2.matches("^(a+)+(b|c)*$")'`, "", func(_ Stats, r RuleStats) bool { return r.Errors == 0 && r.Evaluations == 0 }},
		{"a regex that grows", `when: 'name2.matches("((a{100}){100}){10}")'`, "repeat", nil},
		{"a regex of the message", `when: 'name2.matches(other)'`, "no literal", nil},
		{"keys without bound", `{when: x > 1, key: 'device + string(x)'}`, "", func(s Stats, r RuleStats) bool { return s.KeysRefused == 40 && r.Raised == 10 }},
		{"a costly one", `when: '@.all(a, @.all(b, @.all(c, @.all(d, a + b + c + d > 0 - x))))'`, "", func(_ Stats, r RuleStats) bool { return r.Errors == 50 && strings.Contains(r.LastError, "cost limit") }},
		{"a metric that nobody has", `when: nosuch > 1`, "", func(_ Stats, r RuleStats) bool { return r.Evaluations == 0 && r.Raised == 0 && r.Failed == "" }},
		{"a metric that nobody has beside one", `when: x > 1 && nosuch > 1`, "", func(_ Stats, r RuleStats) bool { return r.Unknown == 50 && r.Raised == 0 && r.Errors == 0 }},
		{"a number where it takes a text", `when: x == "on"`, "", func(_ Stats, r RuleStats) bool {
			return r.Unknown == 50 && r.Raised == 0 && r.LastError == `found a number for "x", want text`
		}},
		{"a text where it takes a number", `when: mode > 3 && x > 1`, "", func(_ Stats, r RuleStats) bool {
			return r.Unknown == 50 && r.Raised == 0 && r.LastError == `found text for "mode", want a number`
		}},
		{"a text where its window takes a number", `{window: {type: tumbling, size: 1s}, let: {n: avg(mode)}, when: n > 0}`, "", func(_ Stats, r RuleStats) bool {
			return r.Raised == 0 && r.LastError == `found text for "mode", want a number`
		}},
		{"a text beside numbers", `when: mode == "off" || x < 0`, "", func(_ Stats, r RuleStats) bool { return r.Unknown == 0 && r.LastError == "" }},
		{"what it raises itself", `{on: events, when: rule == "bad"}`, "feed on its own events", nil},
		{"keys of windows without bound", `{key: 'device + string(x)', window: {type: tumbling, size: 1s}, let: {n: count()}, when: n > 0}`, "", func(s Stats, r RuleStats) bool {
			return s.KeysRefused > 20 && r.Failed == ""
		}},
		{"a device that is not there", `when: 'x > of("nosuch", "x") || x > of(tags.nosuch, "x")'`, "", func(_ Stats, r RuleStats) bool { return r.Unknown == 50 && r.Raised == 0 }},
		{"a radius below nothing", `{params: {near: -5}, when: 'x > neighbours_max("x", near)'}`, "", func(_ Stats, r RuleStats) bool { return r.Unknown == 50 && r.Raised == 0 }},
		{"others by zero", `when: 'x / (zone_sum("x") - zone_sum("x")) > 1 || x / (x - x) > zone_sum("x")'`, "", func(_ Stats, r RuleStats) bool { return r.Errors == 50 && r.Raised == 0 && r.Failed == "" }},
		{"a window of too many steps", `{window: {type: hopping, size: 31d, every: 1s}, let: {n: count()}, when: n > 1}`, "at most 1000", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(c.rule, "{"), "}"), "@", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
			if !strings.HasPrefix(c.rule, "{") {
				body = strings.ReplaceAll(c.rule, "@", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
			}
			set, err := Parse("bad.yaml", []byte("rules:\n  - {id: bad, "+body+"}\n  - {id: good, when: x > 1}\n"))
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) || !strings.Contains(err.Error(), "bad.yaml:2:") {
					t.Fatalf("%v, want a refusal at line 2 with %q", err, c.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			e := New(Config{Partitions: 1, MaxKeys: 10}, set)
			for i := range 50 {
				at := rowStart + int64(i)*1000
				var o batch.Observations
				h := o.Begin(at, at, "lab", fmt.Sprint("d", i))
				o.Append(h, "x", float64(i+2), "", 0)
				o.Append(h, "y", 1, "", 0)
				o.Append(h, "mode", nan, "auto", 0)
				e.Apply(0, uint64(i+1), &o)
				e.Settle()
			}
			s := e.Stats()
			if !c.contained(s, s.Rules[0]) || s.Rules[1].Raised != 50 || s.Rules[1].Failed != "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

// noZones knows no zone.
type noZones struct{ *testRegistry }

func (noZones) Zone(string) *devices.Zone { return nil }

// So of rules about rows: what they keep is bounded, and counted beyond it.
func TestBadRowRulesAreContained(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, rule string
		contained  func(e *RowEngine, r RuleStats) bool
	}{
		{"divides by zero", `when: score / (score - score) > 1`, func(_ *RowEngine, r RuleStats) bool { return r.Errors == 50 && r.Raised == 0 && r.Failed == "" }},
		{"keys without bound", `{when: score > 0, key: track}`, func(e *RowEngine, r RuleStats) bool { return r.Raised == 10 && len(e.episodes) == 10+10 }},
		{"keys of sequences without bound", `{key: track, sequence: [{as: a, when: score > 0}]}`, func(e *RowEngine, r RuleStats) bool { return len(e.keyed) == 10 && r.Failed == "" }},
		{"things without bound", `{when: 'rate(score, 1m) > 0 || enter("nosuch")'}`, func(e *RowEngine, r RuleStats) bool { return len(e.series.things) == 20 && r.Raised == 0 }},
		{"a zone that is not there", `when: 'in_zone("nosuch")'`, func(_ *RowEngine, r RuleStats) bool { return r.Errors == 50 && r.Raised == 0 && r.Failed == "" }},
		{"a costly one", `when: '@.all(a, @.all(b, @.all(c, @.all(d, a + b + c + d > 0 - score))))'`, func(_ *RowEngine, r RuleStats) bool {
			return r.Errors == 50 && strings.Contains(r.LastError, "cost limit")
		}},
		{"others without bound", `when: 'score > zone_sum("x")'`, func(e *RowEngine, r RuleStats) bool {
			return len(e.joins.engine.shared.board.values) == 20 && r.Raised == 0 && r.Unknown+r.Evaluations > 0
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(c.rule, "{"), "}"), "@", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
			set := mustParse(t, "rules:\n  - {id: bad, on: detections, "+body+"}\n  - {id: good, on: detections, key: track, when: score > 0}\n")
			cfg := Config{MaxKeys: 10, MaxDevices: 20, Registry: noZones{&testRegistry{assets: map[string]*devices.Asset{}}}}
			engines := map[string]*RowEngine{}
			for _, r := range set.Rules {
				engines[r.ID] = NewRowEngine(cfg, r.engine(), set)
			}
			for i := range 50 {
				at := rowStart + int64(i)*10
				o := &batch.Observations{}
				o.Append(o.Begin(at, at, "lab", fmt.Sprint("d", i)), "x", 1, "", 0)
				row, err := NewRow(OnDetections, "cam", at, at, map[string]string{"track": fmt.Sprint(i), "score": "1", "position_lat": "38.1", "position_lon": "13.3"})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range engines {
					Messages(o, func(m *Row) { e.Apply(uint64(i+1), m) })
					e.Apply(uint64(i+1), row)
					e.Settle()
				}
			}
			stats := map[string]RuleStats{}
			for _, e := range engines {
				for _, s := range e.Stats() {
					stats[s.ID] = s
				}
			}
			if !c.contained(engines["bad"], stats["bad"]) || stats["good"].Raised != 10 || stats["good"].Failed != "" {
				t.Errorf("%+v", stats)
			}
		})
	}
}
