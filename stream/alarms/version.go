package alarms

import (
	"cmp"
	"slices"
)

// A trail is acts on an alarm that are in no value yet, the newest first. It never changes, and alarms that the same
// was done to share it: an act on a hundred thousand is one trail.
type trail struct {
	seq    uint64 // of the deed in the bucket
	deed   *deed
	before *trail
	n      int // how many they are
}

// with is the trail and one more act.
func (t *trail) with(seq uint64, d *deed) *trail { return &trail{seq, d, t, t.len() + 1} }

func (t *trail) len() int {
	if t == nil {
		return 0
	}
	return t.n
}

// oldest calls do for each act, the oldest first.
func (t *trail) oldest(do func(*trail)) {
	if t != nil {
		t.before.oldest(do)
		do(t)
	}
}

// A version is an alarm with one rev: a value of the bucket and what operators did to it since. It never
// changes, and the alarm that comes of it is made when somebody asks for it: an act on a hundred thousand
// is answered before.
type version struct {
	base *Alarm
	acts *trail // not in base
	rev  uint64
}

// alarm is the alarm, to be read only.
func (v version) alarm() *Alarm {
	if v.acts == nil {
		return v.base
	}
	return v.clone()
}

// clone is the alarm, as the caller's own.
func (v version) clone() *Alarm {
	a := v.base.clone()
	v.acts.oldest(func(t *trail) { a.do(&t.deed.Act, t.deed.note, t.deed.At) })
	return a
}

func (v version) record() Record { return Record{v.alarm(), v.rev} }

// gone reports whether the alarm is about to be forgotten; an act keeps it.
func (v version) gone() bool { return v.acts == nil && v.base.Gone }

// A view is memory in which alarms are looked at one after the other. It belongs to one goroutine.
type view struct {
	alarm   Alarm
	entries []Entry
}

// of is an alarm but for its Pending, to be read until the next one.
func (w *view) of(v version) *Alarm {
	if v.acts == nil {
		return v.base
	}
	w.alarm = *v.base
	w.alarm.Pending = nil
	w.do(v.acts)
	return &w.alarm
}

func (w *view) do(t *trail) {
	if t != nil {
		w.do(t.before)
		w.alarm.Pending = w.entries[:0]
		w.alarm.do(&t.deed.Act, t.deed.note, t.deed.At)
		w.entries = w.alarm.Pending
	}
}

// A ref is a deed on one alarm whose value is not known yet.
type ref struct {
	seq  uint64 // of the deed in the bucket
	rev  uint64 // of the alarm that it was done to
	deed *deed
}

// refs is the acts of a version whose value has the revision seq, with the rev that each was done to. The first one
// was done to the value, or to the alarm that the value was made from without knowing of the act.
func (v version) refs(seq uint64) (out []ref) {
	v.acts.oldest(func(t *trail) {
		rev := v.base.Same
		switch n := len(out); {
		case n > 0 && (v.base.Same != 0 || out[n-1].seq > seq || t.seq < seq):
			rev = out[n-1].seq
		case v.base.Same != 0:
		case t.seq < seq:
			rev = v.base.After
		default:
			rev = seq
		}
		out = append(out, ref{t.seq, rev, t.deed})
	})
	return out
}

func mergeRefs(a, b []ref) []ref {
	out := append(a, b...)
	slices.SortFunc(out, func(x, y ref) int { return cmp.Compare(x.seq, y.seq) })
	return out
}

// settle does acts on a value of the bucket with its revision, oldest first, and returns those that are in it
// or do not count. What a value was written over without knowing counts where the chain of revs says that it
// did before, and is done to that value now. Join makes trails.
func settle(base *Alarm, seq uint64, acts []ref, join func(before *trail, r ref) *trail) (v version, out []ref) {
	v = version{base: base, rev: seq}
	if base.Same != 0 {
		v.rev = base.Same
	}
	before := base.After
	for _, r := range acts {
		switch {
		case r.seq <= base.Seen:
			out = append(out, r)
		case base.Same == 0 && r.seq < seq && r.rev == before:
			before = r.seq
			v.acts, v.rev = join(v.acts, r), seq
		case (base.Same != 0 || r.seq > seq) && r.rev == v.rev:
			v.acts, v.rev = join(v.acts, r), r.seq
		default:
			out = append(out, r)
		}
	}
	return v, out
}
