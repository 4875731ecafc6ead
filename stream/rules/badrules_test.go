package rules

import (
	"fmt"
	"strings"
	"testing"

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
