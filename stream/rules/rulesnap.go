package rules

import (
	"crypto/sha256"
	"encoding/json"
	"io"
	"strconv"
)

// The plans of a partition's devices in a snapshot. Of a plan's rules only those are written that devices have
// episodes of, so that a snapshot is as large as what it is of and not as the rules are many: every partition would
// have all of them, once a domain. That a plan is still the same is told by its print.

// plans writes those of the homes, numbers them there, and returns by plan where its rules lie.
func (w *writer) plans(homes map[string]*home, all []*device) [][]int32 {
	var plans []*plan
	place := map[*plan]int{}
	for _, h := range homes {
		if _, ok := place[h.plan]; !ok {
			place[h.plan] = len(plans)
			plans = append(plans, h.plan)
		}
		h.place = place[h.plan]
	}
	used := make([]bitset, len(plans))
	for i, pl := range plans {
		used[i] = make(bitset, pl.words)
	}
	for _, d := range all {
		for _, ep := range d.episodes.all() {
			used[d.place].set(int(ep.rule))
		}
	}
	lie := make([][]int32, len(plans))
	w.uint(uint64(len(plans)))
	for i, pl := range plans {
		w.texts(pl.nums)
		w.texts(pl.texts)
		w.text(pl.print)
		var rules []*bound
		lie[i] = make([]int32, len(pl.rules))
		for j, r := range pl.rules {
			if used[i].has(j) {
				lie[i][j] = int32(len(rules))
				rules = append(rules, r)
			}
		}
		w.uint(uint64(len(rules)))
		for _, r := range rules {
			w.rule(r.Rule)
		}
	}
	return lie
}

// plans reads what plans wrote, which is not bound.
func (r *reader) plans() []*plan {
	var plans []*plan
	for range r.count() {
		pl := &plan{nums: r.texts(), texts: r.texts(), metrics: map[string]*metricPlan{}}
		for i, m := range pl.nums {
			pl.metrics[m] = &metricPlan{num: i, text: -1}
		}
		for i, m := range pl.texts {
			if pl.metrics[m] == nil {
				pl.metrics[m] = &metricPlan{num: -1}
			}
			pl.metrics[m].text = i
		}
		if r.version >= 13 {
			pl.print = r.text()
		}
		for i := range r.count() {
			pl.rules = append(pl.rules, &bound{Rule: r.rule(), index: i})
		}
		if r.version < 13 { // they are all there
			pl.print = pl.printed()
		}
		plans = append(plans, pl)
	}
	return plans
}

// printed is the same for plans whose devices keep the same values in the same places for the same rules, and for
// no others.
func (pl *plan) printed() string {
	h := sha256.New()
	put := func(s string) {
		io.WriteString(h, strconv.Itoa(len(s)))
		io.WriteString(h, " ")
		io.WriteString(h, s)
	}
	for _, all := range [][]string{pl.nums, pl.texts} {
		put(strconv.Itoa(len(all)))
		for _, s := range all {
			put(s)
		}
	}
	for _, r := range pl.rules {
		put(r.ID)
		put(r.logic)
	}
	return string(h.Sum(nil)[:16])
}

// rule writes a rule the first time, and from then on which it was.
func (w *writer) rule(r *Rule) {
	n, again := w.rules[r]
	if !again {
		if w.rules == nil {
			w.rules = map[*Rule]uint64{}
		}
		n = uint64(len(w.rules))
		w.rules[r] = n
	}
	if w.uint(n); again {
		return
	}
	kept := r.kept
	if kept == "" {
		kept = string(plainJSON(r))
	}
	w.text(kept)
	w.text(r.logic)
}

func (r *reader) rule() *Rule {
	if r.version < 13 {
		return r.wholeRule()
	}
	n := r.uint()
	switch {
	case n < uint64(len(r.known)):
		return r.known[n]
	case n > uint64(len(r.known)):
		r.bad = true
	}
	r.known = append(r.known, r.wholeRule())
	return r.known[len(r.known)-1]
}

func (r *reader) wholeRule() *Rule {
	text, logic := r.text(), r.text()
	if rule := r.rules[text+logic]; rule != nil {
		return rule
	}
	var j ruleJSON
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		r.bad = true
	}
	rule := &Rule{
		ID: j.ID, Title: j.Title, Domain: j.Domain, Severity: j.Severity, On: j.On, When: j.When, Clear: j.Clear, Key: j.Key,
		Text: j.Text, Version: j.Version, Shadow: j.Mode == "shadow", logic: logic, code: &code{},
	}
	rule.For, _ = parseDuration(j.For)
	rule.Absent, _ = parseDuration(j.Absent)
	if j.Window != nil {
		rule.Window, rule.Let = &Window{Type: j.Window.Type}, j.Let
	}
	for _, s := range j.Sequence {
		rule.Sequence = append(rule.Sequence, Step{As: s.As, On: s.On})
	}
	if r.rules != nil {
		r.rules[text+logic] = rule
	}
	return rule
}

// rulesOf writes the rules of keys, each once, and returns where each lies among them.
func (w *writer) rulesOf(keys []groupKey, of func(groupKey) *bound) map[string]int {
	index := map[string]int{}
	var rules []*bound
	for _, k := range keys {
		if _, ok := index[k.rule]; !ok {
			index[k.rule] = len(rules)
			rules = append(rules, of(k))
		}
	}
	w.uint(uint64(len(rules)))
	for _, r := range rules {
		w.rule(r.Rule)
	}
	return index
}

// rulesBack reads what rulesOf wrote; they are those of then until they are bound anew.
func (r *reader) rulesBack() []*bound {
	var rules []*bound
	for range r.count() {
		rules = append(rules, &bound{Rule: r.rule()})
	}
	return rules
}
