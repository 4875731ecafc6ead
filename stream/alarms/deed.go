package alarms

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// actPrefix begins the keys of acts in the bucket of alarms; no alarm's id does.
const actPrefix = "act-"

// A deed is an act in the bucket: what was done, when and to which alarms. One value, however many the
// alarms are, is all that is written before operators are answered. It counts for an alarm where that
// still has the rev that is named when the deed comes in the bucket's order; the worker writes it into
// the alarms' values afterwards.
//
// Its bytes are a line of JSON, and then of each alarm the id, 12 bytes, and the rev, 8, least first. A
// deed of the time when all of it was JSON has its alarms there, and no form. A form that comes later begins
// with such a line, too, so that those who do not know it see that it is one.
type deed struct {
	Form int       `json:"form,omitempty"`
	Act  Act       `json:"act"`
	At   time.Time `json:"at"`
	IDs  []string  `json:"ids,omitempty"`
	Revs []uint64  `json:"revs,omitempty"`

	key  string
	note string // of the entries that it makes
	open int    // alarms whose value has not taken it in
}

const (
	idBytes   = 12
	deedBytes = idBytes + 8 // of an alarm
)

// deedForm is the form of deeds that are written, and the latest that is read.
const deedForm = 2

// errNewer is of a deed in a form that only a later version reads.
var errNewer = errors.New("it has the form of a later version")

// newDeed is a deed without alarms.
func newDeed(x Act, at time.Time) *deed { return &deed{Act: x, At: at, note: x.said()} }

// encode is the bytes of the deed, done to so many alarms.
func (d *deed) encode(n int, alarm func(i int) (id string, rev uint64)) []byte {
	head, err := json.Marshal(deed{Form: deedForm, Act: d.Act, At: d.At})
	if err != nil {
		panic("BUG: an act that JSON cannot say: " + err.Error())
	}
	out := make([]byte, len(head)+1, len(head)+1+n*deedBytes)
	out[copy(out, head)] = '\n'
	for i := range n {
		id, rev := alarm(i)
		if out, err = hex.AppendDecode(out, []byte(id)); err != nil {
			panic("BUG: an alarm whose id is no hash: " + id)
		}
		out = binary.LittleEndian.AppendUint64(out, rev)
	}
	return out
}

// decodeDeed reads what encode wrote, now or earlier. An error is an errNewer or of bytes that are no deed.
func decodeDeed(data []byte) (*deed, error) {
	head, alarms, _ := bytes.Cut(data, []byte{'\n'})
	d := &deed{}
	var about struct{ Form int } // the rest may have other types in a later one
	if json.Unmarshal(head, &about) == nil && about.Form > deedForm {
		return nil, fmt.Errorf("form %d, want at most %d: %w", about.Form, deedForm, errNewer)
	}
	if err := json.Unmarshal(head, d); err != nil {
		return nil, err
	}
	if len(d.IDs) != len(d.Revs) {
		return nil, fmt.Errorf("%d alarms and %d revs", len(d.IDs), len(d.Revs))
	}
	if len(alarms)%deedBytes != 0 {
		return nil, fmt.Errorf("%d bytes of alarms, want %d of each", len(alarms), deedBytes)
	}
	for ; len(alarms) > 0; alarms = alarms[deedBytes:] {
		d.IDs = append(d.IDs, hex.EncodeToString(alarms[:idBytes]))
		d.Revs = append(d.Revs, binary.LittleEndian.Uint64(alarms[idBytes:]))
	}
	d.note = d.Act.said()
	return d, nil
}

// errNoID is of an alarm that no deed could name.
var errNoID = errors.New("its id is no hash")

func checkID(id string) error {
	if b, err := hex.DecodeString(id); err != nil || len(b) != idBytes {
		return errNoID
	}
	return nil
}

// A ref is a deed on one alarm.
type ref struct {
	seq  uint64 // of the deed in the bucket
	rev  uint64 // of the alarm that it was done to
	deed *deed
}

func mergeRefs(a, b []ref) []ref {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.SortFunc(out, func(x, y ref) int { return cmp.Compare(x.seq, y.seq) })
	return out
}

// A version is an alarm with one rev: a value of the bucket and what operators did to it since. It never
// changes, and the alarm that comes of it is made when it is first asked for: an act on a hundred thousand
// is answered before. It is safe for concurrent use.
type version struct {
	base *Alarm
	acts []ref // not in base, oldest first
	rev  uint64
	made atomic.Pointer[Alarm]
}

// alarm is the alarm, to be read only.
func (v *version) alarm() *Alarm {
	if len(v.acts) == 0 {
		return v.base
	}
	if a := v.made.Load(); a != nil {
		return a
	}
	v.made.CompareAndSwap(nil, v.clone()) // of two who make it one is kept, so that all have the same
	return v.made.Load()
}

// clone is the alarm, as the caller's own.
func (v *version) clone() *Alarm {
	a := v.base.clone()
	for _, r := range v.acts {
		a.do(&r.deed.Act, r.deed.note, r.deed.At)
	}
	return a
}

// A view is memory in which alarms are looked at one after the other. It belongs to one goroutine.
type view struct {
	alarm   Alarm
	entries []Entry
}

// of is an alarm but for its Pending, to be read until the next one.
func (w *view) of(v *version) *Alarm {
	if len(v.acts) == 0 {
		return v.base
	}
	if a := v.made.Load(); a != nil {
		return a
	}
	w.take(v.base)
	for _, r := range v.acts {
		w.do(r.deed)
	}
	return &w.alarm
}

func (w *view) take(a *Alarm) {
	w.alarm = *a
	w.alarm.Pending = nil
}

func (w *view) do(d *deed) {
	w.alarm.Pending = w.entries[:0]
	w.alarm.do(&d.Act, d.note, d.At)
	w.entries = w.alarm.Pending
}

func (v *version) record() Record { return Record{v.alarm(), v.rev} }

// gone reports whether the alarm is about to be forgotten; an act keeps it.
func (v *version) gone() bool { return v.base.Gone && len(v.acts) == 0 }

// settle does acts on a value of the bucket with its revision, oldest first, and returns those that are in it
// or do not count. What a value was written over without knowing counts where the chain of revs says that it
// did before, and is done to that value now.
func settle(base *Alarm, seq uint64, acts []ref) (v *version, out []ref) {
	v = &version{base: base, rev: seq}
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
			v.acts, v.rev = append(v.acts, r), seq
		case (base.Same != 0 || r.seq > seq) && r.rev == v.rev:
			v.acts, v.rev = append(v.acts, r), r.seq
		default:
			out = append(out, r)
		}
	}
	return v, out
}
