package rules

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	set := mustParse(t, `
rules:
  - id: lamp-burning-by-day
    title: {en: Lamp on in daylight, it: Lampada accesa di giorno}
    domain: lighting
    severity: warning            # info | warning | major | critical
    on: observations             # observations | detections | uplinks | events
    when: power_w > 20 && sun_elevation > 6
    for: 15m                     # must hold that long in event time; default 0
    clear: power_w < 5           # hysteresis
    key: device                  # device | zone | domain | camera | an expression
    text: "{device}: {power_w} W with the sun {sun_elevation} degrees up"
`)
	r := set.Rules[0]
	if r.For != 15*time.Minute || r.Key != "device" || r.Line != 3 || r.File != "test.yaml" || !slices.Equal(r.Metrics, []string{"power_w"}) {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var j ruleJSON
	if err := json.Unmarshal(b, &j); err != nil || j.For != "15m" || !j.Enabled || j.Title["it"] != "Lampada accesa di giorno" {
		t.Errorf("%s, %v", b, err)
	}
	// What the API gives out it takes back, as the same rule.
	body, _ := json.Marshal(map[string]any{"id": j.ID, "title": j.Title, "domain": j.Domain, "severity": j.Severity, "on": j.On,
		"when": j.When, "for": j.For, "clear": j.Clear, "key": j.Key, "text": j.Text, "enabled": j.Enabled})
	again, err := Parse("again", body)
	if err != nil || again.Rules[0].Version != r.Version {
		t.Errorf("%v, %v; want the same version", again, err)
	}
	// So with windows and sequences.
	for _, text := range []string{
		`{id: w, window: {type: hopping, size: 5m, every: 1m}, let: {n: count(), v: avg(x)}, when: n > 1 && v > 2, key: zone}`,
		`{id: s, sequence: [{as: a, when: x > 1}, {as: b, within: 1m30s, when: x < 1}], unless: {within: 5s, when: y > 1}, hold: 1m}`,
	} {
		r := mustParse(t, text).Rules[0]
		body, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var j map[string]any
		if err := json.Unmarshal(body, &j); err != nil {
			t.Fatal(err)
		}
		for _, given := range []string{"version", "file", "line", "metrics"} {
			delete(j, given)
		}
		body, _ = json.Marshal(j)
		if again, err := Parse("again", body); err != nil || again.Rules[0].Version != r.Version {
			t.Errorf("%s: %v; want the same version", body, err)
		}
	}
	// Words change the version, not the logic; comments change neither.
	other := mustParse(t, strings.Replace(string(body), "with the sun", "in the sun", 1)).Rules[0]
	if other.Version == r.Version || other.logic != r.logic || other.ID != r.ID {
		t.Errorf("version %s and %s, logic %s and %s", other.Version, r.Version, other.logic, r.logic)
	}
}

// Each file in testdata/bad is refused with the messages beside it.
func TestParseRefuses(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, p := range Check(filepath.Base(file), data, []string{"power_w", "status", "dimming"}) {
			level := "error"
			if p.Warning {
				level = "warning"
			}
			fmt.Fprintf(&got, "%s: %s\n", level, p)
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *Update {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s: found\n%s\nwant\n%s", file, got.String(), want)
		}
	}
}

func TestTooBig(t *testing.T) {
	for name, text := range map[string]string{
		"file":     strings.Repeat("#", maxFileBytes+1),
		"expr":     "{id: r, when: '" + strings.Repeat("a > 1 && ", 300) + "b > 1'}",
		"depth":    "{id: r, when: '" + strings.Repeat("(", 200) + "a > 1" + strings.Repeat(")", 200) + "'}",
		"nested":   strings.Repeat("[", 20_000),
		"aliases":  "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\nrules: [*c,*c,*c]",
		"recurse":  "rules: &r [*r]",
		"itself":   "rules: [&r {id: x, when: *r}]",
		"merged":   "rules: [&r {<<: *r, id: x, when: y > 1}]",
		"template": "rules: [&r {id: x, for_each: {metric: [a]}, when: $metric > 1, params: *r}]",
		"bomb": "rules: [{id: x, for_each: {metric: [a]}, when: $metric > 1, params: {a: &a [1,1,1,1,1,1,1,1,1], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], " +
			"c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b], d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c], e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d], f: [*e,*e,*e,*e,*e,*e,*e,*e,*e]}}]",
		"regex": `{id: r, when: 's.matches("((a{1,100}){1,100}){1,100}")'}`,
	} {
		if _, err := Parse("big", []byte(text)); err == nil {
			t.Errorf("%s: taken, want it refused", name)
		}
	}
}

// Rules that name one another in a circle are told so, each once however many they are.
func TestCirclesOfMany(t *testing.T) {
	t.Parallel()
	const n = 3000
	var text strings.Builder
	text.WriteString("rules:\n")
	for i := range n {
		fmt.Fprintf(&text, "- {id: r%d, on: events, when: rule == \"r%d\"}\n", i, (i+1)%n)
	}
	all := Check("circle.yaml", []byte(text.String()), nil)
	if len(all) != n || !strings.Contains(all[n-1].Message, "one of 3000 rules that name one another") || all[n-1].Line != n+1 {
		t.Errorf("%d problems, the last of %v; want one of each", len(all), all[max(len(all)-1, 0):])
	}
	if all := Check("chain.yaml", []byte(strings.Replace(text.String(), `"r0"`, `"none"`, 1)), nil); len(all) != 0 {
		t.Errorf("%v of a chain, want nothing", all[0])
	}
}

