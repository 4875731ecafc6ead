package rules

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Rules on events must not feed on themselves, alone or by way of others. What names the rules it is
// about is checked: a circle of such rules is refused. What does not, `severity == "critical"` say, is
// kept from it at run time: an event of a rule on events says in its context which rules on events it
// comes of, itself among them, and no rule is given an event that comes of it, nor one that comes of
// maxChain rules.

const maxChain = 8

// comesOf reports whether the row is an event that the rule has raised, or that comes of one.
func (row *Row) comesOf(r *Rule) bool {
	return row.On == OnEvents && (row.rule == r.ID || slices.Contains(row.chain, r.ID))
}

// chained is chain and what the row comes of, sorted.
func (row *Row) chained(chain []string) []string { return joinChains(chain, row.chain) }

func joinChains(a, b []string) []string {
	for _, id := range b {
		i, found := slices.BinarySearch(a, id)
		if !found && len(a) < maxChain {
			a = slices.Insert(slices.Clone(a), i, id)
		}
	}
	return a
}

// chain is what an event of the rule comes of, which it does where the rule takes events.
func (r *Rule) chain(of []string) []string {
	if !r.takes(OnEvents) {
		return nil
	}
	return joinChains(of, []string{r.ID})
}

// namedRules are the ids that an expression holds `rule` against: rule == "a", rule in ["a", "b"].
func namedRules(e *expr) []string {
	var out []string
	var look func(x ast.Expr)
	look = func(x ast.Expr) {
		if x.Kind() != ast.CallKind {
			return
		}
		args := x.AsCall().Args()
		isRule := func(x ast.Expr) bool { return x.Kind() == ast.IdentKind && e.vars[x.AsIdent()].name == "rule" }
		switch x.AsCall().FunctionName() {
		case operators.LogicalNot, operators.NotEquals:
			return
		case operators.Equals:
			for i, a := range args {
				if id, ok := literalString(args[1-i]); ok && isRule(a) {
					out = append(out, id)
				}
			}
		case operators.In:
			if !isRule(args[0]) || args[1].Kind() != ast.ListKind {
				return
			}
			for _, a := range args[1].AsList().Elements() {
				if id, ok := literalString(a); ok {
					out = append(out, id)
				}
			}
		default:
			for _, a := range args {
				look(a)
			}
		}
	}
	look(root(e.ast))
	return out
}

// names are the rules that a rule on events says it is about.
func (r *Rule) names() []string {
	if r.code == nil || !r.takes(OnEvents) {
		return nil
	}
	all := []*expr{r.code.when}
	for _, l := range r.code.lets {
		all = append(all, l.arg)
	}
	all = append(all, r.code.steps...)
	var out []string
	for _, e := range all {
		if e != nil {
			out = append(out, namedRules(e)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// circles says which rules name one another in a circle: by id, what is wrong.
func circles(rules []*Rule) map[string]string {
	byID := map[string]*Rule{}
	for _, r := range rules {
		if r.takes(OnEvents) && !r.Disabled {
			byID[r.ID] = r
		}
	}
	out := map[string]string{}
	for _, r := range byID {
		if path := circle(byID, r, []string{r.ID}, map[string]bool{}); path != nil {
			out[r.ID] = fmt.Sprintf("the rule feeds on itself: %s names %s; want a chain that ends", strings.Join(path[:len(path)-1], " names "), path[len(path)-1])
		}
	}
	return out
}

// circle is the way from the end of path back to its begin, nil where there is none.
func circle(byID map[string]*Rule, r *Rule, path []string, seen map[string]bool) []string {
	for _, id := range r.names() {
		if id == path[0] {
			return append(path, id)
		}
		if next := byID[id]; next != nil && !seen[id] {
			seen[id] = true
			if found := circle(byID, next, append(slices.Clone(path), id), seen); found != nil {
				return found
			}
		}
	}
	return nil
}
