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

// maxCircle is how many rules a circle may have for its way to be told.
const maxCircle = 50

// circles says which rules name one another in a circle: by id, what is wrong.
func circles(rules []*Rule) map[string]string {
	c := circling{names: map[string][]string{}, number: map[string]int{}, least: map[string]int{}, open: map[string]bool{}, out: map[string]string{}}
	for _, r := range rules {
		if r.takes(OnEvents) && !r.Disabled {
			c.names[r.ID] = r.names()
		}
	}
	for id := range c.names {
		if c.number[id] == 0 {
			c.visit(id)
		}
	}
	return c.out
}

// circling looks for rules that lead to one another, each looked at once (Tarjan's algorithm).
type circling struct {
	names         map[string][]string // by id of rules on events
	number, least map[string]int      // in the order visited, from 1; the first that is led back to
	stack         []string
	open          map[string]bool // on the stack
	out           map[string]string
}

func (c *circling) visit(id string) {
	c.number[id] = len(c.number) + 1
	c.least[id] = c.number[id]
	c.stack, c.open[id] = append(c.stack, id), true
	for _, next := range c.names[id] {
		switch _, about := c.names[next]; {
		case !about:
		case c.number[next] == 0:
			c.visit(next)
			c.least[id] = min(c.least[id], c.least[next])
		case c.open[next]:
			c.least[id] = min(c.least[id], c.number[next])
		}
	}
	if c.least[id] != c.number[id] {
		return
	}
	at := slices.Index(c.stack, id)
	group := c.stack[at:]
	c.stack = c.stack[:at]
	for _, member := range group {
		c.open[member] = false
	}
	for _, member := range group {
		switch {
		case len(group) > maxCircle:
			c.out[member] = fmt.Sprintf("the rule feeds on itself: it is one of %d rules that name one another in a circle; want a chain that ends", len(group))
		case len(group) > 1 || slices.Contains(c.names[member], member):
			path := c.path(member, group)
			c.out[member] = fmt.Sprintf("the rule feeds on itself: %s names %s; want a chain that ends", strings.Join(path[:len(path)-1], " names "), path[len(path)-1])
		}
	}
}

// path is the shortest way from a rule back to itself, through others of its group.
func (c *circling) path(id string, group []string) []string {
	before := map[string]string{}
	for queue := []string{id}; len(queue) > 0; queue = queue[1:] {
		for _, next := range c.names[queue[0]] {
			if next == id {
				path := []string{id}
				for at := queue[0]; at != id; at = before[at] {
					path = append(path, at)
				}
				slices.Reverse(path[1:])
				return append(path, id)
			}
			if _, seen := before[next]; !seen && slices.Contains(group, next) {
				before[next] = queue[0]
				queue = append(queue, next)
			}
		}
	}
	panic("BUG: no way back to " + id + " in its circle")
}
