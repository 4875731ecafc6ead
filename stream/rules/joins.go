package rules

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"panormus/stream/batch"
)

// What rules may ask of other devices: see board, and for how that is judged ask.

// joinCalls are the functions of other devices' readings.
var joinCalls = []string{
	"zone_avg", "zone_min", "zone_max", "zone_sum", "zone_count",
	"neighbours_avg", "neighbours_min", "neighbours_max", "neighbours_sum", "neighbours_count", "of",
}

// joinCall makes a call of one of them a variable.
func (w *rewriter) joinCall(e ast.Expr, fn string, args []ast.Expr) {
	if !w.aboutReadings(e, fn) {
		return
	}
	j := &join{}
	kind, of, _ := strings.Cut(fn, "_")
	like := fn + `("temp_c"), or of cameras ` + fn + `("seen", "person")`
	written, ok := "", len(args) > 0
	switch {
	case kind == "of":
		j.fn, like = "of", `of("gauge-1", "level_mm"), of(tags.gauge, "level_mm"), or of a camera of("cam-1", "seen", "person")`
		if ok = len(args) > 1; ok {
			if written, ok = w.otherDevice(j, args[0]); !ok {
				w.failID(w.e, args[0].ID(), "%s(): want a device: its id in quotes, a text among the params, or a tag: %s", fn, like)
				return
			}
			args = args[1:]
		}
	case kind == "neighbours":
		j.fn, j.near, like = of, true, fn+`("temp_c", 300), or of cameras `+fn+`("seen", "person", 300)`
		if ok = len(args) > 1; ok {
			last := args[len(args)-1]
			if written, ok = w.radius(j, last); !ok {
				w.failID(w.e, last.ID(), "%s(): want metres above 0, to %d, or a number among the params: %s", fn, maxRadius, like)
				return
			}
			args = args[:len(args)-1]
		}
	default:
		j.fn = of
	}
	if ok = ok && len(args) <= 2; ok {
		j.metric, ok = literalText(args[:1])
	}
	if ok && len(args) == 2 {
		if j.class, ok = literalText(args[1:]); ok && !w.countsOf(fn, j, args) {
			return
		}
	}
	if !ok || j.metric == "" {
		w.failID(w.e, e.ID(), "%s(): want names in quotes: %s", fn, like)
		return
	}
	names := `"` + j.metric + `"`
	if j.class != "" {
		names += `, "` + j.class + `"`
	}
	switch {
	case j.fn == "of":
		j.name = fn + "(" + written + ", " + names + ")"
	case j.near:
		j.name = fn + "(" + names + ", " + written + ")"
		w.position()
	default:
		j.name = fn + "(" + names + ")"
	}
	w.vars["@"+j.name] = variable{source: fromJoin, kind: kindNum, name: j.name, join: j}
	n := 0
	for _, v := range w.vars {
		if v.source == fromJoin {
			n++
		}
	}
	if n > maxJoins {
		w.failID(w.e, e.ID(), "%s(): more than %d functions of other devices, want at most so many a rule", fn, maxJoins)
	}
	e.SetKindCase(w.fac.NewIdent(e.ID(), "@"+j.name))
}

// classes are what cameras count.
var classes = []string{
	batch.ClassPerson, batch.ClassHead, batch.ClassFace, batch.ClassBicycle, batch.ClassMotorcycle, batch.ClassCar, batch.ClassVan, batch.ClassTruck,
	batch.ClassBus, batch.ClassTrain, batch.ClassVehicle, batch.ClassAnimal, batch.ClassBag, batch.ClassPlate, batch.ClassUnknown,
}

// countsOf reports whether a column of counts and a class are there to ask for, and says what is wrong.
func (w *rewriter) countsOf(fn string, j *join, args []ast.Expr) bool {
	k := rowKinds[OnCounts]
	if k.columns[j.metric] != kindNum {
		numbers := slices.DeleteFunc(slices.Clone(k.names), func(name string) bool { return k.columns[name] != kindNum })
		w.failID(w.e, args[0].ID(), "%s(): counts have no number %q%s; want one of %s", fn, j.metric, didYouMean(j.metric, numbers), strings.Join(numbers, ", "))
		return false
	}
	if !slices.Contains(classes, j.class) {
		w.failID(w.e, args[1].ID(), "%s(): no class is called %q%s; want one of %s", fn, j.class, didYouMean(j.class, classes), strings.Join(classes, ", "))
		return false
	}
	return true
}

// otherDevice takes who is asked: an id, a parameter, or what a tag of the registry names.
func (w *rewriter) otherDevice(j *join, e ast.Expr) (written string, ok bool) {
	if id, isText := literalString(e); isText {
		j.device = func(*frame) (string, bool) { return id, true }
		return `"` + id + `"`, id != ""
	}
	switch e.Kind() {
	case ast.IdentKind:
		name := e.AsIdent()
		if ok = w.p.param(name) == kindText && w.paramIdent(e, name); ok {
			j.device = w.vars[e.AsIdent()].text()
		}
		return name, ok
	case ast.SelectKind:
		of, name := e.AsSelect().Operand(), e.AsSelect().FieldName()
		if ok = of.Kind() == ast.IdentKind && of.AsIdent() == "tags" && !e.AsSelect().IsTestOnly(); ok {
			j.device = func(f *frame) (string, bool) { id, has := f.tags()[name]; return id, has }
		}
		return "tags." + name, ok
	}
	return "", false
}

// radius takes how near a device must be, in metres: a number or a parameter.
func (w *rewriter) radius(j *join, e ast.Expr) (written string, ok bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		metres := 0.0
		switch v := e.AsLiteral().(type) {
		case types.Int:
			metres = float64(v)
		case types.Double:
			metres = float64(v)
		}
		j.metres = func(*frame) float64 { return metres }
		return formatNumber(metres, 0), metres > 0 && metres <= maxRadius
	case ast.IdentKind:
		name := e.AsIdent()
		if ok = w.p.param(name) == kindNum && w.paramIdent(e, name); ok {
			metres := w.vars[e.AsIdent()].num()
			j.metres = func(f *frame) float64 { return min(metres(f), maxRadius) } // of a device, which nobody checked
		}
		return name, ok
	}
	return "", false
}

// takeJoins notes what a rule asks of other devices, by its variables.
func (c *code) takeJoins(vars map[string]variable) {
	for _, v := range vars {
		switch v.source {
		case fromJoin:
			c.joins = append(c.joins, v.join)
		case fromSeries, fromFence:
			c.remembers = true
		}
	}
	slices.SortFunc(c.joins, func(a, b *join) int { return strings.Compare(a.name, b.name) })
}

// joinedMetrics are the metrics that rules of a set ask an engine for, and whether any asks by place,
// of its board.
func joinedMetrics(set *Set, engine string) (metrics []string, near bool) {
	all := map[string]bool{}
	for _, r := range set.Rules {
		if r.code == nil || r.Disabled || (r.engine() == OnJoined) != (engine == onAsking) {
			continue
		}
		for _, j := range r.code.joins {
			if j.on() == onObservations {
				all[j.metric] = true
				near = near || j.near
			}
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

// layPosts gives the metrics that rules ask for their place in the plan of every domain.
func (pl *plan) layPosts(set *Set, engine string, slot func(metric string, k kind) *metricPlan) {
	metrics, near := joinedMetrics(set, engine)
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
