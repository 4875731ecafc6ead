package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files writes files into a folder and returns it.
func files(t *testing.T, all map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRulesCheck(t *testing.T) {
	dir := files(t, map[string]string{
		"good.yaml": "rules:\n  - {id: dark, when: power_w < 1}\n",
		"sea.yaml":  "rules:\n  - {id: bathing, when: 'people > 5 && is_holiday(\"sea\")'}\n", // the calendar is in a later file
		"zea.yaml":  "calendars:\n  - {id: sea, holidays: [2026-08-01..2026-08-15]}\n",
		"near.yaml": "rules:\n  - {id: n, when: sun_elevaton > 6}\n",
		"bad.yaml":  "rules:\n  - id: a\n    when: power_w > 1 && powr_w.contains(2)\n    sevrity: major\n",
	})
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"rules check " + dir + "/good.yaml", 0, []string{"1 rules in 1 files, 0 errors, 0 warnings"}},
		{"rules check " + dir + "/bad.yaml", 1, []string{"bad.yaml:3:", `bad.yaml:4:5: rule a: unknown key "sevrity"; did you mean "severity"?`, "2 errors"}},
		{"rules check " + dir, 1, []string{"3 rules in 5 files, 2 errors"}},
		{"rules check " + dir + "/sea.yaml " + dir + "/zea.yaml", 0, []string{"1 rules in 2 files, 0 errors, 0 warnings"}},
		{"rules check " + dir + "/sea.yaml", 1, []string{`found no calendar "sea"`}},
		{"rules check " + dir + "/near.yaml", 0, []string{`warning: `, `did you mean "sun_elevation"?`, "0 errors, 1 warnings"}},
		{"rules check " + dir + "/none.yaml", 1, []string{"none.yaml"}},
		{"rules check " + dir + "/good.yaml --url http://127.0.0.1:1", 1, []string{"connection refused"}}, // a flag behind a word is one
		{"rules check", 2, nil},
		{"rules", 2, nil},
		{"rules --help", 0, []string{"rules check FILE", "rules backtest --from TIME FILE"}},
	} {
		var out bytes.Buffer
		if code := dispatch(t.Context(), strings.Fields(c.args), &out, &out); code != c.code {
			t.Errorf("%s: code %d, want %d\n%s", c.args, code, c.code, &out)
		}
		for _, w := range c.want {
			if !strings.Contains(out.String(), w) {
				t.Errorf("%s: want %q in\n%s", c.args, w, &out)
			}
		}
	}
}

func TestRulesTest(t *testing.T) {
	dir := files(t, map[string]string{
		"lamp.yaml": "rules:\n  - {id: dark, when: power_w < 1, for: 5m}\n",
		"lamp.rules": `rules lamp.yaml
load lighting/l1 0s power_w=0
load lighting/l1 5m power_w=0
expect
`,
	})
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		return dispatch(t.Context(), append([]string{"rules", "test"}, args...), &out, &out), out.String()
	}
	code, out := run(dir)
	if code != 1 || !strings.Contains(out, "+   raised  dark l1 at 5m0s: dark") || !strings.Contains(out, "0 passed, 1 failed") {
		t.Fatalf("code %d\n%s", code, out)
	}
	if code, out = run(dir, "--update"); code != 0 || !strings.Contains(out, "1 passed, 0 failed") {
		t.Fatalf("update: code %d\n%s", code, out)
	}
	if code, out = run(dir); code != 0 || !strings.HasSuffix(out, "1 passed, 0 failed\n") {
		t.Fatalf("again: code %d\n%s", code, out)
	}
}
