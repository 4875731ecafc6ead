package rules

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// crowded warns where rules of several files, each of which has few enough, read more values of a device of one
// domain together than can be judged again (pastSlots): it names the first rule that is too many, by file and
// line, a domain.
func crowded(set *Set) Problems {
	most := 0
	domains := map[string]bool{"": true}
	var all []*Rule
	for _, r := range set.Rules {
		if r.Disabled || r.code == nil || !r.runs(onObservations, onObservations) {
			continue
		}
		all = append(all, r)
		domains[r.Domain] = true
		most += 2 * (len(r.code.readsOn(onObservations)) + len(r.code.shows))
	}
	if most <= pastSlots {
		return nil
	}
	slices.SortStableFunc(all, func(a, b *Rule) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	var out Problems
	for _, domain := range slices.Sorted(maps.Keys(domains)) {
		pl := &plan{metrics: map[string]*metricPlan{}}
		slot := pl.slots(&binder{num: map[string]int{}, text: map[string]int{}})
		var first *Rule
		for _, r := range all {
			if r.Domain != "" && r.Domain != domain {
				continue
			}
			for metric, k := range r.code.readsOn(onObservations) {
				slot(metric, k)
			}
			for metric, k := range r.code.shows {
				if read, ok := r.code.reads[metric]; ok {
					k = read
				}
				slot(metric, k)
			}
			if first == nil && len(pl.nums)+len(pl.texts) > pastSlots {
				first = r
			}
		}
		if first == nil {
			continue
		}
		of := "all domains"
		if domain != "" {
			of = "domain " + domain
		}
		out = append(out, Problem{File: first.File, Line: first.Line, Column: first.column, Rule: first.ID, Warning: true, Message: fmt.Sprintf(
			"when: with this rule and those before it the rules on %s read %d values of a device, want at most %d: what comes late is not judged again, for none of them",
			of, len(pl.nums)+len(pl.texts), pastSlots)})
	}
	return out
}
