package rules

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"panormus/devices"
)

// Stretches of schedules in legal time: over midnight, over the two days of a year that have not 24
// hours, and where hours touch.
func TestSchedules(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ schedule, at, want string }{
		{`{days: [mon-fri], hours: "08:00-19:00"}`, "2026-09-21T08:00", "in until 2026-09-21T19:00"},
		{`{days: [mon-fri], hours: "08:00-19:00"}`, "2026-09-21T07:59", "out until 2026-09-21T08:00"},
		{`{days: [mon-fri], hours: "08:00-19:00"}`, "2026-09-25T19:00", "out until 2026-09-28T08:00"},
		{`{days: [fri-mon]}`, "2026-09-25T19:00", "in until 2026-09-29T00:00"},
		{`{hours: "22:00-06:00"}`, "2026-09-21T23:00", "in until 2026-09-22T06:00"},
		{`{hours: "22:00-06:00"}`, "2026-09-22T05:59", "in until 2026-09-22T06:00"},
		{`{days: sun, hours: "22:00-06:00"}`, "2026-09-21T05:00", "in until 2026-09-21T06:00"},
		{`{days: sun, hours: "22:00-06:00"}`, "2026-09-20T05:00", "out until 2026-09-20T22:00"},
		{`{hours: "22:00-24:00, 00:00-02:00"}`, "2026-09-21T23:00", "in until 2026-09-22T02:00"},
		{`{hours: ["14:00-18:00", "08:00-13:00"]}`, "2026-09-21T13:30", "out until 2026-09-21T14:00"},
		{`{hours: "02:30-05:00"}`, "2026-03-29T01:59", "out until 2026-03-29T03:30"}, // clocks go from 2 to 3
		{`{hours: "00:00-02:30"}`, "2026-10-25T01:00", "in until 2026-10-25T02:30"},  // 2:30 comes twice: the first
		{`{days: sun}`, "2026-10-25T12:00", "in until 2026-10-26T00:00"},
		{`{days: [mon-fri], holidays: exclude}`, "2026-12-24T12:00", "in until 2026-12-25T00:00"},
		{`{days: [mon-fri], holidays: exclude}`, "2026-12-25T12:00", "out until 2026-12-28T00:00"},
		{`{holidays: only}`, "2026-07-15T12:00", "in until 2026-07-16T00:00"}, // Santa Rosalia
		{`{holidays: only, calendar: italy}`, "2026-07-15T12:00", "out until 2026-08-15T00:00"},
		{`{holidays: include}`, "2026-07-15T12:00", "in until never"},
		{`{holidays: only, calendar: none}`, "2026-07-15T12:00", "out until never"},
	} {
		r := mustParse(t, "{id: r, when: x > 1, schedule: "+tc.schedule+"}").Rules[0]
		at, err := time.ParseInLocation("2006-01-02T15:04", tc.at, rome)
		if err != nil {
			t.Fatal(err)
		}
		s := r.Schedule.at(at.UnixMilli(), rome)
		got := map[bool]string{true: "in", false: "out"}[s.in] + " until "
		if s.until > 1<<50 {
			got += "never"
		} else {
			got += time.UnixMilli(s.until).In(rome).Format("2006-01-02T15:04")
		}
		if got != tc.want {
			t.Errorf("%s at %s: %s, want %s", tc.schedule, tc.at, got, tc.want)
		}
		// Every time of the stretch has the same one.
		for _, other := range []int64{s.from, s.until - 1} {
			if other < at.UnixMilli()-1000*3600*1000 || other > at.UnixMilli()+1000*3600*1000 {
				continue
			}
			if o := r.Schedule.at(other, rome); o.in != s.in || o.until != s.until {
				t.Errorf("%s: at %s it is %v until %d, at %d %v until %d", tc.schedule, tc.at, s.in, s.until, other, o.in, o.until)
			}
		}
	}
}

