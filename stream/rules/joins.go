package rules

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"go.yaml.in/yaml/v3"
)

// A rule that asks for other devices' readings is not judged by its shard, which knows only its own: it
// asks, with the values of the moment, and the shared shard judges in the log's order. Its episodes are the
// shared shard's, as those of keys that span partitions are.

// joinCalls are the functions of other devices' readings.
var joinCalls = []string{
	"zone_avg", "zone_min", "zone_max", "zone_sum", "zone_count",
	"neighbours_avg", "neighbours_min", "neighbours_max", "neighbours_sum", "neighbours_count", "of",
}

// joinCall makes a call of one of them a variable.
func (w *rewriter) joinCall(e ast.Expr, fn string, args []ast.Expr) {
	if w.columns != nil || w.ofReadings {
		w.failID(w.e, e.ID(), "%s() is not supported yet but on observations, outside of let and sequence", fn)
		return
	}
	j := &join{}
	kind, of, _ := strings.Cut(fn, "_")
	like := fn + `("temp_c")`
	ok := len(args) > 0
	switch {
	case kind == "of":
		j.fn, like = "of", `of("gauge-1", "level_mm")`
		if ok = len(args) == 2; ok {
			j.device, ok = literalText(args[:1])
			args = args[1:]
		}
	case kind == "neighbours":
		j.fn, j.near, like = of, true, fn+`("temp_c", 300)`
		if ok = len(args) == 2; ok {
			if j.metres, ok = metresOf(args[1]); !ok || j.metres <= 0 || j.metres > maxRadius {
				w.failID(w.e, args[1].ID(), "%s(): want metres above 0, to %d: %s", fn, maxRadius, like)
				return
			}
			args = args[:1]
		}
	default:
		j.fn = of
	}
	if ok {
		j.metric, ok = literalText(args)
	}
	if !ok || j.metric == "" {
		w.failID(w.e, e.ID(), "%s(): want names in quotes: %s", fn, like)
		return
	}
	name := fn + `("` + j.metric + `")`
	switch {
	case j.fn == "of":
		name = `of("` + j.device + `", "` + j.metric + `")`
	case j.near:
		name = fn + `("` + j.metric + `", ` + formatNumber(j.metres, 0) + ")"
		w.position()
	}
	w.vars["@"+name] = variable{source: fromJoin, kind: kindNum, name: name, join: j}
	n := 0
	for _, v := range w.vars {
		if v.source == fromJoin {
			n++
		}
	}
	if n > maxJoins {
		w.failID(w.e, e.ID(), "%s(): more than %d functions of other devices, want at most so many a rule", fn, maxJoins)
	}
	e.SetKindCase(w.fac.NewIdent(e.ID(), "@"+name))
}

func metresOf(e ast.Expr) (float64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	switch v := e.AsLiteral().(type) {
	case types.Int:
		return float64(v), true
	case types.Double:
		return float64(v), true
	}
	return 0, false
}

// checkJoins notes what a rule asks of other devices and reports what does not go with that.
func (p *parser) checkJoins(r *Rule, at map[string]*yaml.Node, vars map[string]variable, out *code) {
	series := ""
	for _, v := range vars {
		switch v.source {
		case fromJoin:
			out.joins = append(out.joins, v.join)
		case fromSeries, fromFence:
			series = v.name
		}
	}
	if len(out.joins) == 0 {
		return
	}
	slices.SortFunc(out.joins, func(a, b *join) int {
		return cmp.Or(strings.Compare(a.metric, b.metric), strings.Compare(a.fn, b.fn), strings.Compare(a.device, b.device), cmp.Compare(a.metres, b.metres))
	})
	for _, key := range []string{"absent", "schedule"} {
		if v := at[key]; v != nil {
			p.failAt(v, "%s: with %s(…) of other devices is not supported yet, want one of them", key, out.joins[0].call())
		}
	}
	if series != "" {
		p.failAt(at["when"], "when: %s beside %s(…) of other devices is not supported yet, want one of them", series, out.joins[0].call())
	}
}

func (j *join) call() string {
	switch {
	case j.fn == "of":
		return "of"
	case j.near:
		return "neighbours_" + j.fn
	}
	return "zone_" + j.fn
}

// joinedMetrics are the metrics that rules of a set ask for of other devices, and whether any asks by place.
func joinedMetrics(set *Set) (metrics []string, near bool) {
	all := map[string]bool{}
	for _, r := range set.Rules {
		if r.code == nil || r.Disabled {
			continue
		}
		for _, j := range r.code.joins {
			all[j.metric] = true
			near = near || j.near
		}
	}
	return slices.Sorted(maps.Keys(all)), near
}

// asks reports whether the rule is judged by other devices' readings too.
func (r *Rule) asks() bool { return r.code != nil && len(r.code.joins) > 0 }

func (v variable) ofBoard() numFunc {
	j := v.join
	return func(f *frame) float64 {
		if f.board == nil {
			return nan
		}
		return f.board.answer(f, j)
	}
}

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
	now      int64
	quality  uint8
	received int64
	ended    string // why it is not judged and its episode ends
}

