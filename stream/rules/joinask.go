package rules

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
)

// A rule that asks for other devices' readings is not judged by its shard, which knows only its own: it
// asks, with the values of the moment, and the shared shard judges in the log's order. Its episodes are the
// shared shard's, as those of keys that span partitions are, and so are its windows and sequences. Silence
// alone is judged where the device is: when the clock ticks nothing else runs, and the board may be read.

// An ask is a rule to be judged on a device as it was.
type ask struct {
	seq      uint64
	n        int
	live     bool
	rule     *bound
	dev      *device
	nums     []float64
	texts    []string
	lat, lon float64
	now, own int64
	quality  uint8
	received int64
	ended    string // why it is not judged and its episode ends
}

// ask has the shared shard judge a rule on the message in hand.
func (s *shard) ask(d *device, r *bound) {
	f := &s.frame
	switch {
	case !f.ofProfile(r):
		s.put(ask{rule: r, dev: d, now: f.now, ended: "the device has another profile"})
	case d.tuned != 0 && r.exempt(f):
		s.put(ask{rule: r, dev: d, now: f.now, ended: exemptReason})
	default:
		s.askOf(d, r)
	}
}

// askOf asks with what the frame has.
func (s *shard) askOf(d *device, r *bound) {
	f := &s.frame
	a := ask{rule: r, dev: d, now: f.now, own: f.own, quality: f.quality, nums: slices.Clone(f.nums), texts: slices.Clone(f.texts)}
	said := f.nums // of windows, what the message says; where the device is stands
	f.nums = d.nums()
	a.lat, a.lon = f.placed()
	f.nums = said
	if r.code.remembers { // what its functions are now
		then, more := *d, *d.more
		more.series = slices.Clone(d.series)
		then.more, a.dev = &more, &then
	}
	s.put(a)
}

func (s *shard) put(a ask) {
	a.seq, a.n, a.live, a.received = s.seq, s.n, s.live, s.received
	s.n++
	s.asks = append(s.asks, a)
}

// post puts the readings of a message that rules ask for on the board.
func (s *shard) post(d *device, rows messageRows, at int64) {
	at = min(at, s.received)
	f := &s.frame
	f.nums, f.dev = d.nums(), d
	lat, lon := f.placed()
	for i := rows.first; i < rows.end; i++ {
		m := s.metrics[rows.table+int(rows.o.Metric.Index[i])]
		v := rows.o.Value[i]
		if m == nil || !m.posts || v != v {
			continue
		}
		stands := int64(boardHourMs)
		if a := f.asset(); a.Period > 0 {
			stands = standsFor * int64(a.Period) / 1e6
		}
		s.posts = append(s.posts, post{
			seq: s.seq, n: s.n, id: d.id, domain: d.domain, zone: f.asset().Zone, lat: lat, lon: lon, stands: stands,
			metric: rows.o.Metric.Values[rows.o.Metric.Index[i]], at: at, v: v,
		})
		s.n++
	}
}

// joinKey is a device that a rule is judged on.
type joinKey struct{ rule, device, domain string }

// held is the key that a device holds up, since a time.
type held struct {
	key   string
	since int64
}

// judgeJoins puts readings on the board and judges what was asked, in the log's order, and returns what
// came of it. The clocks that moved between end what schedules end.
func (s *shared) judgeJoins(posts []post, asks []ask, clocks []clockMove) []transition {
	slices.SortStableFunc(posts, func(a, b post) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.n, b.n)) })
	slices.SortStableFunc(asks, func(a, b ask) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.n, b.n)) })
	var out []transition
	for len(posts) > 0 || len(asks) > 0 {
		if len(asks) == 0 || len(posts) > 0 && cmp.Or(cmp.Compare(posts[0].seq, asks[0].seq), cmp.Compare(posts[0].n, asks[0].n)) < 0 {
			if p := &posts[0]; p.seq > s.seq {
				s.board.take(p, s.e.cfg.MaxDevices, s.e.cfg.Forget.Milliseconds())
			}
			posts = posts[1:]
			continue
		}
		a := &asks[0]
		for ; len(clocks) > 0 && clocks[0].seq < a.seq; clocks = clocks[1:] {
			out = s.endHeld(&clocks[0], out)
		}
		if a.seq > s.seq || a.live {
			out = s.judgeAsk(a, out)
		}
		asks = asks[1:]
	}
	for i := range clocks {
		out = s.endHeld(&clocks[i], out)
	}
	s.count.keysRefused += s.board.refused
	s.board.refused = 0
	return out
}

// judgeAsk judges a rule on what it was asked with. A panic is that rule's.
func (s *shared) judgeAsk(a *ask, out []transition) []transition {
	r, f := a.rule, &s.frame
	if s.rules[r.ID] == nil {
		return out // it failed since
	}
	f.nums, f.texts, f.dev, f.now, f.own, f.quality, f.board, f.lat, f.lon, f.failed, f.why = a.nums, a.texts, a.dev, a.now, a.own, a.quality, s.board, a.lat, a.lon, false, ""
	defer func() {
		f.board = nil
		if p := recover(); p != nil {
			f.broke(r.Rule, p)
			s.count.rules[r.global].undecided(f)
		}
		f.why = ""
	}()
	if r.windowed() {
		s.answer(a)
		return out
	}
	return s.judgeJoin(a, out)
}