// Rules of templates follow the profiles, and schedules the calendars of other files; what becomes wrong
// leaves what it was in force.
func TestStoreFollowsProfilesAndCalendars(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	number := func(v float64) *float64 { return &v }
	profiles := []*devices.Profile{{ID: "lamp", Metrics: map[string]devices.Metric{"power_w": {Max: number(400)}, "note": {}}}}
	write("a.yaml", `rules: [{id: high, for_each: {profile: "*", metric: "*"}, when: $metric > $max}, {id: s, when: x > 1, schedule: {holidays: only, calendar: fair}}]`)
	write("b.yaml", `calendars: [{id: fair, holidays: [05-02]}]`)
	s := &Store{Dir: dir, Profiles: func() []*devices.Profile { return profiles }}
	s.init()
	look := func() {
		s.look(true)
		s.lookAround()
	}
	want := func(ids string) {
		t.Helper()
		var got []string
		for _, r := range s.Set().Rules {
			got = append(got, r.ID)
		}
		if strings.Join(got, " ") != ids {
			t.Fatalf("rules %q, want %q; %v", got, ids, s.Problems())
		}
	}
	look()
	want("high@lamp.power_w s")
	if _, _, err := s.Put(context.Background(), "x", nil); err == nil {
		t.Fatal("Put without a bucket: no error")
	}
	// What is asked about, and tried on the past, may name the calendars of files too.
	const fair = `{id: y, when: 'x > 1 && is_holiday("fair")'}`
	if p := s.Check("body", []byte("rules: ["+fair+"]"), nil); len(p) != 0 {
		t.Errorf("%v, want nothing wrong with it", p)
	}
	if r, err := s.Parse("y", []byte(fair)); err != nil || r.ID != "y" {
		t.Errorf("%v, want the rule", err)
	}
	before := s.Set().Rule("s").Version
	write("b.yaml", `calendars: [{id: fair, holidays: [05-02, 05-03]}]`)
	look()
	if s.Set().Rule("s").Version == before {
		t.Error("the version of a rule stayed, want it to change with its calendar")
	}
	profiles = append(profiles, &devices.Profile{ID: "pump", Metrics: map[string]devices.Metric{"bar": {Max: number(9)}, "odd name": {Max: number(1)}}})
	look()
	want("high@lamp.power_w high@pump.bar high@pump.odd_name-8a8930fb s")
	for i := range maxInstances {
		profiles[0].Metrics[fmt.Sprintf("m%d", i)] = devices.Metric{Max: number(1)}
	}
	look()
	want("high@lamp.power_w high@pump.bar high@pump.odd_name-8a8930fb s")
	if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0].Message, "1003 rules, want at most 1000") || p[0].Line != 1 || p[0].Column != 30 {
		t.Errorf("problems %v, want one of too many rules at 1:30", p)
	}
	profiles = profiles[1:]
	look()
	want("high@pump.bar high@pump.odd_name-8a8930fb s")
}

// What the API writes of a rule of a template can be put back in its place.
func TestRuleOfATemplateIsPutBack(t *testing.T) {
	profiles := []*devices.Profile{{ID: "lamp", Metrics: map[string]devices.Metric{"power_w": {Max: new(400.0)}}}}
	set, err := ParseFor("f", []byte(`rules: [{id: high, for_each: {profile: "*", metric: "*"}, when: $metric > $max}]`), profiles)
	if err != nil {
		t.Fatal(err)
	}
	r := set.Rule("high@lamp.power_w")
	written, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(written), `"template":"high"`) || !strings.Contains(string(written), `"profile":"lamp"`) {
		t.Errorf("%s, want the template and the profile", written)
	}
	back, err := ParseRule(r.ID, []byte(`{"id":"high@lamp.power_w","template":"high","profile":"lamp","when":"power_w > 400"}`))
	if err != nil || back.Profile != "lamp" {
		t.Errorf("put back: %v, %v", back, err)
	}
	if _, err := ParseRule("high", []byte(`{"template":"high","when":"power_w > 400"}`)); err == nil || !strings.Contains(err.Error(), "template: found in a rule of none") {
		t.Errorf("a template without its rule: %v", err)
	}
}