// ask has the shared shard judge a rule on the message in hand.
func (s *shard) ask(d *device, r *bound) {
	f := &s.frame
	a := ask{seq: s.seq, n: s.n, live: s.live, rule: r, dev: d, now: f.now, quality: f.quality, received: s.received}
	switch {
	case !f.ofProfile(r):
		a.ended = "the device has another profile"
	case d.tuned != 0 && r.exempt(f):
		a.ended = exemptReason
	default:
		a.nums, a.texts = slices.Clone(d.nums), slices.Clone(d.texts)
		a.lat, a.lon = f.placed()
	}
	s.n++
	s.asks = append(s.asks, a)
}

// post puts the readings of a message that rules ask for on the board.
func (s *shard) post(d *device, rows messageRows, at int64) {
	at = min(at, s.received)
	f := &s.frame
	f.nums, f.dev = d.nums, d
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

// judgeJoins puts readings on the board and judges what was asked, in the log's order, and returns what
// came of it.
func (s *shared) judgeJoins(posts []post, asks []ask) []transition {
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
		if a := &asks[0]; a.seq > s.seq || a.live {
			out = s.judgeJoin(a, out)
		}
		asks = asks[1:]
	}
	s.count.keysRefused += s.board.refused
	s.board.refused = 0
	return out
}

func (s *shared) judgeJoin(a *ask, out []transition) []transition {
	r, f := a.rule, &s.frame
	if s.rules[r.ID] == nil {
		return out // it failed since
	}
	k := joinKey{r.ID, a.dev.id, a.dev.domain}
	held, on := s.holding[k]
	f.nums, f.texts, f.dev, f.now, f.quality, f.board, f.lat, f.lon, f.failed, f.why = a.nums, a.texts, a.dev, a.now, a.quality, s.board, a.lat, a.lon, false, ""
	defer func() { f.board = nil }()
	move := func(key string, on bool, reason string) {
		t := transition{
			seq: a.seq, n: a.n, live: a.live, on: on, rule: r.ID, key: key, device: a.dev.id, domain: a.dev.domain, zone: f.asset().Zone,
			at: a.now, received: a.received, reason: reason,
		}
		if a.ended == "" {
			t.evidence = r.evidence(f, key, a.now)
		}
		out = append(out, t)
	}
	if a.ended != "" {
		if on {
			delete(s.holding, k)
			move(held, false, a.ended)
		}
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
	case holds == yes && (!on || held != key):
		if on {
			move(held, false, "")
		}
		s.holding[k] = key
		move(key, true, "")
	case holds == yes:
	case on:
		delete(s.holding, k)
		move(held, false, "")
	}
	return out
}

// carryHolding forgets what devices hold up of rules that are not judged any more, or by other keys.
func (s *shared) carryHolding(old map[string]*bound) {
	for k := range s.holding {
		if now, was := s.rules[k.rule], old[k.rule]; now == nil || was == nil || !now.sameKeys(was.Rule) || !now.asks() {
			delete(s.holding, k)
		}
	}
}

func (w *writer) holding(all map[joinKey]string) {
	w.uint(uint64(len(all)))
	for _, k := range slices.SortedFunc(maps.Keys(all), func(a, b joinKey) int {
		return cmp.Or(strings.Compare(a.rule, b.rule), strings.Compare(a.device, b.device), strings.Compare(a.domain, b.domain))
	}) {
		w.texts([]string{k.rule, k.device, k.domain, all[k]})
	}
}

func (r *reader) holding() map[joinKey]string {
	out := map[joinKey]string{}
	for range r.count() {
		about := r.texts()
		if len(about) != 4 {
			r.bad = true
			return out
		}
		out[joinKey{about[0], about[1], about[2]}] = about[3]
	}
	return out
}

// leaveJoins ends what a device that is removed holds up.
func (s *shard) leaveJoins(d *device, at int64, reason string) {
	if !d.plan.joins {
		return
	}
	for _, r := range d.plan.rules {
		if r.asks() {
			s.asks = append(s.asks, ask{seq: s.seq, n: s.n, live: s.live, rule: r, dev: d, now: max(at, d.time), received: s.received, ended: cmp.Or(reason, "the device was forgotten")})
			s.n++
		}
	}
}

// layPosts gives the metrics that rules ask for their place in the plan of every domain.
func (pl *plan) layPosts(set *Set, slot func(metric string, k kind) *metricPlan) {
	metrics, near := joinedMetrics(set)
	for _, name := range metrics {
		m := pl.metrics[name]
		if m == nil {
			m = &metricPlan{num: -1, text: -1, rules: make(bitset, pl.words)}
			pl.metrics[name] = m
		}
		m.posts, pl.posts = true, true
	}
	if near && pl.posts {
		for _, name := range positionMetrics {
			slot(name, kindNum)
		}
	}
}