// answer notes what was asked with for its key's windows, which take it in their turn.
func (s *shared) answer(a *ask) {
	r, f := a.rule, &s.frame
	c := &s.count.rules[r.global]
	key, ok := r.keyOf(f)
	if ok {
		w := newWinState(r, key, a.dev.domain)
		w.add(f, a.now, hashText(a.dev.id))
		s.asked = append(s.asked, asked{a.seq, w})
	}
	if f.failed || !ok {
		c.undecided(f)
	}
	if f.why != "" {
		f.afford(r.Rule)
	}
}

// judgeJoin moves the key of a rule by its condition.
func (s *shared) judgeJoin(a *ask, out []transition) []transition {
	r, f := a.rule, &s.frame
	k := joinKey{r.ID, a.dev.id, a.dev.domain}
	held, on := s.holding[k]
	move := func(key string, on bool, at int64, reason string) {
		t := transition{
			seq: a.seq, n: a.n, live: a.live, on: on, rule: r.ID, key: key, device: a.dev.id, domain: a.dev.domain, zone: f.asset().Zone,
			at: at, received: a.received, reason: reason,
		}
		if reason == "" {
			t.evidence = r.evidence(f, key, a.now)
		}
		out = append(out, t)
	}
	if end := f.scheduleEnd(r, held.since); on && end <= a.now {
		s.release(k)
		move(held.key, false, max(end, held.since), scheduleReason)
		on = false
	}
	if a.ended != "" {
		if on {
			s.release(k)
			move(held.key, false, a.now, a.ended)
		}
		return out
	}
	if !f.inForce(r, a.now) {
		return out
	}
	c := &s.count.rules[r.global]
	holds := undecided
	if on && r.clear != nil {
		holds = not(r.clear(f))
	} else if holds = r.when(f); holds == yes {
		c.matches++
	}
	if holds == undecided {
		c.undecided(f)
		return out
	}
	key, ok := r.keyOf(f)
	switch {
	case holds == yes && !ok:
		c.undecided(f)
	case holds == yes && (!on || held.key != key):
		if on {
			move(held.key, false, a.now, "")
		}
		s.hold(r, k, key, a.now)
		move(key, true, a.now, "")
	case holds == yes:
	case on:
		s.release(k)
		move(held.key, false, a.now, "")
	}
	return out
}

// hold notes that a device holds a key up.
func (s *shared) hold(r *bound, k joinKey, key string, at int64) {
	s.holding[k] = held{key, at}
	s.heldEnd = min(s.heldEnd, s.frame.scheduleEnd(r, at))
}

func (s *shared) release(k joinKey) { delete(s.holding, k) }

// endHeld ends what devices hold up past the ends of schedules that a clock has passed. heldEnd is when the
// next may be due.
func (s *shared) endHeld(c *clockMove, out []transition) []transition {
	if c.at < s.heldEnd {
		return out
	}
	s.heldEnd = math.MaxInt64
	first := len(out)
	for k, h := range s.holding {
		r := s.rules[k.rule]
		if r == nil || r.Schedule == nil {
			continue
		}
		end := s.frame.scheduleEnd(r, h.since)
		if end > c.at {
			s.heldEnd = min(s.heldEnd, end)
			continue
		}
		s.release(k)
		out = append(out, transition{
			seq: c.seq, n: math.MaxInt32, live: c.live, rule: k.rule, key: h.key, device: k.device, domain: k.domain, zone: s.zoneOf(k.device),
			at: max(end, h.since), received: c.received, reason: scheduleReason,
		})
	}
	slices.SortFunc(out[first:], func(a, b transition) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key), cmp.Compare(a.device, b.device), cmp.Compare(a.domain, b.domain))
	})
	return out
}

// zoneOf is a device's, by the registry.
func (s *shared) zoneOf(device string) string {
	if s.e.cfg.Registry != nil {
		if a := s.e.cfg.Registry.Lookup(device); a != nil {
			return a.Zone
		}
	}
	return ""
}

// carryHolding forgets what devices hold up of rules that are not judged any more, or by other keys.
func (s *shared) carryHolding(old map[string]*bound) {
	s.heldEnd = 0 // schedules may have changed
	for k := range s.holding {
		if now, was := s.rules[k.rule], old[k.rule]; now == nil || was == nil || !now.sameKeys(was.Rule) || !now.asks() {
			delete(s.holding, k)
		}
	}
}

func (w *writer) holding(all map[joinKey]held) {
	w.uint(uint64(len(all)))
	for _, k := range slices.SortedFunc(maps.Keys(all), func(a, b joinKey) int {
		return cmp.Or(strings.Compare(a.rule, b.rule), strings.Compare(a.device, b.device), strings.Compare(a.domain, b.domain))
	}) {
		w.texts([]string{k.rule, k.device, k.domain, all[k].key})
		w.time(all[k].since)
	}
}

func (r *reader) holding() map[joinKey]held {
	out := map[joinKey]held{}
	for range r.count() {
		about := r.texts()
		if len(about) != 4 {
			r.bad = true
			return out
		}
		h := held{key: about[3]}
		if r.version >= 7 {
			h.since = r.time()
		}
		out[joinKey{about[0], about[1], about[2]}] = h
	}
	return out
}

// leaveJoins ends what a device that is removed holds up.
func (s *shard) leaveJoins(d *device, at int64, reason string) {
	if !d.plan.joins {
		return
	}
	for _, r := range d.plan.rules {
		if r.asks() && r.shared() && !r.windowed() {
			s.put(ask{rule: r, dev: d, now: max(at, d.time), ended: cmp.Or(reason, "the device was forgotten")})
		}
	}
}
