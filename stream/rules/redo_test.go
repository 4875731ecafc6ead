package rules

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"panormus/stream/batch"
)

// The past is bounded: beyond it a late reading corrects nothing and is counted, and what is newer is corrected.
func TestPastIsBounded(t *testing.T) {
	e := New(Config{Partitions: 1, MaxPast: 1}, mustParse(t, `{id: hot, when: x > 1}`))
	const start = int64(1_790_000_000_000)
	seq := uint64(0)
	say := func(device string, at int64, x float64) {
		seq++
		var o batch.Observations
		o.Append(o.Begin(start+at, start+at, "lab", device), "x", x, "", 0)
		e.Apply(0, seq, &o)
	}
	say("a", 100, 0)
	for i := range int64(2 * pastLeast) {
		say("b", 100+i, 0)
	}
	if p := &e.shards[0].past; (len(p.blocks)+len(p.spare))*pastBlock != pastLeast {
		t.Errorf("%d blocks of the past, and %d spare; want %d", len(p.blocks), len(p.spare), pastLeast/pastBlock)
	}
	late := func(at int64) (raised int, uncorrected uint64) {
		say("b", at, 2)
		for _, ev := range e.Settle() {
			if ev.State == "raised" && ev.Time.UnixMilli() == start+at {
				raised++
			}
		}
		return raised, e.Stats().Uncorrected
	}
	last := int64(100 + 2*pastLeast - 1)
	say("b", last+10, 0)
	if raised, n := late(last + 5); raised != 1 || n != 0 {
		t.Errorf("%d raised, %d uncorrected; want 1 and none", raised, n)
	}
	if raised, n := late(101); raised != 0 || n != 1 {
		t.Errorf("%d raised, %d uncorrected; want none and 1", raised, n)
	}
}

// Whatever a reading changed of a device, taking it back leaves the device as it was: values that were never
// reported, for long not, or not together with the others, and of whatever quality.
func TestTakeBack(t *testing.T) {
	e := New(Config{Partitions: 1}, mustParse(t, `rules: [{id: hot, when: x > 100}, {id: low, when: y < -100}]`))
	const hour = int64(3600_000)
	start, seq := int64(1_790_000_000_000), uint64(0)
	times := []int64{0, hour, hour + 1, hour + 1, hour + 5, 2*hour + 5, 2*hour + 6}
	type state struct {
		time int64
		nums string
	}
	var states []state
	d := func() *device { return e.shards[0].find("a", "lab") }
	for i, at := range times {
		seq++
		var o batch.Observations
		h := o.Begin(start+at, start+at+int64(i), "lab", "a")
		if i != 2 {
			o.Append(h, "x", float64(i), "", uint8(i%2)*4)
		}
		if i == 2 || i > 4 {
			o.Append(h, "y", float64(-i), "", uint8(i%2)*4)
		}
		e.Apply(0, seq, &o)
		states = append(states, state{d().time, fmt.Sprint(d().nums(), d().times())})
	}
	said := []int{2, 2, 1, 1, 1, 1, 0} // readings of the message i, from the last on
	for i := len(times) - 1; i > 0; i-- {
		if times[i] == times[i-1] {
			continue
		}
		undone := e.shards[0].takeBack(d(), start+times[i]-1)
		j := i - 1
		if got := (state{d().time, fmt.Sprint(d().nums(), d().times())}); got != states[j] {
			t.Errorf("back before message %d: %v, want %v", i, got, states[j])
		}
		n, q := 0, uint8(0)
		for _, u := range undone {
			if q = u.quality; u.slot >= 0 {
				n++
			}
		}
		if want := said[len(times)-1-i]; i > 3 && (n != want || q != uint8(i%2)*4) {
			t.Errorf("message %d: %d readings of quality %d undone, want %d of %d", i, n, q, want, i%2*4)
		}
	}
}

// A row of the past has 15 bits for a slot. A file that needs more is refused, and of several files together
// late readings are not judged again.
func TestPastSlots(t *testing.T) {
	for _, tc := range []struct {
		slots int
		want  bool
	}{{pastSlots, true}, {pastSlots + 1, false}} {
		pl := newPlan(mustParse(t, "{id: r, when: x > 1}"), onObservations, onObservations, "", false)
		pl.nums, pl.redoes = make([]string, tc.slots), false
		pl.layRedo()
		if pl.redoes != tc.want || pl.rules[0].redone != tc.want {
			t.Errorf("with %d slots late readings are judged again: %t, want %t", tc.slots, pl.redoes, tc.want)
		}
	}
	var file strings.Builder
	file.WriteString("rules:\n")
	for i := range maxFileMetric/50 + 1 {
		fmt.Fprintf(&file, "  - {id: r%d, when: '", i)
		for j := range 50 {
			fmt.Fprintf(&file, "m%d_%d +", i, j)
		}
		file.WriteString(" 0 > 1'}\n")
	}
	want := fmt.Sprintf("they read %d metrics, want at most %d a file", (maxFileMetric/50+1)*50, maxFileMetric)
	if _, err := Parse("many.yaml", []byte(file.String())); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a file of too many metrics: %v, want %q", err, want)
	}
}

// Of several files that each read few enough the rule is named with which they are too many together. What a text
// shows has two places, for it may be a number or a text.
func TestCrowded(t *testing.T) {
	t.Parallel()
	const shown = 250
	dir := t.TempDir()
	var files []File
	for i, n := range []int{32, 32, 3} {
		var file strings.Builder
		file.WriteString("rules:\n")
		for k := range n {
			fmt.Fprintf(&file, "  - {id: r%d-%d, when: x > 1, text: '", i, k)
			for j := range shown {
				fmt.Fprintf(&file, "{%c%d}", 'a'+rune(i), k*shown+j)
			}
			file.WriteString("'}\n")
		}
		f := File{filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(file.String())}
		files = append(files, f)
		if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(who string, wrong []Problem) {
		t.Helper()
		const place, want = "2.yaml:3:5: rule r2-1: ", "rules on all domains read 33501 values of a device, want at most 32767: what comes late is not judged again"
		if len(wrong) != 1 || !wrong[0].Warning || !strings.Contains(wrong[0].String(), place) || !strings.Contains(wrong[0].String(), want) {
			t.Errorf("%s: %v, want %q and %q", who, wrong, place, want)
		}
	}
	rules, wrong := CheckFiles(files, nil)
	check("the check of all", wrong)
	if wrong := crowded(NewSet(slices.DeleteFunc(slices.Clone(rules), func(r *Rule) bool { return r.ID == "r2-1" })...)); len(wrong) != 1 || wrong[0].Rule != "r2-2" {
		t.Errorf("without the first one too many: %v", wrong)
	}
	if wrong := crowded(NewSet(slices.DeleteFunc(slices.Clone(rules), func(r *Rule) bool { return r.File == files[2].Name })...)); len(wrong) > 0 {
		t.Errorf("two of the files: %v", wrong)
	}
	s := &Store{Dir: dir}
	s.mu.Lock()
	s.init()
	s.look(true)
	s.mu.Unlock()
	check("the running rules", s.Problems())
}
