package privacy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"panormus/stream/log/logtest"
)

type fixed []Policy

func (f fixed) Policy(id string) (Policy, bool) {
	for _, p := range f {
		if p.ID == id {
			return p, true
		}
	}
	return Policy{}, false
}

func (fixed) Version() uint64 { return 0 }

func TestLists(t *testing.T) {
	dir := t.TempDir()
	l := logtest.Open(t, dir, nil)
	safe, err := l.Secrets(t.Context(), "lists")
	if err != nil {
		t.Fatal(err)
	}
	keys := NewKeyring(testMaster(t, 1), secrets(t, l), threeDays, quiet)
	open := func() *Lists {
		s := NewLists(testMaster(t, 1), safe, keys, fixed(Shipped()), quiet)
		ctx, cancel := context.WithCancel(context.Background())
		ready, done := make(chan struct{}), make(chan struct{})
		go func() { defer close(done); s.Run(ctx, func() { close(ready) }) }()
		t.Cleanup(func() { cancel(); <-done })
		<-ready
		return s
	}
	a := open()
	put := func(id string, plates ...string) {
		t.Helper()
		list := List{ID: id, Title: "Title", Purposes: []string{"traffic", "plate_recognition"}}
		normal, err := a.Check(&list, plates)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Put(t.Context(), list, normal); err != nil {
			t.Fatal(err)
		}
	}
	put("stolen", "ab 123 cd", "AB123CD", "xx-000-xx")
	put("wanted", "AB123CD")
	if onDisk(t, dir, []byte("AB123CD")) {
		t.Error("a plate is on the disk in clear")
	}
	old, _, err := safe.Entry(t.Context(), "stolen")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	hash := func(purpose string, at time.Time, plate string) string {
		t.Helper()
		key, err := keys.Plate(purpose, at)
		if err != nil {
			t.Fatal(err)
		}
		return Hash(key, plate)
	}
	match := func(s *Lists, purpose string, at time.Time, hash, want string) {
		t.Helper()
		got, err := s.Match(purpose, at, hash)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("match of %s: %v, %v; want %q", purpose, got, err, want)
		}
	}
	today := hash("traffic", now, "AB123CD")
	match(a, "traffic", now, today, "stolen wanted")
	match(a, "traffic", now, hash("traffic", now, "XX000XX"), "stolen")
	match(a, "traffic", now, hash("traffic", now, "YY111YY"), "")
	match(a, "plate_recognition", now, today, "")
	match(a, "traffic", now.AddDate(0, 0, -1), today, "")
	match(a, "traffic", now.AddDate(0, 0, -1), hash("traffic", now.AddDate(0, 0, -1), "AB123CD"), "stolen wanted")
	match(a, "other", now, hash("other", now, "AB123CD"), "")
	match(a, "traffic", now.AddDate(0, 0, -10), today, "")
	b := open()
	match(b, "traffic", now, today, "stolen wanted")
	if all := b.All(); len(all) != 2 || all[0].ID != "stolen" || all[0].Count != 2 || all[0].Updated.IsZero() {
		t.Errorf("%+v, want both and two plates of the first", all)
	}
	put("stolen", "XX000XX")
	match(a, "traffic", now, today, "wanted")
	if onDisk(t, dir, old[len(old)-40:]) {
		t.Error("what the list held before is still on the disk")
	}
	for {
		if got, _ := b.Match("traffic", now, today); len(got) == 1 {
			break
		}
		time.Sleep(time.Millisecond) // until the other process has learned of it
	}
	if err := a.Delete(t.Context(), "wanted"); err != nil {
		t.Fatal(err)
	}
	match(a, "traffic", now, today, "")
	if err := a.Delete(t.Context(), "wanted"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
	if all := open().All(); len(all) != 1 {
		t.Errorf("%+v, want one list left", all)
	}
}

func TestListCheckRepeatsNoPlate(t *testing.T) {
	l := NewLists(testMaster(t, 1), newVault(), nil, fixed(Shipped()), quiet)
	good := List{ID: "stolen", Title: "Stolen", Purposes: []string{"traffic"}}
	long := strings.Repeat("AB123CD", 3)
	for _, tc := range []struct {
		name   string
		edit   func(*List)
		plates []string
		fault  string
	}{
		{"good", func(*List) {}, []string{"AB123CD"}, ""},
		{"no id", func(l *List) { l.ID = "" }, []string{"AB123CD"}, "id: "},
		{"no title", func(l *List) { l.Title = "" }, []string{"AB123CD"}, "title: "},
		{"no purpose", func(l *List) { l.Purposes = nil }, []string{"AB123CD"}, "purposes: "},
		{"a purpose without plates", func(l *List) { l.Purposes = []string{"traffic", "crowd_safety"} }, []string{"AB123CD"}, `purposes[1]: "crowd_safety" keeps no plates`},
		{"no plates", func(*List) {}, nil, "plates: 0, want 1 to 20000"},
		{"too many", func(*List) {}, make([]string, MaxListed+1), "plates: 20001"},
		{"a long one", func(*List) {}, []string{"AB123CD", long}, "plates[1]: 21 letters and digits, want 2 to 16"},
		{"an empty one", func(*List) {}, []string{" - "}, "plates[0]: 0 letters"},
	} {
		list := good
		tc.edit(&list)
		_, err := l.Check(&list, tc.plates)
		if (err == nil) != (tc.fault == "") || err != nil && (!strings.HasPrefix(err.Error(), tc.fault) || strings.Contains(err.Error(), "AB123CD")) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.fault)
		}
	}
}

func TestEnough(t *testing.T) {
	for _, tc := range []struct {
		count uint64
		k     int
		want  bool
	}{{0, 5, true}, {1, 5, false}, {4, 5, false}, {5, 5, true}, {1, 1, true}, {1, 0, true}} {
		if got := Enough(tc.count, tc.k); got != tc.want {
			t.Errorf("Enough(%d, %d) = %v", tc.count, tc.k, got)
		}
	}
}
