package logins

import (
	"fmt"
	"testing"
	"time"
)

func TestGuessesAreSlowed(t *testing.T) {
	l, now := new(Throttle), time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)
	wrong, right := func() bool { return false }, func() bool { return true }
	thief, other := Of("10.0.0.1:4711", "cam-1"), Of("10.0.0.2:4711", "cam-1")
	for i := range defaultFree + 1 {
		if ok, wait := l.Check(thief, now, wrong); ok || wait != 0 {
			t.Fatalf("guess %d: %v, %v; want it looked at", i+1, ok, wait)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		asked := false
		if ok, wait := l.Check(thief, now, func() bool { asked = true; return true }); ok || asked || wait != want*time.Second {
			t.Fatalf("%v, asked %v, wait %v; want %ds without a look, though it is right", ok, asked, wait, want)
		}
		for _, who := range []Login{other, Of("10.0.0.1:4711", "cam-2")} {
			if ok, _ := l.Check(who, now, right); !ok {
				t.Fatalf("%v pays for another", who)
			}
		}
		now = now.Add(want * time.Second)
		if ok, wait := l.Check(thief, now, wrong); ok || wait != 0 {
			t.Fatalf("%v, %v; want the guess looked at after %ds", ok, wait, want)
		}
	}
	if ok, _ := l.Check(thief, now.Add(longestWait), right); !ok || len(l.failing) != 0 {
		t.Errorf("%v, %d remembered; want the right secret taken after its wait, and all forgiven", ok, len(l.failing))
	}
	for i := range 3 * maxFailing {
		l.Check(Of(fmt.Sprintf("[2001:db8:%x::1]:1", i), "cam-1"), now, wrong)
	}
	if n := len(l.failing); n != maxFailing {
		t.Errorf("%d remembered, want %d at most", n, maxFailing)
	}
	l.Check(thief, now.Add(2*forgetFailure), wrong)
	if n := len(l.failing); n != 1 {
		t.Errorf("%d remembered, want those of long ago forgotten", n)
	}
	if a, b := Of("[2001:db8::1]:1", "c"), Of("[2001:db8::2%eth0]:2", "c"); a != b {
		t.Errorf("%v and %v, want one network", a, b)
	}
	if a, b := Of("[::ffff:10.0.0.1]:1", "cam-1"), thief; a != b {
		t.Errorf("%v and %v, want one address", a, b)
	}
}
