package alarms

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	streamlog "panormus/stream/log"
)

// paper is a bucket on paper, of which every Book may have read another part.
type paper struct {
	*testing.T
	entries []streamlog.Entry
	newest  map[string]uint64 // by key
	dropped map[string]bool
}

func (p *paper) put(key string, value any, after uint64) bool {
	if p.newest[key] != after {
		return false
	}
	data, encoded := value.([]byte)
	if !encoded && value != nil {
		var err error
		if data, err = json.Marshal(value); err != nil {
			p.Fatal(err)
		}
	}
	e := streamlog.Entry{Key: key, Value: data, Revision: uint64(len(p.entries) + 1)}
	p.entries, p.newest[key] = append(p.entries, e), e.Revision
	return true
}

// reader is a Book that has read some of it.
type reader struct {
	*Book
	p     *paper
	at    int
	skips bool // what was replaced or dropped before it was read, as a watch that is behind does
}

func (p *paper) reader() *reader {
	r := &reader{Book: NewBook(Config{Escalate: []Escalation{{"major", "critical", 40 * time.Minute}}}, nil, nil, nil), p: p}
	r.whole = true
	return r
}

func (r *reader) read(n int) {
	for ; n > 0 && r.at < len(r.p.entries); n-- {
		e := r.p.entries[r.at]
		r.at++
		if r.skips && (r.p.newest[e.Key] != e.Revision || r.p.dropped[e.Key]) {
			continue
		}
		r.index(e)
		r.watched = e.Revision
	}
}

// late is a Book that begins now: it has of every key the newest value only.
func (p *paper) late() *reader {
	r := p.reader()
	r.whole = false
	for _, e := range p.entries {
		if p.newest[e.Key] == e.Revision && !p.dropped[e.Key] {
			r.index(e)
		}
	}
	r.whole, r.at = true, len(p.entries)
	return r
}

