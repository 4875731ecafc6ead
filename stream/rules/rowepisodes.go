package rules

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"panormus/stream/batch"
)

// Rules on events are about what is told of episodes: that one begins, and that it ends. Late readings correct what was
// told of the episodes of rules, and what is corrected was no event: an episode that began, or ended, otherwise is a row at
// that time and with those values, one that was withdrawn is none. Early a rule is given events as they come, but for
// those that only correct; surely the rows that they come to, in the order of their times, when what rules say of a time has been
// corrected (rowKind.late). What a rule on events comes to is surely an event for the others, at its time; so however long a
// chain of them is, it is sure at once.

// episodeRow is what an event tells of an episode.
type episodeRow struct {
	episode   string // "": of none
	since     string // as it is written
	about     int64  // when the episode was raised, or ended, Unix ms
	ends      bool
	corrects  bool // what was told before
	withdrawn bool // it never was
}

// tellsOf reads what an event's context says of its episode and of the rules on events that it comes of.
func (row *Row) tellsOf(ev *batch.Event) {
	t := episodeRow{about: row.Time, ends: ev.State == tellings[toldCleared]}
	row.chain = nil
	members(ev.Context, func(name, value []byte) {
		when := ""
		switch string(name) {
		case "episode":
			t.episode = plainText(value)
		case "since":
			t.since = plainText(value)
		case "began":
			if !t.ends {
				when = plainText(value)
			}
		case "ended":
			if t.ends {
				when = plainText(value)
			}
		case "correction":
			t.corrects = true
		case "withdrawn":
			t.withdrawn = string(value) == "true"
		case "chain":
			if json.Unmarshal(value, &row.chain) != nil {
				row.chain = nil
			}
		}
		if at, err := time.Parse(timeLayout, when); err == nil {
			t.about = min(at.UnixMilli(), row.Time)
		}
	})
	row.tells = t
}

// plainText is a JSON text without escapes; "" for anything else.
func plainText(value []byte) string {
	if n := len(value); n > 1 && value[0] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : n-1])
	}
	return ""
}

// members calls do for the members of a JSON object, values as they are written, and ends where it is none: most events say
// nothing that is asked for here, and to read all of it takes ten times as long.
func members(object []byte, do func(name, value []byte)) {
	text := func(i int) int { // behind the text that begins at i
		for j := i + 1; j < len(object); j++ {
			switch object[j] {
			case '\\':
				j++
			case '"':
				return j + 1
			}
		}
		return len(object)
	}
	for i := bytes.IndexByte(object, '"'); i >= 0 && i < len(object) && object[i] == '"'; {
		end := text(i)
		name := object[i+1 : max(end-1, i+1)]
		colon := bytes.IndexByte(object[end:], ':')
		if colon < 0 {
			return
		}
		first := end + colon + 1
		depth := 0
		for i = first; i < len(object) && (depth > 0 || object[i] != ',' && object[i] != '}'); {
			switch object[i] {
			case '"':
				i = text(i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
		}
		do(name, bytes.TrimSpace(object[first:min(i, len(object))]))
		if next := bytes.IndexByte(object[min(i, len(object)):], '"'); next >= 0 {
			i += next
		} else {
			return
		}
	}
}

// amends reports whether the row only corrects what an episode was told to be.
func (row *Row) amends() bool {
	return row.tells.episode != "" && (row.tells.withdrawn || row.text != nil && row.column("state") == tellings[toldUpdated])
}

// heldEpisode is the rows of an episode that are held: of its beginning and of its end.
type heldEpisode struct{ begins, ends *heldRow }

// take has an event take the place of what it corrects among the rows that are held, and reports whether it is to be
// held itself. What it corrects of a time that has been judged stays as it was.
func (st *rowSettler) take(row *Row) (hold bool) {
	t := &row.tells
	if t.episode == "" || !t.corrects && !t.withdrawn {
		return true
	}
	held := st.episodes[t.episode]
	if held == nil {
		held = &heldEpisode{}
	}
	judged := held.begins == nil && t.corrects && t.about < st.clock
	if !t.ends || t.withdrawn {
		held.begins = held.begins.leave()
	}
	held.ends = held.ends.leave()
	if held.begins == nil && held.ends == nil {
		delete(st.episodes, t.episode)
	}
	return !t.withdrawn && (t.ends || !judged)
}

// leave takes a row, if there is one, out of what is held.
func (h *heldRow) leave() *heldRow {
	if h != nil {
		h.gone = true
	}
	return nil
}

// note notes a row of an episode that is held: how it began is what it was raised as, whatever told that.
func (st *rowSettler) note(h *heldRow) {
	if h.episode == "" {
		return
	}
	if i := slices.IndexFunc(h.says, func(r heldReading) bool { return r.metric == "state" }); i >= 0 && !h.ends {
		h.says[i].text = tellings[toldRaised]
	}
	held := st.episodes[h.episode]
	if held == nil {
		held = &heldEpisode{}
		st.episodes[h.episode] = held
	}
	if h.ends {
		held.ends = h
	} else {
		held.begins = h
	}
}

// next takes the first row that is held out; nil where it was corrected meanwhile.
func (st *rowSettler) next() *heldRow {
	h := st.held.pop()
	if h.gone {
		return nil
	}
	if held := st.episodes[h.episode]; held != nil {
		if h.ends {
			held.ends = nil
		} else {
			held.begins = nil
		}
		if held.begins == nil && held.ends == nil {
			delete(st.episodes, h.episode)
		}
	}
	return h
}

// feed gives what a rule on events surely comes to, to the others.
func (st *rowSettler) feed(v verdict) {
	if v.rule.Shadow {
		return
	}
	e := st.engine
	at := max(v.at, e.clock) // of a sequence a millisecond later, when no message of its time can come any more
	ev := v.rule.eventOf(stateOf(v.raised), v.key, v.start, v.at, v.at, v.evidence, v.reason)
	Events([]batch.Event{ev}, func(row *Row) {
		row.tells.episode = "" // nothing corrects it
		p := e.programs[row.On]
		d := e.known(row)
		st.hold(d, row, at, p.slots[d.plan].says(p.kind, row))
	})
}

// known is whose an event is that comes while another is judged.
func (e *RowEngine) known(row *Row) *device {
	given := e.given
	defer func() { e.given = given }()
	e.given = nil
	return e.device(row.On, row.Device, row.Domain)
}

// feeds reports whether a row is of what the second engine says itself.
func (e *RowEngine) feeds(row *Row) bool {
	if !e.settler.feeding || row.On != OnEvents {
		return false
	}
	r := e.set.Rule(row.rule)
	return r != nil && !r.Disabled && r.settlesRows(e.on)
}

// due is when a second engine has something to do next, Unix ms.
func (e *RowEngine) due() int64 {
	due := max(e.next, e.clock+1)
	if all := e.windows.calendar.next; len(all) > 0 {
		due = min(due, max(all[len(all)-1]-e.windows.lateness, e.windows.clock+1))
	}
	return due
}

// judgeTo judges surely what was until a time, and what that comes to in its turn.
func (st *rowSettler) judgeTo(last int64) {
	for {
		if due := st.engine.due(); st.feeding && due <= last && (len(st.held) == 0 || due < st.held[0].at) {
			st.engine.passTo(due)
			continue
		}
		if len(st.held) == 0 || st.held[0].at > last {
			return
		}
		st.judgeNext()
	}
}
