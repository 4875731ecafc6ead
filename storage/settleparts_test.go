package storage

import (
	"slices"
	"strings"
	"testing"
)

func TestDayParts(t *testing.T) {
	read := func(names string) (out dayParts) {
		t.Helper()
		for name := range strings.FieldsSeq(names) {
			p, err := parsePart(name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
		return out
	}
	for _, tc := range []struct {
		name, before, now, late string
		no                      bool
	}{
		{name: "nothing came", before: "d_1_4_1 d_5_5_0", now: "d_1_4_1 d_5_5_0"},
		{name: "what was there is merged", before: "d_1_4_1 d_5_5_0", now: "d_1_5_2"},
		{name: "two came, one merged of more", before: "d_1_4_1 d_5_5_0", now: "d_1_4_1 d_5_5_0 d_9_12_1 d_7_7_0", late: "d_7_7_0 d_9_12_1"},
		{name: "old and new merged", before: "d_1_4_1 d_5_5_0", now: "d_1_4_1 d_5_7_1 d_9_9_0", no: true},
		{name: "rows were changed", before: "d_1_4_1", now: "d_1_4_1_6", no: true},
		{name: "rows had been changed before", before: "d_1_4_1_6", now: "d_1_4_1_6 d_8_8_0", late: "d_8_8_0"},
	} {
		late, ok := read(tc.now).since(read(tc.before))
		if ok == tc.no || !slices.Equal(late, strings.Fields(tc.late)) && ok {
			t.Errorf("%s: %q, %v; want %q, %v", tc.name, late, ok, tc.late, !tc.no)
		}
	}
	for _, bad := range []string{"", "d_1_2", "d_1_2_x_4_5", "d_1_b_0"} {
		if p, err := parsePart(bad); err == nil {
			t.Errorf("part %q is %+v", bad, p)
		}
	}
}
