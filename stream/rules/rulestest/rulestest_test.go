package rulestest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A script at fault is refused with its line, whatever is in it.
func TestBadScripts(t *testing.T) {
	for text, want := range map[string]string{
		"lod a/b 0s x=1":                               `:1: found "lod", want one of`,
		"\nload ab 0s x=1":                             `:2: load: found "ab", want DOMAIN/DEVICE`,
		"load a/b soon x=1":                            `found "soon", want a time`,
		"load a/b 0s x":                                `found "x", want METRIC=VALUE`,
		"load a/b 0s x=1 quality=nice":                 `quality=nice`,
		"load a/b 0s x=\"1":                            `not closed`,
		"device d a zone=z lat=north":                  `lat: found "north", want degrees`,
		"device d a colour=red":                        `device: found "colour"`,
		"advance 1h 2h":                                `advance with 2 words`,
		"restart\n  now":                               `indented lines`,
		"row detectons c 0s":                           `did you mean "detections"?`,
		"row detections c 0s scor=1":                   `did you mean "score"?`,
		"row detections c 0s score=high":               `score: found "high", want a number`,
		"rules none.yaml":                              `none.yaml`,
		"# one\nrules\n  rules: [{id: a, when: 1 + }]": `bad.rules:3:`,
		"rules\n  rules: [{id: a, when: x > 1}]\nload d/a 0s x=2": `after the last expect there are events`,
	} {
		_, _, err := Run("bad.rules", text)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestRows(t *testing.T) {
	got, failures, err := Run("rows.rules", `rules
  rules: [{id: intruder, on: detections, when: class == "person" && score > 0.5, hold: 1m}]
row detections cam-1 0s class=person score=0.9
row detections cam-1 1s class=person score=0.2
advance 10m
expect
  raised  intruder cam-1 at 0s: intruder
`)
	if err != nil {
		t.Fatal(err)
	}
	if len(failures) == 0 || !strings.Contains(got, "  cleared intruder cam-1 at 1m0s: intruder (no more of it)\n  raised  intruder cam-1 at 0s: intruder") {
		t.Errorf("%v\n%s", failures, got)
	}
	if _, failures, err := Run("rows.rules", got); err != nil || len(failures) > 0 {
		t.Errorf("%v %v, want what it gave to pass", failures, err)
	}
}

// Every way to run is looked at, and one that differs fails the test.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.rules", "rules\n  rules: [{id: a, when: x > 1}]\nload d/a 0s x=2\nexpect\n  raised  a a at 0s: a\n")
	write("b.rules", "rules\n  rules: [{id: a, when: x > 1}]\nload d/a 0s x=1\nexpect\n  raised  a a at 0s: a\n")
	write("c.rules", "nonsense\n")
	var out bytes.Buffer
	failed, err := Files(&out, []string{dir}, false)
	if err != nil || failed != 2 {
		t.Errorf("%d failed, %v; want 2", failed, err)
	}
	if s := out.String(); !strings.HasSuffix(s, "1 passed, 2 failed\n") || !strings.Contains(s, "-   raised  a a at 0s: a") {
		t.Errorf("%s", s)
	}
	if _, err := Files(&out, []string{t.TempDir()}, false); err == nil {
		t.Error("a folder without scripts was taken, want an error")
	}
}
