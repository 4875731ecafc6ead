package merge

import "time"

// slots is into how many parts a sliding window is cut: it moves by one of them at a time.
const slots = 12

// maxGap is the longest gap that counts as loss; a longer one is a device that was switched off or
// reset.
const maxGap = 1024

// A Loss counts the frames of a device that came and those that are missing, by gaps in its frame
// counter, over a sliding window. The zero Loss is ready; 136 bytes, a value to be kept and copied.
type Loss struct {
	any   bool
	last  uint32
	slot  int64 // the part of the window that is filled now
	heard [slots]uint32
	lost  [slots]uint32
}

// Window is how far back a Loss looks.
type Window time.Duration

// DefaultLossWindow is an hour.
const DefaultLossWindow = Window(time.Hour)

func (w Window) slot(now time.Time) int64 {
	return now.UnixNano() / max(int64(w)/slots, 1)
}

// advance moves the window to the slot and empties what it enters.
func (l *Loss) advance(slot int64) {
	if slot <= l.slot {
		return
	}
	for s := max(l.slot+1, slot-slots+1); s <= slot; s++ {
		l.heard[s%slots], l.lost[s%slots] = 0, 0
	}
	l.slot = slot
}

// Heard takes in a frame with the counter fcnt. One that came late fills its gap; a repetition must
// not be told; a counter far below the last is a reset and begins anew.
func (l *Loss) Heard(w Window, now time.Time, fcnt uint32) {
	l.advance(w.slot(now))
	at := l.slot % slots
	switch {
	case !l.any || fcnt > l.last && fcnt-l.last > maxGap || fcnt < l.last && l.last-fcnt > maxGap:
		l.any, l.last = true, fcnt
	case fcnt > l.last:
		l.lost[at] += fcnt - l.last - 1
		l.last = fcnt
	case fcnt < l.last:
		// Late, or a reset to just below: take one missing frame back where there is one.
		for s := range int64(slots) {
			if i := ((at-s)%slots + slots) % slots; l.lost[i] > 0 {
				l.lost[i]--
				break
			}
		}
	}
	l.heard[at]++
}

// Reset says that the device's counter began anew with fcnt, which came.
func (l *Loss) Reset(w Window, now time.Time, fcnt uint32) {
	l.advance(w.slot(now))
	l.any, l.last = true, fcnt
	l.heard[l.slot%slots]++
}

// Count is how many frames came within the window before now and how many are missing.
func (l *Loss) Count(w Window, now time.Time) (heard, lost uint64) {
	slot := w.slot(now)
	for s := max(slot-slots+1, 0); s <= min(slot, l.slot); s++ {
		if s > l.slot-slots {
			heard += uint64(l.heard[s%slots])
			lost += uint64(l.lost[s%slots])
		}
	}
	return heard, lost
}

// Ratio is the missing part of all frames, 0 to 1; ok is false where there were none.
func (l *Loss) Ratio(w Window, now time.Time) (ratio float64, ok bool) {
	heard, lost := l.Count(w, now)
	if heard+lost == 0 {
		return 0, false
	}
	return float64(lost) / float64(heard+lost), true
}

// A GatewayLoss counts, for one gateway, the frames that it heard of the devices it can hear, and
// those that it missed: gaps in the counters of each device as this gateway heard them. A frame
// that another gateway heard counts as missed all the same. The zero GatewayLoss is ready.
type GatewayLoss struct {
	total   Loss
	devices map[string]uint32 // last counter heard
}

// MaxHeard is how many devices a GatewayLoss follows; of those beyond no gaps are counted until it
// has forgotten others.
const MaxHeard = 4096

// Heard takes in a frame of a device with its counter.
func (g *GatewayLoss) Heard(w Window, now time.Time, device string, fcnt uint32) {
	g.total.advance(w.slot(now))
	at := g.total.slot % slots
	g.total.heard[at]++
	last, known := g.devices[device]
	switch {
	case known && fcnt > last && fcnt-last <= maxGap:
		g.total.lost[at] += fcnt - last - 1
	case known && fcnt <= last && last-fcnt <= maxGap && fcnt != 0:
		return // late or again: the greatest counter stays
	}
	if g.devices == nil {
		g.devices = map[string]uint32{}
	}
	if !known && len(g.devices) >= MaxHeard {
		for other := range g.devices { // whichever: a gateway that hears more forgets some
			delete(g.devices, other)
			break
		}
	}
	g.devices[device] = fcnt
}

// Count is how many frames the gateway heard within the window before now and how many it missed.
func (g *GatewayLoss) Count(w Window, now time.Time) (heard, missed uint64) {
	return g.total.Count(w, now)
}

// Ratio is the missed part, 0 to 1; ok is false where there was nothing.
func (g *GatewayLoss) Ratio(w Window, now time.Time) (ratio float64, ok bool) {
	return g.total.Ratio(w, now)
}
