package ingest

import (
	"regexp"
	"strings"
	"testing"
)

// TestSpeakers has the expressions say of topics what the routes themselves say.
func TestSpeakers(t *testing.T) {
	routes := append([]Route{{Filter: "+/sensors/+", Decoder: "json"}, {Filter: "a.b/+/#", Decoder: "json", Domain: "water"}, {Filter: "ignored/+/x", Decoder: Ignore}}, DefaultRoutes()...)
	all := map[string]Decoder{}
	for _, r := range routes {
		all[r.Decoder] = nil
	}
	compiled := make([]route, len(routes))
	for i, r := range routes {
		var err error
		if compiled[i], err = compile(r, all, nil); err != nil {
			t.Fatal(err)
		}
	}
	speakers := Speakers(routes)
	expressions := make([]*regexp.Regexp, len(speakers))
	for i, s := range speakers {
		expressions[i] = regexp.MustCompile(s.Topics)
	}
	named := 0
	for _, topic := range []string{
		"city/lighting/lamp-1/telemetry", "city/lighting/lamp-1/telemetry/senml", "city/lighting/lamp-1", "city/lighting/lamp-1/telemetry/x/y", "city//lamp-1/telemetry", "city/lighting//telemetry",
		"water/sensors/w-1", "$SYS/sensors/w-1", "/sensors/w-1", "a.b/w-2", "a.b/w-2/", "a.b/w-2/deep/er", "aXb/w-2", "a.b", "ignored/lamp-1/x", "ignored/lamp-1/x\n",
		"application/1/device/0102030405060708/event/up", "application/1/device/0102030405060708/event/other", "log/observations/7", "", "#", "city/lighting/lamp\n1/telemetry",
	} {
		want, got := "", ""
		for i := range compiled {
			if _, device, ok := compiled[i].match(topic); ok {
				want = device
				break
			}
		}
		for i, s := range speakers {
			if expressions[i].MatchString(topic) {
				if levels := strings.Split(topic, "/"); s.Level > 0 {
					got = levels[s.Level-1]
				}
				break
			}
		}
		if got != want {
			t.Errorf("%q is of %q, want %q", topic, got, want)
		}
		if want != "" {
			named++
		}
	}
	if named < 6 {
		t.Errorf("%d topics name a device: the test looks at nothing", named)
	}
}
