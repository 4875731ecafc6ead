package frame

// An Outcome says what a frame that was signed is, by its counter.
type Outcome uint8

const (
	// Fresh is a frame with a counter above all before.
	Fresh Outcome = iota
	// Late is a frame that was overtaken: a counter of the last Window that was missing.
	Late
	// Repeat is a frame that was there before, bit for bit: a device's repetition, the same from
	// another gateway, or a replay. It is no news.
	Repeat
	// Reset is a frame whose counter went back, or came again with another content: a device that
	// lost its counter. A frame replayed from before the last Window looks the same.
	Reset
)

var outcomeNames = [...]string{"fresh", "late", "repeat", "reset"}

func (o Outcome) String() string { return outcomeNames[o] }

// A Policy is what a profile does about frames whose counter went back.
type Policy uint8

const (
	// Refuse rejects them with ReasonCounter. It is the default, and the only one that withstands
	// replays.
	Refuse Policy = iota
	// Flag takes them in as Reset.
	Flag
	// Accept takes them in as Fresh, for devices that restart from 0 at every battery.
	Accept
)

// ParsePolicy reads "refuse", "flag" or "accept"; "" is refuse.
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "", "refuse":
		return Refuse, nil
	case "flag":
		return Flag, nil
	case "accept":
		return Accept, nil
	}
	return Refuse, Rejectf(ReasonType, "frame counter policy %q, want refuse, flag or accept", clip(s))
}

// Window is how many of the last counters are remembered one by one.
const Window = 16

// A State is what is remembered of a session's frames: 40 bytes, a value to be kept and copied.
// The zero State has seen nothing.
type State struct {
	Seen  uint16         // bit i: counter Last-i came
	Any   bool           // a frame came at all
	Last  uint32         // the greatest counter since the start or the last reset
	Marks [Window]uint16 // upper half of the MIC by counter modulo Window
}

// judge says what a signed frame is that has the counter fcnt and changes nothing.
func (st *State) judge(fcnt, mic uint32) Outcome {
	if !st.Any || fcnt > st.Last {
		return Fresh
	}
	back := st.Last - fcnt
	switch {
	case back >= Window:
		return Reset
	case st.Seen>>back&1 == 0:
		return Late
	case st.Marks[fcnt%Window] == uint16(mic>>16):
		return Repeat
	}
	return Reset
}

// note takes a frame in that judge said is what.
func (st *State) note(fcnt, mic uint32, what Outcome) {
	switch {
	case what == Repeat:
		return
	case !st.Any || what == Reset:
		*st = State{Any: true, Last: fcnt, Seen: 1}
	case what == Late:
		st.Seen |= 1 << (st.Last - fcnt)
	default:
		st.Seen = st.Seen<<min(fcnt-st.Last, Window) | 1
		st.Last = fcnt
	}
	st.Marks[fcnt%Window] = uint16(mic >> 16)
}

// upperHalves is how many upper halves of the counter are tried for a session that has not been
// heard before: a device that reports each minute takes two years to use them up.
const upperHalves = 16

// candidates calls try with the 32-bit counters that end in low, likeliest first, until one is
// signed.
func (st *State) candidates(low uint16, try func(fcnt uint32) bool) (uint32, bool) {
	if !st.Any {
		for upper := range uint32(upperHalves) {
			if fcnt := upper<<16 | uint32(low); try(fcnt) {
				return fcnt, true
			}
		}
		return 0, false
	}
	// Upwards from the last counter, then the same low half one turn back, then from 0.
	forward := st.Last + uint32(low-uint16(st.Last))
	if forward >= st.Last && try(forward) {
		return forward, true
	}
	if back := forward - 1<<16; back < st.Last && try(back) {
		return back, true
	}
	if zero := uint32(low); zero != forward && zero != forward-1<<16 && try(zero) {
		return zero, true
	}
	return 0, false
}
