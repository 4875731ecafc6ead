package privacy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"panormus/stream/audit"
)

// acts is an audit log in memory.
type acts struct {
	mu   sync.Mutex
	all  []audit.Entry
	away error
}

func (a *acts) Append(_ context.Context, e audit.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away == nil {
		a.all = append(a.all, e)
	}
	return a.away
}

func (a *acts) actions() (out []string) {
	for _, e := range a.all {
		out = append(out, e.Actor+" "+e.Action)
	}
	return out
}

// table is a table of sealed plates.
type table []SealedPlate

func (t table) SealedPlate(_ context.Context, q PlateQuery) (SealedPlate, bool, error) {
	for _, p := range t {
		if (q.Hash == "" || q.Hash == p.Hash) && (q.Camera == "" || q.Camera == p.Camera && q.Time.Equal(p.Time)) {
			return p, true, nil
		}
	}
	return SealedPlate{}, false, nil
}

type office struct {
	*Reveals
	journal *acts
	hash    string
}

// newOffice has one sealed plate, read now by cam-1.
func newOffice(t *testing.T) *office {
	t.Helper()
	keys := NewKeyring(testMaster(t, 1), newVault(), threeDays, quiet)
	policy := DefaultPolicy("plates")
	policy.Plates = PlatesSealed
	now := time.Now().UTC().Truncate(time.Millisecond)
	hash, sealed, err := (&Grant{policy: policy, keys: keys}).Plate(now.UnixMilli(), "AB 123 CD")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{journal: &acts{}, hash: hash}
	o.Reveals = &Reveals{Safe: newVault(), Keys: keys, Journal: o.journal, Log: quiet, Plates: table{{Time: now, Camera: "cam-1", Purpose: "plates", Hash: hash, Sealed: []byte(sealed)}}}
	return o
}

func TestReveal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		look := func(id, by, want, state string) {
			t.Helper()
			v, plate, err := o.Look(t.Context(), id, by)
			if err != nil || plate != want || v.State != state {
				t.Errorf("%s looks: %q, %s, %v; want %q, %s", by, plate, v.State, err, want, state)
			}
		}
		if _, err := o.Request(t.Context(), "rosalia", "stolen car seen", "2026/17", PlateQuery{Hash: strings.Repeat("0", 64)}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a hash of nobody: %v, want ErrNotFound", err)
		}
		v, err := o.Request(t.Context(), "rosalia", "stolen car seen", "2026/17", PlateQuery{Hash: o.hash})
		if err != nil || v.State != RevealPending || v.Camera != "cam-1" || v.PlateHash != o.hash {
			t.Fatalf("%+v, %v", v, err)
		}
		look(v.ID, "rosalia", "", RevealPending)
		if _, err := o.Approve(t.Context(), v.ID, "rosalia"); !errors.Is(err, ErrForbidden) {
			t.Errorf("approved by who asked: %v, want ErrForbidden", err)
		}
		if got, err := o.Approve(t.Context(), v.ID, "agata"); err != nil || got.Decider != "agata" {
			t.Fatalf("%+v, %v", got, err)
		}
		if _, err := o.Approve(t.Context(), v.ID, "ninfa"); !errors.Is(err, ErrConflict) {
			t.Errorf("approved twice: %v, want ErrConflict", err)
		}
		look(v.ID, "agata", "", RevealApproved)
		look(v.ID, "rosalia", "AB123CD", RevealApproved)
		time.Sleep(14 * time.Minute)
		look(v.ID, "rosalia", "AB123CD", RevealApproved)
		o.journal.away = errors.New("the audit log is away")
		if v, plate, err := o.Look(t.Context(), v.ID, "rosalia"); err == nil || plate != "" {
			t.Errorf("without an audit log: %+v, %q; want nothing shown", v, plate)
		}
		o.journal.away = nil
		time.Sleep(2 * time.Minute)
		look(v.ID, "rosalia", "", RevealExpired)
		want := []string{"rosalia reveal.requested", "rosalia reveal.denied", "agata reveal.approved", "rosalia reveal.seen", "rosalia reveal.seen"}
		if got := o.journal.actions(); !slices.Equal(got, want) {
			t.Errorf("audit log\n%v, want\n%v", got, want)
		}
		for _, e := range o.journal.all {
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, "AB123CD") || strings.Contains(text, o.hash) || e.Case != "2026/17" || e.Reason == "" || e.Detail["plate_hash"] != o.hash[:12] {
				t.Errorf("entry %s; want reason, case and no more than the beginning of the hash", text)
			}
		}
	})
}

func TestRevealIsRefusedOrForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		ask := func() Reveal {
			v, err := o.Request(t.Context(), "rosalia", "stolen car seen", "1", PlateQuery{Camera: "cam-1", Time: o.Plates.(table)[0].Time})
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		v := ask()
		if got, err := o.Refuse(t.Context(), v.ID, "agata"); err != nil || got.State != RevealRefused {
			t.Errorf("%+v, %v", got, err)
		}
		if got, plate, err := o.Look(t.Context(), v.ID, "rosalia"); err != nil || plate != "" || got.State != RevealRefused {
			t.Errorf("%+v, %q, %v", got, plate, err)
		}
		late := ask()
		time.Sleep(24 * time.Hour)
		if _, err := o.Approve(t.Context(), late.ID, "agata"); !errors.Is(err, ErrConflict) {
			t.Errorf("approved a day later: %v, want ErrConflict", err)
		}
		seen := ask()
		if _, err := o.Approve(t.Context(), seen.ID, "agata"); err != nil {
			t.Fatal(err)
		}
		o.Plates = table{} // its time is over
		if _, plate, err := o.Look(t.Context(), seen.ID, "rosalia"); !errors.Is(err, ErrConflict) || plate != "" {
			t.Errorf("%q, %v; want that it is gone", plate, err)
		}
		if _, _, err := o.Look(t.Context(), "nothing", "rosalia"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
		if all := o.All(); len(all) != 3 || all[0].ID != seen.ID {
			t.Errorf("%+v, want three, the newest first", all)
		}
		time.Sleep(40 * 24 * time.Hour)
		o.sweep(t.Context())
		o.learn(v.ID, nil)
		if b, _, _ := o.Safe.Entry(t.Context(), late.ID); len(b) != 0 {
			t.Errorf("%d bytes of an old reveal are left", len(b))
		}
	})
}

func TestRevealsOfOneAreBounded(t *testing.T) {
	o := newOffice(t)
	for i := range maxPending + 1 {
		_, err := o.Request(t.Context(), "rosalia", "stolen car seen", "1", PlateQuery{Hash: o.hash})
		if want := i == maxPending; errors.Is(err, ErrConflict) != want {
			t.Fatalf("request %d: %v", i+1, err)
		}
	}
}

// Of two who decide at once one is told that the other did.
func TestOneDecides(t *testing.T) {
	o := newOffice(t)
	v, err := o.Request(t.Context(), "rosalia", "stolen car seen", "1", PlateQuery{Hash: o.hash})
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = o.Approve(t.Context(), v.ID, fmt.Sprint("p", i)) })
	}
	wg.Wait()
	good := 0
	for _, err := range errs {
		if err == nil {
			good++
		} else if !errors.Is(err, ErrConflict) {
			t.Error(err)
		}
	}
	if good != 1 {
		t.Errorf("%d decided, want 1", good)
	}
}