// TestBooksAgree: whatever who writes has not read yet, all Books hold the same in the end, also one that
// begins late or misses what was replaced before it read it; every act that was answered with success is in the log
// once, every other never. Acts in parts are done to all their alarms or to none, whether their last value comes in
// time, late, after they were given up or never.
func TestBooksAgree(t *testing.T) {
	raced, came, never := 0, 0, 0
	for seed := range uint64(120) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p := &paper{T: t, newest: map[string]uint64{}, dropped: map[string]bool{}}
		worker, rooms, behind := p.reader(), []*reader{p.reader(), p.reader()}, p.reader()
		behind.skips = true
		type unended struct { // an act whose last value is yet to be written
			key  string
			last []byte
			room *reader
			mine *asked
		}
		var onTheWay []unended
		ids := []string{ID("hot", "0"), ID("hot", "1")}
		log := map[string]Entry{} // by alarm and n
		lives := map[string]int{} // how often an alarm was forgotten
		told := map[string]bool{} // notes of acts, and whether they were done
		publish := func() {
			for id, h := range worker.records {
				for _, e := range h.base.Pending {
					key := fmt.Sprint(id, " ", e.N, "@", lives[id])
					if had, ok := log[key]; ok && had != e {
						t.Fatalf("seed %d: entry %s is %+v, then %+v", seed, key, had, e)
					}
					log[key] = e
				}
			}
		}
		edit := func(id string, fn func(*Alarm) (*Alarm, error)) {
			a, after, err := worker.step(id, fn)
			if err != nil {
				t.Fatal(err)
			}
			if a == nil {
				return
			}
			if after == 0 && worker.records[id] == nil {
				after = p.newest[id] // as edit looks for what was removed
			}
			if before := worker.watched; !p.put(id, a, after) {
				t.Fatalf("seed %d: the worker, who alone writes values, is refused", seed)
			} else if slices.ContainsFunc(p.entries[before:], func(e streamlog.Entry) bool { return e.Key != id }) {
				raced++
			}
			worker.read(len(p.entries)) // as edit awaits it
			publish()
		}
		answered := func(mine *asked) {
			for _, t := range mine.on {
				told[ids[t.i]+" "+mine.Act.Note] = mine.back && !slices.ContainsFunc(mine.missed, func(m target) bool { return m.i == t.i })
			}
		}
		for step := range 120 {
			id := ids[rnd.IntN(len(ids))]
			switch n := rnd.IntN(15); n {
			case 12: // the last value of an act, or what is in its place
				if len(onTheWay) == 0 {
					continue
				}
				u := onTheWay[0]
				onTheWay = onTheWay[1:]
				if rnd.IntN(3) == 0 {
					p.put(u.key, voided(), 0)
				}
				if rnd.IntN(3) == 0 { // it may come when all that was before is dropped
					onTheWay = append(onTheWay, u)
					continue
				}
				p.put(u.key, u.last, 0)
				u.room.read(len(p.entries))
				if answered(u.mine); u.mine.back {
					came++
				} else {
					never++
				}
			case 13: // what all values have is dropped
				for key, s := range worker.settled {
					for i := range s.parts {
						p.dropped[partKey(key, i)] = true
					}
					if p.dropped[key] = rnd.IntN(3) > 0; p.dropped[key] {
						delete(worker.settled, key)
						delete(p.newest, key)
					}
				}
			case 14:
				behind.read(1 + rnd.IntN(8))
			case 0, 1, 2: // an event
				ev := event("hot", map[string]string{ids[0]: "0", ids[1]: "1"}[id], "major", []string{"raised", "cleared", "updated"}[n], float64(step))
				edit(id, func(a *Alarm) (*Alarm, error) {
					if a == nil {
						a = &Alarm{ID: id, Rule: ev.Rule, Key: ev.Key, Confirmed: true}
					}
					if !a.apply(&ev, Place{Seq: uint64(step + 1)}, Hold{}, &worker.cfg) {
						return nil, nil
					}
					return a, nil
				})
			case 3: // what operators did is taken in
				ids, _ := worker.unfoldedIDs(10, 1+rnd.IntN(30))
				for _, id := range ids {
					edit(id, func(a *Alarm) (*Alarm, error) { return a, nil })
				}
			case 4: // nothing has happened for long
				if h := worker.records[id]; h != nil && h.alarm().State() == Normal && h.acts == nil {
					edit(id, func(a *Alarm) (*Alarm, error) { a.Gone = true; return a, nil })
					if h = worker.records[id]; h.gone() {
						p.put(id, nil, h.seq)
						lives[id]++
						worker.read(len(p.entries))
					}
				}
			case 5, 6:
				worker.read(rnd.IntN(4))
			case 7:
				rooms[rnd.IntN(2)].read(1 + rnd.IntN(8))
			default: // an operator who has not read all
				room := rooms[rnd.IntN(2)]
				act := Act{Action: []string{"ack", "unack", "comment", "close", "shelve", "unshelve"}[rnd.IntN(6)], By: "ada", Note: fmt.Sprint("act ", step), Until: t0.Add(1000 * time.Hour)}
				mine := &asked{deed: newDeed(act, t0.Add(time.Duration(step)*time.Minute)), out: []Result{{ID: ids[0]}, {ID: ids[1]}}}
				for i, id := range ids {
					room.aim(mine, id, i)
				}
				if len(mine.on) == 0 {
					continue
				}
				key := fmt.Sprint(actPrefix, step)
				room.mine[key] = mine
				for _, t := range mine.on {
					told[ids[t.i]+" "+act.Note] = false
				}
				switch inJSON := *mine.deed; {
				case step%5 == 0: // as it was once
					for _, t := range mine.on {
						inJSON.IDs, inJSON.Revs = append(inJSON.IDs, ids[t.i]), append(inJSON.Revs, t.rev)
					}
					p.put(key, &inJSON, 0)
				case step%5 == 1:
					parts, last := mine.encode(mine.on, 1)
					for i, part := range parts {
						p.put(partKey(key, i), part, 0)
					}
					onTheWay = append(onTheWay, unended{key, last, room, mine})
					continue
				default:
					_, last := mine.encode(mine.on, 2)
					p.put(key, last, 0)
				}
				room.read(len(p.entries))
				answered(mine)
				if early := p.late(); rnd.IntN(4) == 0 {
					compareBooks(t, seed, early.Book, room.Book)
				}
			}
		}
		worker.read(len(p.entries))
		for ids, _ := worker.unfoldedIDs(10, 1+rnd.IntN(30)); len(ids) > 0; ids, _ = worker.unfoldedIDs(10, 1+rnd.IntN(30)) {
			for _, id := range ids {
				edit(id, func(a *Alarm) (*Alarm, error) { return a, nil })
			}
		}
		publish()
		for _, u := range onTheWay {
			p.put(u.key, voided(), 0)
		}
		for _, r := range append(rooms, p.late(), behind, worker) {
			r.read(len(p.entries))
			if len(r.parts) != 0 && !r.skips {
				t.Fatalf("seed %d: parts of %d acts wait though there is nothing to wait for", seed, len(r.parts))
			}
			compareBooks(t, seed, r.Book, worker.Book)
			if ids, _ := r.unfoldedIDs(10, 1+rnd.IntN(30)); r.waiting != 0 || len(ids) != 0 || len(r.unfolded) != 0 {
				t.Fatalf("seed %d: %d acts on %d alarms wait though all are in values", seed, r.waiting, len(r.unfolded))
			}
		}
		logged := map[string]int{}
		for key, e := range log {
			if e.By == "ada" {
				id, _, _ := cutLast(key)
				note := e.Note
				if i := len("until 2027-01-09T02:00:00Z: "); e.Action == "shelve" {
					note = note[i:]
				}
				logged[id+" "+note]++
			}
		}
		for act, done := range told {
			if n := logged[act]; done && n != 1 || !done && n != 0 {
				t.Fatalf("seed %d: %s: done %v, %d times in the log", seed, act, done, n)
			}
		}
	}
	if raced < 50 || came < 50 || never < 50 {
		t.Errorf("%d values were written over acts unread, %d acts in parts came whole and %d did not: this looked at too little", raced, came, never)
	}
}

