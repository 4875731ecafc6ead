package video

import "slices"

// A sight is one object in one picture.
type sight struct {
	*known
	box  box
	told bool // it is known what it is
}

// known is what a camera remembers of an object that it has seen.
type known struct {
	object
	track  uint64 // its name now
	twin   uint64 // track of the second person, once they were told apart
	zone   bool
	lasts  bool // it was loitering
	lastX  float64
	passed bool // it crossed the line
	first  bool // this is the first picture with it
}

// A change of a track's name, or one track that came out of another.
type change struct{ from, to uint64 }

// A scene is what a camera makes of one picture and of what happened since the one before.
type scene struct {
	at            int64
	seen          []sight
	ended         []*known
	renamed       []change
	split         []change
	crossed       []*known
	entered, left []*known
	loitering     []*known
	inside        int // objects in the zone
}

// look makes the scene at a time, which is after the last one.
func (w *watcher) look(at int64) *scene {
	s := &scene{at: at}
	w.advance(at)
	for i := range w.around {
		o := &w.around[i]
		if w.known[o.id] == nil && o.visible(at) {
			w.known[o.id] = &known{object: *o, track: hash(o.id, '1'), first: true}
			w.order = append(w.order, o.id)
			w.book.saw(o)
		}
	}
	order := w.order[:0]
	for _, id := range w.order {
		k := w.known[id]
		if k.dies <= at {
			s.ended = append(s.ended, k)
			if k.zone {
				k.zone = false
				s.left = append(s.left, k)
			}
			delete(w.known, id)
			continue
		}
		order = append(order, id)
		if !k.visible(at) {
			continue
		}
		w.notice(s, k, at)
	}
	w.order = order
	return s
}

// advance makes around what is under way at a time.
func (w *watcher) advance(at int64) {
	w.around = slices.DeleteFunc(w.around, func(o object) bool { return o.dies <= at })
	for i := range w.c.lanes {
		l := &w.c.lanes[i]
		slot := max(w.slots[i], (at-l.longest())/l.slot)
		for ; slot*l.slot <= at; slot++ {
			for n := range l.parties(w.c.crowded(slot * l.slot)) {
				if o, ok := w.c.object(i, slot, uint64(n)); ok && o.dies > at {
					w.around = append(w.around, o)
				}
			}
		}
		w.slots[i] = slot
	}
}

// notice adds k, which is in the picture, to s.
func (w *watcher) notice(s *scene, k *known, at int64) {
	b := w.c.box(&k.object, at)
	x := b.x()
	if k.renamedAt > 0 && at >= k.renamedAt && !k.first {
		to := hash(k.id, '2')
		s.renamed = append(s.renamed, change{k.track, to})
		k.track, k.renamedAt = to, 0
	}
	if k.splitAt > 0 && at >= k.splitAt && w.c.splits() && !k.first {
		k.twin, k.splitAt = hash(k.id, '3'), 0
		s.split = append(s.split, change{k.track, k.twin})
		w.book.Persons++
	}
	if !k.first && !k.passed && (k.lastX < lineAt) != (x < lineAt) {
		k.passed = true
		s.crossed = append(s.crossed, k)
		w.book.crossed(k)
	}
	if inside := x >= zoneFrom && x <= zoneTo; inside != k.zone {
		if k.zone = inside; inside {
			s.entered = append(s.entered, k)
		} else {
			s.left = append(s.left, k)
		}
	}
	if k.zone {
		s.inside++
	}
	if from := k.lingersFrom(); from > 0 && at >= from && !k.lasts {
		k.lasts = true
		s.loitering = append(s.loitering, k)
		w.book.Loiterers++
	}
	k.lastX = x
	s.seen = append(s.seen, sight{k, b, k.toldAt > 0 && at >= k.toldAt})
	k.first = false
}
