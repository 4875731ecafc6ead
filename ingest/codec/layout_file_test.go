package codec

import (
	"path/filepath"
	"strings"
	"testing"
)

// gaugeLayout is the README's, with examples that are wrong.
const gaugeLayout = `
profile: acme-gauge
domain: water
layout:
  - {name: level_mm, offset: 1, type: int16, unit: mm, when: {byte: 0, mask: 0x0f, value: 1}}
  - {name: battery_v, offset: 3, type: uint16, endian: little, divisor: 1000, unit: V}
  - {name: alarm, offset: 0, bits: "7", type: bool}
examples:
  - {description: high water, input: {fPort: 2, bytes: [0x81, 0x09, 0xc4, 0x10, 0x0e]},
     output: {data: {level_mm: 2500, battery_v: 3.6, alarm: true}}}
  - {description: cut short, input: {bytes: [1, 2]}, output: {errors: [too short]}}
  - {description: wrong, input: {bytes: [1, 0, 1, 0, 0]}, output: {data: {level_mm: 2, battery_v: 0, alarm: false}}}
  - {description: no bytes, input: {bytes: 5}, output: {data: {}}}
  - {description: no error, input: {bytes: [1, 0, 1, 0, 0]}, output: {errors: [x]}}
`

func TestLayoutFile(t *testing.T) {
	dir := write(t, "gauge.yaml", gaugeLayout, "My Lamp.yml", "layout: [{name: on, offset: 0, type: bool}]\n", "bad.yaml", "layout: [{name: on}]\n", "none.yaml", "profile: x\n")
	var out strings.Builder
	passed, failed, err := Test(&out, filepath.Join(dir, "gauge.yaml"))
	if err != nil || passed != 2 || failed != 3 {
		t.Errorf("%d passed, %d failed, %v\n%s", passed, failed, err, &out)
	}
	for _, want := range []string{"pass layout 1: high water\n", "data.level_mm: 1, want 2\n", "input.bytes: 5, want a list", "errors: none, want", "2 passed, 3 failed\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	p, err := ImportLayout(filepath.Join(dir, "gauge.yaml"))
	if err != nil || p.ID != "acme-gauge" || p.Domain != "water" {
		t.Errorf("%+v, %v", p, err)
	}
	if c, err := Compile(p.Codec); err != nil || c.Kind() != "layout" {
		t.Errorf("its codec: %v, %v", c, err)
	}
	if p, err := ImportLayout(filepath.Join(dir, "My Lamp.yml")); err != nil || p.ID != "my-lamp" {
		t.Errorf("%+v, %v, want a profile of the file's name", p, err)
	}
	for file, want := range map[string]string{"bad.yaml": `field 1 ("on")`, "none.yaml": "no layout", "away.yaml": "away.yaml"} {
		if _, err := ImportLayout(filepath.Join(dir, file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", file, err, want)
		}
	}
}