func cutLast(s string) (string, string, bool) {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i] == ' ' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func compareBooks(t *testing.T, seed uint64, x, y *Book) {
	t.Helper()
	view := func(b *Book) map[string]any {
		out := map[string]any{}
		for id, h := range b.records {
			a := h.clone()
			a.Pending = nil
			out[id] = struct {
				Alarm
				Rev uint64
			}{*a, h.rev}
			exact, r := rowOf(h, a, &b.cfg), b.rows[h.row]
			if r.due > exact.due && exact.due != 0 || r.due == 0 && exact.due != 0 {
				t.Fatalf("seed %d: the row of %+v is due at %d, want %d at the latest", seed, a, r.due, exact.due)
			}
			if r.due = exact.due; r != exact {
				t.Fatalf("seed %d: the row of %+v is\n%+v, want\n%+v", seed, a, r, exact)
			}
		}
		return out
	}
	if vx, vy := view(x), view(y); !reflect.DeepEqual(vx, vy) {
		t.Fatalf("seed %d: two Books hold\n%+v\n%+v", seed, slices.Collect(maps.Values(vx)), slices.Collect(maps.Values(vy)))
	}
}

// TestActAll acts on what a query selects, and what was answered outlives a kill before anything else of it was
// written.
func TestActAll(t *testing.T) {
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	for i := range 20 {
		b.publish(event("hot", fmt.Sprint(i), []string{"warning", "major"}[i%2], "raised", float64(i)))
	}
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	act := func(q Query, limit int, x Act) (done, refused int, more bool) {
		t.Helper()
		done, results, more, err := b.book.ActAll(t.Context(), q, limit, x)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if _, ok := errors.AsType[*Conflict](r.Err); !ok || r.Record().Alarm == nil || r.State != r.Record().State() {
				t.Errorf("%s: %v of %+v", r.ID, r.Err, r.Record())
			}
		}
		return done, len(results), more
	}
	if done, refused, more := act(Query{Severities: []string{"major"}, States: Fits("ack")}, 7, Act{Action: "ack", By: "ada", Note: "seen"}); done != 7 || refused != 0 || !more {
		t.Errorf("%d done, %d refused, more %v; want 7 of 10", done, refused, more)
	}
	if done, refused, more := act(Query{States: States}, 100, Act{Action: "ack", By: "eve"}); done != 13 || refused != 7 || more {
		t.Errorf("%d done, %d refused, more %v; want 13 and those that were", done, refused, more)
	}
	if _, _, _, err := b.book.ActAll(t.Context(), Query{}, 1, Act{Action: "shelve"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v, want it invalid", err)
	}
	fresh := &bench{T: t}
	fresh.open(b.log, Config{Escalate: []Escalation{}}, nil)
	defer fresh.follow()()
	compareBooks(t, 0, fresh.book, b.book)
	trails := map[*trail]bool{}
	for _, h := range fresh.book.records {
		trails[h.acts] = true
	}
	if len(trails) != 2 {
		t.Errorf("%d lists of acts after a start, want one of each act: alarms that the same was done to share them", len(trails))
	}
	if _, _, acked := fresh.book.List(Query{States: []State{Acked}}); acked != 20 {
		t.Errorf("the next process has %d acknowledged, want 20", acked)
	}
	if err := fresh.work(); err != nil {
		t.Fatal(err)
	}
	fresh.tick(t0)
	rows, again := fresh.rows()
	if len(rows) != 40 || again != 0 {
		t.Errorf("%d rows in the log, %d again; want 20 raised and 20 acknowledged once", len(rows), again)
	}
}

