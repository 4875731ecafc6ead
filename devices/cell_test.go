package devices

import (
	"bytes"
	"strings"
	"testing"
)

func TestCell(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "lamp": "lamp", "-5": "-5", "+39": "+39", "-1.5e3": "-1.5e3", "it's": "it's", "'a": "'a", "a=b": "a=b",
		"=1+1": "'=1+1", "@SUM(A1)": "'@SUM(A1)", "+cmd|' /C calc'!A0": "'+cmd|' /C calc'!A0", "-1+2": "'-1+2", "\t=1": "'\t=1", "\r=1": "'\r=1", "'=1": "''=1", "''@": "'''@",
	} {
		if got := Cell(text); got != want || uncell(got) != text {
			t.Errorf("%q is the cell %q, and read back %q; want %q", text, got, uncell(got), want)
		}
	}
	d := Device{ID: "-x", Domain: "lighting", Name: `=HYPERLINK("http://attacker.example")`, Tags: map[string]string{"note": "'=1", "n": "-5"}}
	var b bytes.Buffer
	if err := WriteCSV(&b, []Device{d}); err != nil || strings.Contains(b.String(), ",=") || strings.Contains(b.String(), `,"=`) || !strings.Contains(b.String(), ",-5,") {
		t.Errorf("%s, %v", &b, err)
	}
	if got, err := ReadCSV(&b); err != nil || len(got) != 1 || got[0].ID != d.ID || got[0].Name != d.Name || got[0].Tags["note"] != "'=1" {
		t.Errorf("%+v, %v; want %+v", got, err, d)
	}
}