// What is taken and hardly meant is told, with its place.
func TestHardlyMeant(t *testing.T) {
	for rule, want := range map[string]string{
		"when: status == off":                          `1:18: rule r: when: off is taken for a metric; a text stands in quotes: "off"`,
		"when: tags.owner == amap && x > 3":            `1:22: rule r: when: amap is taken for a metric; a text stands in quotes: "amap"`,
		"when: kalsa != zone":                          `1:8: rule r: when: kalsa is taken for a metric; a text stands in quotes: "kalsa"`,
		"when: x > 3, key: camera":                     "1:20: rule r: key: camera on observations, which are of none: it is the device; want device, zone, domain or an expression",
		"on: uplinks, when: snr_db < 1, key: camera":   "1:38: rule r: key: camera on uplinks, which are of none: it is the device; want device, zone, domain or an expression",
		"on: detections, when: score > 1, key: camera": "",
		"when: occupied == reserved":                   "",
		`when: status == "off"`:                        "",
	} {
		all := Check("", []byte("{"+rule+", id: r}"), nil)
		if want == "" && len(all) > 0 || want != "" && (len(all) != 1 || !all[0].Warning || all[0].String() != want) {
			t.Errorf("%s: %v, want %s", rule, all, want)
		}
	}
}

// One rule is asked for by its id: of a list that has more nothing else is looked at.
func TestOneRuleOfMany(t *testing.T) {
	_, err := ParseRule("a", []byte("rules:\n- {id: a, when: x > 1}\n- {id: b, when: nosuch(x)}"))
	if err == nil || err.Error() != "api/a:3:3: rules: 2, want the one that is called a" {
		t.Errorf("%v", err)
	}
}

// Values that anchors name once and aliases often are rules like others.
func TestAliases(t *testing.T) {
	set, err := Parse("a.yaml", []byte("rules:\n- {id: a, when: &w x > 1, schedule: &s {days: &d [mon, tue]}, text: &t high}\n- {id: b, when: *w, schedule: *s, text: *t}\n- {id: c, when: *w, schedule: {days: *d}}\n"))
	if err != nil || len(set.Rules) != 3 || set.Rules[1].When != "x > 1" || set.Rules[1].Text != "high" {
		t.Errorf("%v, %v; want three rules", set, err)
	}
}

func TestDurations(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"15m": 15 * time.Minute, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "2d": 48 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "1.5s": 1500 * time.Millisecond,
	} {
		d, err := parseDuration(in)
		if err != nil || d != want {
			t.Errorf("%s: %v, %v; want %v", in, d, err, want)
		}
		if back, err := parseDuration(formatDuration(d)); err != nil || back != d {
			t.Errorf("%s: written %s and read %v, %v", in, formatDuration(d), back, err)
		}
	}
	for _, bad := range []string{"", "15", "m", "-1s", "1d1d", "dd", "9999d", "1e9h", "15 minutes"} {
		if d, err := parseDuration(bad); err == nil {
			t.Errorf("%q: taken as %v", bad, d)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"power_w", "status", "dimming"}
	for in, want := range map[string]string{"powerw": "power_w", "pwoer_w": "power_w", "statsu": "status", "zzz": "", "diming": "dimming"} {
		if got := nearest(in, known); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestFormatNumber(t *testing.T) {
	for in, want := range map[float64]string{83.2: "83.2", 0.125: "0.12", 12.34: "12.3", 1234.5: "1234", -0.001: "0", 5: "5", 1e20: "1e+20", 100: "100"} {
		if got := formatNumber(in, -1); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, data := range readDefaults() {
		f.Add(data)
	}
	files, _ := filepath.Glob("testdata/bad/*.yaml")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte("rules: [{id: a, when: 'x > 1', text: '{x:2} {{ }} {y'}]"))
	f.Add([]byte("id: a\nwhen: >\n  x > 1 &&\n\n   y.contains('a')\nkey: tags[zone] + 'x'"))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := Parse("fuzz", data)
		if err != nil {
			problems, ok := err.(Problems)
			if !ok || len(problems) == 0 {
				t.Fatalf("%T %v, want Problems", err, err)
			}
			for _, p := range problems {
				if p.Line < 1 || p.Column < 1 || p.Message == "" {
					t.Fatalf("%+v, want a place and a message", p)
				}
			}
			return
		}
		// What is taken can be bound, evaluated and written.
		if len(set.Rules) > 50 {
			return
		}
		if _, err := json.Marshal(set.Rules); err != nil {
			t.Fatal(err)
		}
		e := New(Config{}, set)
		e.Apply(0, 1, benchBatch(2))
		e.Tick(1_790_000_100_000)
		e.Settle()
		next := New(Config{}, set)
		if _, err := next.Restore(0, e.Snapshot(0, 1)); err != nil {
			t.Fatal(err)
		}
	})
}

// A file of ten thousand rules, each with a warning, takes ten times as long as one of a thousand, and not a hundred times.
func TestManyWarnings(t *testing.T) {
	allocated := func(n int) (bytes uint64) {
		var text strings.Builder
		text.WriteString("rules:\n")
		for i := range n {
			fmt.Fprintf(&text, "- {id: r%d, when: nosuch > 1}\n", i)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if all := Check("many.yaml", []byte(text.String()), []string{"power_w"}); len(all) != n {
			t.Errorf("%d problems, want %d", len(all), n)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, many := allocated(200), allocated(2000); many > 15*few {
		t.Errorf("%d bytes for 200 rules and %d for 2,000", few, many)
	}
}
