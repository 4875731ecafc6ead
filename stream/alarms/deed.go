package alarms

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
//
// Alarms that are too many for one value are in parts, under keys of their own, which are written before and say
// nothing alone. The deed is the last value: it says how many parts it has, and is done with all of them or, where
// one is missing, to no alarm. Who gives up a deed whose last value does not come writes a void one
// in its place: of the two that one counts which the bucket takes first, for all who follow it.
type deed struct {
	Form  int       `json:"form,omitempty"`
	Parts int       `json:"parts,omitempty"` // written before
	Part  bool      `json:"part,omitempty"`  // this is one of those
	Void  bool      `json:"void,omitempty"`
	Act   Act       `json:"act,omitzero"`
	At    time.Time `json:"at,omitzero"`
	IDs   []string  `json:"ids,omitempty"`
	Revs  []uint64  `json:"revs,omitempty"`

	key  string
	note string // of the entries that it makes
	open int    // alarms whose value has not taken it in
}

const (
	idBytes   = 12
	deedBytes = idBytes + 8 // of an alarm
	headBytes = 32 << 10    // at most, of the line: a note may be six times as long in JSON
)

// deedForm is the form of deeds that are written, partsForm of those with parts, and the latest that is read.
const (
	deedForm  = 2
	partsForm = 3
)

// errNewer is of a deed in a form that only a later version reads.
var errNewer = errors.New("it has the form of a later version")

// newDeed is a deed without alarms.
func newDeed(x Act, at time.Time) *deed { return &deed{Act: x, At: at, note: x.said()} }

// partKey is where part i of the deed under a key is.
func partKey(key string, i int) string { return key + partMark + strconv.Itoa(i) }

const partMark = "-"

// cutPart is partKey backwards, and whether the key is one of a part.
func cutPart(key string) (deed string, i int, ok bool) {
	rest := strings.TrimPrefix(key, actPrefix)
	token, number, ok := strings.Cut(rest, partMark)
	if !ok {
		return "", 0, false
	}
	i, err := strconv.Atoi(number)
	return actPrefix + token, i, err == nil && i >= 0
}

// voided is the bytes of a deed that will never be.
func voided() []byte { return encodeHead(&deed{Form: partsForm, Void: true}, 0) }

// encodeHead is the line of d, with room for so many alarms.
func encodeHead(d *deed, alarms int) []byte {
	head, err := json.Marshal(d)
	if err != nil {
		panic("BUG: an act that JSON cannot say: " + err.Error())
	}
	out := make([]byte, len(head)+1, len(head)+1+alarms*deedBytes)
	out[copy(out, head)] = '\n'
	return out
}

// encode is the bytes of the deed done to alarms, at most so many in each value: its parts, and itself.
func (d *deed) encode(on []target, most int) (parts [][]byte, last []byte) {
	fill := func(out []byte, some []target) []byte {
		for i := range some {
			out = append(out, some[i].h.id[:]...)
			out = binary.LittleEndian.AppendUint64(out, some[i].rev)
		}
		return out
	}
	for len(on) > most {
		parts = append(parts, fill(encodeHead(&deed{Form: partsForm, Part: true}, most), on[:most]))
		on = on[most:]
	}
	head := deed{Form: deedForm, Act: d.Act, At: d.At}
	if head.Parts = len(parts); len(parts) > 0 {
		head.Form = partsForm
	}
	return parts, fill(encodeHead(&head, len(on)), on)
}

// decodeDeed reads what encode wrote, now or earlier, and the bytes of its alarms. An error is an errNewer or of
// bytes that are no deed.
func decodeDeed(data []byte) (d *deed, alarms []byte, err error) {
	head, alarms, _ := bytes.Cut(data, []byte{'\n'})
	d = &deed{}
	var about struct{ Form int } // the rest may have other types in a later one
	if json.Unmarshal(head, &about) == nil && about.Form > partsForm {
		return nil, nil, fmt.Errorf("form %d, want at most %d: %w", about.Form, partsForm, errNewer)
	}
	if err := json.Unmarshal(head, d); err != nil {
		return nil, nil, err
	}
	if len(d.IDs) != len(d.Revs) {
		return nil, nil, fmt.Errorf("%d alarms and %d revs", len(d.IDs), len(d.Revs))
	}
	if len(alarms)%deedBytes != 0 {
		return nil, nil, fmt.Errorf("%d bytes of alarms, want %d of each", len(alarms), deedBytes)
	}
	for i, id := range d.IDs {
		key, err := parseID(id)
		if err != nil {
			return nil, nil, fmt.Errorf("alarm %.40q: %w", id, err)
		}
		alarms = binary.LittleEndian.AppendUint64(append(alarms, key[:]...), d.Revs[i])
	}
	d.IDs, d.Revs = nil, nil
	d.note = d.Act.said()
	return d, alarms, nil
}

// cutAlarm is the first of the bytes of alarms.
func cutAlarm(alarms []byte) (id idOf, rev uint64, rest []byte) {
	return idOf(alarms[:idBytes]), binary.LittleEndian.Uint64(alarms[idBytes:]), alarms[deedBytes:]
}

// An idOf is an alarm's id as bytes.
type idOf [idBytes]byte

func (id idOf) String() string { return hex.EncodeToString(id[:]) }

// errNoID is of an alarm that no deed could name.
var errNoID = errors.New("its id is no hash")

func parseID(id string) (out idOf, err error) {
	if len(id) != 2*idBytes {
		return out, errNoID
	}
	if _, err := hex.Decode(out[:], []byte(id)); err != nil {
		return out, errNoID
	}
	return out, nil
}
