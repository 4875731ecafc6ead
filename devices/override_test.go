package devices

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// A device's own values come before its zone's, those before its profile's, and changes of any of the
// three reach the asset.
func TestOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := started(t, newMemory())
		ctx := context.Background()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until the registry has heard of its own change
		}
		zone := func(rules string) {
			t.Helper()
			z, err := ParseZone([]byte(`{"type":"Feature","properties":{"id":"kalsa","rules":` + rules + `},"geometry":{"type":"Polygon","coordinates":[[[13,38],[14,38],[14,39],[13,38]]]}}`))
			must(err)
			must(r.PutZone(ctx, z))
		}
		want := func(id, rule, name, want string) {
			t.Helper()
			o, ok := r.Lookup(id).Overrides[rule][name]
			got := "none"
			if ok {
				got = fmt.Sprintf("%v of %s", o.Value, o.From)
			}
			if got != want {
				t.Errorf("%s of %s for %s: %s, want %s", name, rule, id, got, want)
			}
		}
		must(r.PutDevice(ctx, Device{ID: "a", Domain: "lighting", Profile: "lamp", Zone: "kalsa"}))
		must(r.PutDevice(ctx, Device{ID: "b", Domain: "lighting", Profile: "lamp", Rules: map[string]RuleOverride{"hot": {"limit": 80.0, "strict": true}}}))
		want("a", "hot", "limit", "none")
		before := r.OverridesVersion()
		must(r.PutProfile(ctx, Profile{ID: "lamp", Rules: map[string]RuleOverride{"hot": {"limit": 60.0, "other": "x"}, "dark": {Enabled: false}}}))
		if r.OverridesVersion() == before {
			t.Error("the version stayed, want it to grow with a profile's overrides")
		}
		want("a", "hot", "limit", "60 of profile")
		want("a", "dark", Enabled, "false of profile")
		want("b", "hot", "limit", "80 of device")
		want("b", "hot", "strict", "1 of device")
		want("b", "hot", "other", "x of profile")
		zone(`{"hot":{"limit":70}}`)
		want("a", "hot", "limit", "70 of zone")
		want("a", "hot", "other", "x of profile")
		want("b", "hot", "limit", "80 of device")
		var told []string
		r.EachOverride(func(kind, id string, _ map[string]RuleOverride) bool { told = append(told, kind+" "+id); return true })
		if !slices.Equal(told, []string{"profile lamp", "zone kalsa", "device b"}) {
			t.Errorf("EachOverride told of %v", told)
		}
		zone(`{}`)
		want("a", "hot", "limit", "60 of profile")
		must(r.PutDevice(ctx, Device{ID: "b", Domain: "lighting", Profile: "lamp"}))
		want("b", "hot", "limit", "60 of profile")
		must(r.DeleteProfile(ctx, "lamp"))
		want("a", "hot", "limit", "none")
		before = r.OverridesVersion()
		must(r.PutDevice(ctx, Device{ID: "c", Domain: "lighting"}))
		if r.OverridesVersion() != before {
			t.Error("the version grew with a device that overrides nothing")
		}
	})
}

func TestOverridesAreChecked(t *testing.T) {
	for _, tc := range []struct{ rules, want string }{
		{`{"hot":{"limit":60,"on":"x","b":true,"enabled":false}}`, ""},
		{`{"hot":{"enabled":"no"}}`, "rules.hot.enabled: no, want true or false"},
		{`{"hot":{"limit":[1]}}`, "rules.hot.limit: found a list, an object or null, want a number"},
		{`{"hot":{}}`, "rules.hot: 0 values, want 1 to 17"},
		{`{"":{"a":1}}`, "a rule's id of 0 bytes"},
		{`{"hot":{"limit":null}}`, "rules.hot.limit: found a list, an object or null, want a number"},
	} {
		_, err := ReadJSON([]byte(`{"devices":[{"id":"a","domain":"lighting","rules":` + tc.rules + `}]}`))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("rules %s: %v, want %q", tc.rules, err, tc.want)
		}
	}
	file := "id,domain,rules\na,lighting,\"{\"\"hot\"\":{\"\"limit\"\":60}}\"\n"
	ds, err := ReadCSV(strings.NewReader(file))
	if err != nil || ds[0].Rules["hot"]["limit"] != 60.0 {
		t.Fatalf("ReadCSV: %v, %v; want limit 60", ds, err)
	}
	var out bytes.Buffer
	if err := WriteCSV(&out, ds); err != nil || !strings.Contains(out.String(), `"{""hot"":{""limit"":60}}"`) {
		t.Errorf("WriteCSV: %v, %s", err, out.String())
	}
	if _, err := ReadCSV(strings.NewReader("id,domain,rules\na,lighting,{\n")); err == nil || !strings.Contains(err.Error(), `line 2, column 12: column "rules"`) {
		t.Errorf("ReadCSV of a broken cell: %v", err)
	}
}
