package privacy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/log/logtest"
)

func TestShippedPoliciesAreAcceptable(t *testing.T) {
	for _, p := range append(Shipped(), DefaultPolicy("any")) {
		if err := p.Check(); err != nil {
			t.Errorf("%s: %v", p.ID, err)
		}
		for _, a := range p.Attributes {
			for _, s := range Sensitive {
				if canonical(a) == s {
					t.Errorf("%s keeps %s", p.ID, a)
				}
			}
		}
	}
}

func TestTracksAreKeptAsTheirClassAndPlateAllow(t *testing.T) {
	hour := devices.Duration(time.Hour)
	g := Grant{policy: Policy{Detections: 72 * hour, Tracks: 48 * hour, PlateRetention: 24 * hour, Classes: map[string]devices.Duration{"person": hour}}}
	for _, tc := range []struct {
		class string
		plate bool
		want  time.Duration
	}{{"car", false, 48 * time.Hour}, {"car", true, 24 * time.Hour}, {"person", false, time.Hour}, {"person", true, time.Hour}} {
		if got := g.Tracks(tc.class, tc.plate); got != tc.want {
			t.Errorf("a %s, plate %v: %v, want %v", tc.class, tc.plate, got, tc.want)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	hours := func(n int) devices.Duration { return devices.Duration(time.Duration(n) * time.Hour) }
	for _, tc := range []struct {
		name  string
		edit  func(*Policy)
		fault string // beginning of the error; empty: acceptable
	}{
		{"as it is", func(*Policy) {}, ""},
		{"seven days", func(p *Policy) { p.Detections = hours(168) }, ""},
		{"an hour more", func(p *Policy) { p.Detections = hours(169) }, "detections: 169h0m0s, want 1m0s to 168h0m0s"},
		{"none", func(p *Policy) { p.Detections = 0 }, "detections: 0s"},
		{"negative", func(p *Policy) { p.Detections = -hours(1) }, "detections: -1h0m0s"},
		{"tracks for a year", func(p *Policy) { p.Tracks = hours(24 * 365) }, "tracks: "},
		{"a shorter class", func(p *Policy) { p.Classes = map[string]devices.Duration{"person": hours(1)} }, ""},
		{"a longer class", func(p *Policy) { p.Classes = map[string]devices.Duration{"person": hours(73)} }, "classes.person: 73h0m0s, want 1m0s to 72h0m0s"},
		{"plates of no kind", func(p *Policy) { p.Plates = "clear" }, `plates: "clear", want none, hash or sealed`},
		{"plates beyond their rows", func(p *Policy) { p.PlateRetention = hours(73) }, "plate_retention: 73h0m0s, want 1m0s to 72h0m0s"},
		{"no plates, no time", func(p *Policy) { p.Plates, p.PlateRetention = PlatesNone, 0 }, ""},
		{"k of one", func(p *Policy) { p.K = 1 }, ""},
		{"k of none", func(p *Policy) { p.K = 0 }, "k: 0 objects, want 1 to 1000"},
		{"named attributes", func(p *Policy) { p.Attributes = []string{"color", "gender", "our_own"} }, ""},
		{"all attributes", func(p *Policy) { p.Attributes = []string{"*"} }, `attributes[0]: "*", want`},
		{"a plate by another name", func(p *Policy) { p.Attributes = []string{"make", "candidates"} }, `attributes[1]: "candidates" is never kept`},
		{"one attribute twice", func(p *Policy) { p.Attributes = []string{"colour", "color"} }, `attributes[1]: "color" is there already`},
		{"no id", func(p *Policy) { p.ID = "" }, "id: "},
	} {
		p := DefaultPolicy("traffic")
		tc.edit(&p)
		err := p.Check()
		if (err == nil) != (tc.fault == "") || err != nil && !strings.HasPrefix(err.Error(), tc.fault) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.fault)
		}
	}
}

func TestPurposesFollowTheBucket(t *testing.T) {
	l := logtest.New(t, nil)
	open := func() *Purposes {
		kv, err := l.KV(t.Context(), "purposes")
		if err != nil {
			t.Fatal(err)
		}
		p := NewPurposes(kv, quiet)
		ready := make(chan struct{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx, func() { close(ready) }) }()
		t.Cleanup(func() { cancel(); <-done })
		<-ready
		return p
	}
	a, b := open(), open()
	guard := New(nil, a)
	camera := &devices.Camera{Purpose: "parks", LegalBasis: "l", Controller: "c", DPIARef: "d"}
	grant, err := guard.Admit(camera)
	if err != nil || grant.Allows("color") || grant.Expires(0, "car", false) != (72*time.Hour).Milliseconds() {
		t.Fatalf("%+v, %v; want the default policy", grant, err)
	}
	before, elsewhere := guard.Version(), b.Version()
	p := DefaultPolicy("parks")
	p.Attributes, p.Detections, p.PlateRetention = []string{"colour"}, devices.Duration(time.Hour), devices.Duration(time.Minute)
	if err := a.Put(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if guard.Version() == before {
		t.Fatal("the guard's version is as before: grants would be kept")
	}
	if grant, _ = guard.Admit(camera); !grant.Allows("color") || grant.Allows("make") || grant.Expires(0, "car", false) != time.Hour.Milliseconds() || grant.Expires(0, "car", true) != time.Minute.Milliseconds() {
		t.Errorf("%+v, want the policy that was put", grant)
	}
	for b.Version() == elsewhere {
		time.Sleep(time.Millisecond)
	}
	if got, ok := b.Policy("parks"); !ok || got.Detections != p.Detections || b.Retention("parks") != time.Minute {
		t.Errorf("the other process has %+v", got)
	}
	if got := open().All(); len(got) != len(Shipped())+1 || got[1].ID != "parks" {
		t.Errorf("a new process has %+v", got)
	}
	bad := p
	bad.K = 0
	if err := a.Put(t.Context(), bad); err == nil {
		t.Error("a k of 0 was taken")
	}
	if err := a.Delete(t.Context(), "parks"); err != nil {
		t.Fatal(err)
	}
	if _, ok := a.Policy("parks"); ok {
		t.Error("still there")
	}
	if err := a.Delete(t.Context(), "parks"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	if err := a.Delete(t.Context(), "traffic"); !errors.Is(err, ErrShipped) {
		t.Errorf("%v, want ErrShipped", err)
	}
}

func TestNormal(t *testing.T) {
	for in, want := range map[string]string{"AB123CD": "AB123CD", "ab 123-cd": "AB123CD", "ÄB·1.2": "ÄB12", " - ": "", "": "", "ab\xff1": "AB1"} {
		if got := Normal(in); got != want {
			t.Errorf("Normal(%q) = %q, want %q", in, got, want)
		}
	}
}
