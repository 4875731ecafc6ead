package rules

import (
	"encoding/json"
	"strings"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

type overrider struct {
	all map[string]map[string]devices.RuleOverride
}

func (o overrider) EachOverride(f func(kind, id string, rules map[string]devices.RuleOverride) bool) {
	for id, rules := range o.all {
		if !f("device", id, rules) {
			return
		}
	}
}

func TestCheckOverrides(t *testing.T) {
	set := mustParse(t, `rules: [{id: hot, params: {limit: 50, word: warm}, when: temp > limit, text: "{word}"}]`)
	for _, tc := range []struct{ rules, want string }{
		{`{"hot": {"limit": 60, "word": "x", "enabled": false}}`, ""},
		{`{"hto": {"limit": 60}}`, `device d: rules: no rule "hto"; did you mean "hot"?`},
		{`{"hot": {"limt": 60}}`, `device d: it has no parameter "limt"; did you mean "limit"?`},
		{`{"hot": {"limit": "60"}}`, `device d: limit: found 60, want what the rule has, such as 50`},
		{`{"hot": {"limit": true}}`, ""},
	} {
		var o map[string]devices.RuleOverride
		if err := json.Unmarshal([]byte(tc.rules), &o); err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range CheckOverrides(set, overrider{map[string]map[string]devices.RuleOverride{"d": o}}) {
			got += p.Message
			if !p.Warning {
				t.Errorf("%s: an error, want a warning", p)
			}
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.rules, got, tc.want)
		}
	}
	many := map[string]map[string]devices.RuleOverride{}
	for i := range 300 {
		many[strings.Repeat("x", i+1)] = map[string]devices.RuleOverride{"none": {"a": 1.0}}
	}
	if n := len(CheckOverrides(set, overrider{many})); n != maxOverrideProblems {
		t.Errorf("%d problems, want %d", n, maxOverrideProblems)
	}
}

// An event says which value a parameter really had, and whose it was.
func TestContextHasTheParameterUsed(t *testing.T) {
	registry := &testRegistry{assets: map[string]*devices.Asset{
		"a": {Device: devices.Device{ID: "a", Zone: "kalsa"}},
		"b": {Device: devices.Device{ID: "b", Zone: "kalsa"}, Overrides: devices.Overrides{"hot": {"limit": {Value: 60.0, From: "zone"}, "back": {Value: "no number", From: "device"}}}},
	}}
	e := New(Config{Registry: registry, Partitions: 1}, mustParse(t,
		`rules: [{id: hot, params: {limit: 50, back: 40}, when: limit < temp, clear: temp < back}]`))
	var o batch.Observations
	for _, id := range []string{"a", "b"} {
		o.Append(o.Begin(rowStart, rowStart, "d", id), "temp", 70, "", 0)
	}
	e.Apply(0, 1, &o)
	for _, ev := range e.Settle() {
		var c struct {
			Values     map[string]float64
			Thresholds []limit
			Overridden map[string]string
		}
		if err := json.Unmarshal(ev.Context, &c); err != nil {
			t.Fatal(err)
		}
		want, from := 50.0, ""
		if ev.Device == "b" {
			want, from = 60, "zone"
		}
		if len(c.Thresholds) != 1 || c.Thresholds[0] != (limit{Value: "temp", Is: ">", Limit: want, Param: "limit"}) || c.Values["limit"] != want || c.Values["back"] != 40 {
			t.Errorf("%s: %s, want the limit %v", ev.Device, ev.Context, want)
		}
		if c.Overridden["limit"] != from || len(c.Overridden) > 1 {
			t.Errorf("%s: overridden %v, want limit of %q alone", ev.Device, c.Overridden, from)
		}
	}
}
