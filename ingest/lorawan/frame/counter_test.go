package frame

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
)

func TestCounter(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	keys := randomKeys(r, false)
	session := NewSession(keys)
	// A frame is a counter and a content; steps go through one State in turn.
	type step struct {
		fcnt    uint32
		content byte
		want    Outcome
		reject  Reason
	}
	for _, tc := range []struct {
		name   string
		policy Policy
		steps  []step
	}{
		{"in order", Refuse, []step{{0, 1, Fresh, ""}, {1, 1, Fresh, ""}, {2, 1, Fresh, ""}, {100, 1, Fresh, ""}}},
		{"first heard late in life", Refuse, []step{{3<<16 | 7, 1, Fresh, ""}, {3<<16 | 8, 1, Fresh, ""}}},
		{"over the edge of 16 bits", Refuse, []step{{65534, 1, Fresh, ""}, {65537, 1, Fresh, ""}, {65535, 1, Late, ""}, {65536, 1, Late, ""}, {65536, 1, Repeat, ""}}},
		{"too far from home", Refuse, []step{{upperHalves << 16, 1, 0, ReasonMIC}}},
		{"repeated", Refuse, []step{{5, 1, Fresh, ""}, {5, 1, Repeat, ""}, {6, 1, Fresh, ""}, {5, 1, Repeat, ""}}},
		{"replayed from long ago", Refuse, []step{{5, 1, Fresh, ""}, {50, 1, Fresh, ""}, {5, 1, 0, ReasonCounter}, {51, 1, Fresh, ""}}},
		{"overtaken", Refuse, []step{{5, 1, Fresh, ""}, {8, 1, Fresh, ""}, {6, 1, Late, ""}, {6, 1, Repeat, ""}, {7, 1, Late, ""}}},
		{"reset refused", Refuse, []step{{500, 1, Fresh, ""}, {0, 2, 0, ReasonCounter}, {501, 1, Fresh, ""}}},
		{"reset flagged", Flag, []step{{500, 1, Fresh, ""}, {0, 2, Reset, ""}, {1, 2, Fresh, ""}}},
		{"reset accepted", Accept, []step{{500, 1, Fresh, ""}, {0, 2, Fresh, ""}, {1, 2, Fresh, ""}, {1, 2, Repeat, ""}}},
		{"reset within the window", Flag, []step{{0, 1, Fresh, ""}, {1, 1, Fresh, ""}, {0, 2, Reset, ""}, {1, 2, Fresh, ""}}},
		{"reset from beyond 16 bits", Flag, []step{{2<<16 | 500, 1, Fresh, ""}, {3, 2, Reset, ""}, {4, 2, Fresh, ""}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var o Opener
			var st State
			for i, s := range tc.steps {
				var f Frame
				if err := Parse(sent{keys: keys, fcnt: s.fcnt, port: 1, payload: []byte{s.content}}.reference(t), &f); err != nil {
					t.Fatal(err)
				}
				before := st
				got, err := o.Open(&f, session, &st, UnknownLink, tc.policy)
				if reasonOf(err) != s.reject {
					t.Fatalf("step %d: %v, want %q", i+1, err, s.reject)
				}
				if err != nil {
					if st != before {
						t.Fatalf("step %d: a refused frame changed the state", i+1)
					}
					continue
				}
				if got.Outcome != s.want || got.FCnt != s.fcnt || got.Payload[0] != s.content {
					t.Fatalf("step %d: %s, counter %d; want %s, %d", i+1, got.Outcome, got.FCnt, s.want, s.fcnt)
				}
			}
		})
	}
}