// TestLoggedIsForgotten: of what is on the log nothing stays in memory, and what comes after it is on the log once.
func TestLoggedIsForgotten(t *testing.T) {
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	b.publish(event("hot", "a", "major", "raised", 0))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		b.act("a", Act{Action: "comment", By: "ada", Note: fmt.Sprint(i)})
		b.act("a", Act{Action: "comment", By: "bea", Note: fmt.Sprint(i)})
		b.tick(t0)
		b.book.mu.RLock()
		h := b.book.records[ID("hot", "a")]
		held, waiting := len(h.base.Pending), len(b.book.unlogged)
		b.book.mu.RUnlock()
		if held+waiting != 0 {
			t.Errorf("%d entries of %d alarms are held after they were logged", held, waiting)
		}
		if rows, again := b.rows(); len(rows) != 3+2*i || again != 0 {
			t.Errorf("%d rows on the log, %d again; want the raise and %d comments once", len(rows), again, 2*i+2)
		}
	}
	r, _ := b.book.Get(ID("hot", "a"))
	if r.Note != "2" || r.N != 7 || r.Last.By != "bea" {
		t.Errorf("%+v", r.Alarm)
	}
}

// TestManyRooms acts from two control rooms at once on a real bucket, while events come and the worker is
// killed over and over: nobody is told what is not so, and the log has every act once.
func TestManyRooms(t *testing.T) {
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	const n = 40
	for i := range n {
		b.publish(event("hot", fmt.Sprint(i), "major", "raised", 0))
	}
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = ID("hot", fmt.Sprint(i))
	}
	var mu sync.Mutex
	done, filtered := map[string]bool{}, map[string]int{}
	var wg sync.WaitGroup
	for room := range 2 {
		other := &bench{T: t}
		other.open(b.log, Config{Escalate: []Escalation{}}, nil)
		t.Cleanup(other.follow())
		wg.Go(func() {
			for i := range 15 {
				note := fmt.Sprint("room ", room, " act ", i)
				action := []string{"ack", "unack", "comment"}[i%3]
				x := Act{Action: action, By: "ada", Note: note}
				results, err := other.book.Act(t.Context(), ids, x)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, r := range results {
					done[r.ID+" "+note] = r.Err == nil
				}
				mu.Unlock()
				if room == 0 {
					continue
				}
				note += " by a filter"
				x.Note = note
				all, refused, _, err := other.book.ActAll(t.Context(), Query{States: Fits(action)}, n, x)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, r := range refused {
					done[r.ID+" "+note] = false
				}
				filtered[note] = all
				mu.Unlock()
			}
		})
	}
	acting := make(chan struct{})
	go func() { wg.Wait(); close(acting) }()
	steps, minute := 0, 1
	killed := fmt.Errorf("killed")
	b.worker.hook = func(string) error {
		if steps++; steps%7 == 0 {
			return killed
		}
		return nil
	}
	for working := true; working; {
		select {
		case <-acting:
			working = false
		default:
		}
		b.publish(event("hot", fmt.Sprint(minute%n), "major", []string{"cleared", "raised"}[minute/n%2], float64(minute)))
		minute++
		if err := b.work(); err != nil && err != killed {
			t.Fatal(err)
		}
	}
	b.worker.hook = nil
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	b.tick(t0)
	logged := b.logged()
	for act, ok := range done {
		if times := logged[act]; ok && times != 1 || !ok && times != 0 {
			t.Errorf("%s: done %v, %d times in the log", act, ok, times)
		}
	}
	for note, want := range filtered {
		got := 0
		for _, id := range ids {
			times := logged[id+" "+note]
			if got += times; times > 1 {
				t.Errorf("%s of %s is %d times in the log", note, id, times)
			}
		}
		if got != want {
			t.Errorf("%s: done to %d, %d in the log", note, want, got)
		}
	}
	fresh := &bench{T: t}
	fresh.open(b.log, Config{Escalate: []Escalation{}}, nil)
	defer fresh.follow()()
	compareBooks(t, 0, fresh.book, b.book)
}