func TestTableTriesAllThatShareAnAddress(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	table := NewTable(0)
	var all []Keys
	for i := range 10 {
		k := randomKeys(r, i%2 == 0)
		k.DevAddr = 0x26011234
		all = append(all, k)
		if err := table.Put(fmt.Sprint("device-", i), k, Refuse, State{}); err != nil {
			t.Fatal(err)
		}
	}
	var o Opener
	open := func(k Keys, fcnt uint32) (string, error) {
		var f Frame
		if err := Parse(sent{keys: k, fcnt: fcnt, port: 1, payload: []byte{1, 2}}.reference(t), &f); err != nil {
			t.Fatal(err)
		}
		e, _, err := table.Open(&o, &f, Link{DataRate: 0, Channel: 0, ConfFCnt: Unknown})
		if err != nil {
			return "", err
		}
		return e.Device, nil
	}
	for i, k := range all {
		if got, err := open(k, 100); err != nil || got != fmt.Sprint("device-", i) {
			t.Errorf("device %d: %q, %v", i, got, err)
		}
	}
	if _, err := open(randomKeys(r, false), 1); reasonOf(err) != ReasonDevAddr {
		t.Errorf("a stranger: %v, want %s", err, ReasonDevAddr)
	}
	stranger := randomKeys(r, false)
	stranger.DevAddr = all[0].DevAddr
	if _, err := open(stranger, 1); reasonOf(err) != ReasonMIC {
		t.Errorf("a stranger with a known address: %v, want %s", err, ReasonMIC)
	}

	// The same keys again keep the state, new keys begin anew, and what is removed is gone.
	if err := table.Put("device-0", all[0], Refuse, State{}); err != nil {
		t.Fatal(err)
	}
	if _, err := open(all[0], 3); reasonOf(err) != ReasonCounter {
		t.Errorf("after the same keys again: %v, want %s", err, ReasonCounter)
	}
	if err := table.Put("device-0", all[0], Flag, State{}); err != nil {
		t.Fatal(err)
	}
	if got, err := open(all[0], 3); err != nil || got != "device-0" {
		t.Errorf("after another policy: %q, %v", got, err)
	}
	fresh := randomKeys(r, false)
	if err := table.Put("device-0", fresh, Refuse, State{}); err != nil {
		t.Fatal(err)
	}
	if _, err := open(all[0], 101); reasonOf(err) != ReasonMIC {
		t.Errorf("old keys: %v, want %s", err, ReasonMIC)
	}
	if got, err := open(fresh, 1); err != nil || got != "device-0" {
		t.Errorf("new keys at a new address: %q, %v", got, err)
	}
	table.Remove("device-0")
	if _, err := open(fresh, 2); reasonOf(err) != ReasonDevAddr || table.Len() != 9 {
		t.Errorf("removed: %v, %d sessions; want %s, 9", err, table.Len(), ReasonDevAddr)
	}
	states := map[string]uint32{}
	for device, st := range table.States {
		states[device] = st.Last
	}
	if len(states) != 9 || states["device-3"] != 100 {
		t.Errorf("states %v, want 9, each 100", states)
	}
}

func TestTableIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	table := NewTable(MaxShared + 1)
	k := randomKeys(r, false)
	for i := range MaxShared {
		if err := table.Put(fmt.Sprint(i), k, Refuse, State{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Put("one too many", k, Refuse, State{}); reasonOf(err) != ReasonTooMany {
		t.Errorf("one more on the address: %v, want %s", err, ReasonTooMany)
	}
	k.DevAddr++
	if err := table.Put("last", k, Refuse, State{}); err != nil {
		t.Fatal(err)
	}
	k.DevAddr++
	if err := table.Put("beyond", k, Refuse, State{}); reasonOf(err) != ReasonTooMany {
		t.Errorf("beyond the bound: %v, want %s", err, ReasonTooMany)
	}
}

func TestTableFromManyGoroutines(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	table := NewTable(0)
	keys := randomKeys(r, false)
	if err := table.Put("d", keys, Refuse, State{}); err != nil {
		t.Fatal(err)
	}
	const frames = 200
	var phys [frames][]byte
	for i := range phys {
		phys[i] = sent{keys: keys, fcnt: uint32(i), port: 1, payload: []byte{1}}.reference(t)
	}
	var mu sync.Mutex
	fresh := map[uint32]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var o Opener
			for i, phy := range phys {
				var f Frame
				if err := Parse(phy, &f); err != nil {
					t.Error(err)
				}
				if _, got, err := table.Open(&o, &f, UnknownLink); err == nil && got.Outcome != Repeat {
					mu.Lock()
					fresh[got.FCnt]++
					mu.Unlock()
				}
				if i%50 == 0 {
					if err := table.Put("other", keys, Refuse, State{}); err != nil {
						t.Error(err)
					}
					table.Remove("other")
				}
			}
		})
	}
	wg.Wait()
	for fcnt, n := range fresh {
		if n > 2 { // once by "d", and once by "other" while it was there
			t.Errorf("counter %d was news %d times", fcnt, n)
		}
	}
	if len(fresh) == 0 {
		t.Error("no frame was news")
	}
}
