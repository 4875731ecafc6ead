package rules

import (
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
)

// Durations are no part of CEL: `rate(level_mm, 10m)` is parsed as `rate(level_mm, 000)`, which is as
// long, so that every place in the expression stays where it was written.

var durationArg = regexp.MustCompile(`,\s*([0-9][0-9a-z.]*[a-z])\s*\)`)

// hideDurations returns the expression without its durations, and those by their place, in characters.
func hideDurations(src string) (string, map[int32]string) {
	var out map[int32]string
	b := []byte(src)
	for _, m := range durationArg.FindAllSubmatchIndex(b, -1) {
		if strings.HasPrefix(src[m[2]:], "0x") || inQuotes(src[:m[2]]) {
			continue
		}
		if out == nil {
			out = map[int32]string{}
		}
		out[int32(utf8.RuneCountInString(src[:m[2]]))] = src[m[2]:m[3]]
		for i := m[2]; i < m[3]; i++ {
			b[i] = '0'
		}
	}
	return string(b), out
}

// inQuotes reports whether what comes after before is inside a text.
func inQuotes(before string) bool {
	var quote byte
	for i := 0; i < len(before); i++ {
		switch c := before[i]; {
		case c == '\\' && quote != 0:
			i++
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return quote != 0
}

// seriesCall makes a call of a metric and a time a variable.
func (w *rewriter) seriesCall(e ast.Expr, fn string, args []ast.Expr) {
	if !w.aboutReadings(e, fn) {
		return
	}
	if len(args) != 2 {
		w.failID(w.e, e.ID(), "%s(): found %d arguments, want a metric and a time: %s(level_mm, 10m)", fn, len(args), fn)
		return
	}
	name, ok := w.metricOf(args[0], fn, "level_mm, 10m")
	if !ok {
		return
	}
	text, quoted := "", false
	if args[1].Kind() == ast.LiteralKind {
		if text, quoted = literalString(args[1]); !quoted {
			if at, ok := w.e.ast.NativeRep().SourceInfo().GetOffsetRange(args[1].ID()); ok {
				text = w.e.durations[at.Start]
			}
		}
	}
	span, err := parseDuration(text)
	if err != nil || span < time.Second || span > maxWindow {
		w.failID(w.e, args[1].ID(), "%s(): want a time from 1s to 31d: %s(level_mm, 10m)", fn, fn)
		return
	}
	w.addSeries(e, series{fn: fn, metric: name, span: span})
}

// metricOf is the metric that a function is of; false where the fault is reported. like is what is wanted.
func (w *rewriter) metricOf(x ast.Expr, fn, like string) (string, bool) {
	name := ""
	switch x.Kind() {
	case ast.IdentKind:
		name = x.AsIdent()
	case ast.CallKind:
		if x.AsCall().FunctionName() == "metric" {
			name, _ = literalText(x.AsCall().Args())
		}
	case ast.SelectKind:
		if w.isContext(x) {
			name = contextPrefix + x.AsSelect().FieldName()
		}
	}
	_, none := fields[name]
	none = none && x.Kind() == ast.IdentKind
	if w.ofRows() && !strings.HasPrefix(name, contextPrefix) {
		none = w.columns[name] != kindNum
	}
	if name == "" || none {
		w.failID(w.e, x.ID(), "%s(): found no metric, want the name of one: %s(%s)", fn, fn, like)
		return "", false
	}
	if w.metrics[name] == kindText {
		w.failID(w.e, x.ID(), "%s(): %s is compared with text elsewhere, want a number", fn, name)
		return "", false
	}
	return name, true
}

// addSeries makes e the variable of a series.
func (w *rewriter) addSeries(e ast.Expr, s series) {
	name, fn := s.metric, s.fn
	w.vars["@of:"+name] = variable{source: fromMetric, kind: kindNum, name: name}
	ident := "@series:" + s.String()
	if w.vars[ident] = (variable{source: fromSeries, kind: kindNum, name: s.String(), series: s, fresh: w.ofReadings}); w.decides {
		w.reads[name] = true
	}
	n := 0
	for _, v := range w.vars {
		if v.source == fromSeries {
			n++
		}
	}
	if n > maxSeries {
		w.failID(w.e, e.ID(), "%s(): more than %d functions of a metric and a time, want at most so many a rule", fn, maxSeries)
	}
	e.SetKindCase(w.fac.NewIdent(e.ID(), ident))
}

// aboutReadings reports whether the expression is about readings or rows; where it is about what a window
// or a sequence came to it says where the function belongs.
func (w *rewriter) aboutReadings(e ast.Expr, fn string) bool {
	switch {
	case w.columns == nil || w.ofRows():
		return true
	case w.windows:
		agg := "last"
		if slices.Contains(fenceCalls, fn) {
			agg = "count"
		}
		w.failID(w.e, e.ID(), "%s() is of readings, and here are the lets of a window; want it in one of them: let: {x: %s(%s(…))}", fn, agg, fn)
	default:
		w.failID(w.e, e.ID(), "%s() is of readings, and a sequence's text has the times of its steps; want it in a step", fn)
	}
	return false
}

// zoneCall makes in_zone("id") a variable.
func (w *rewriter) zoneCall(e ast.Expr, args []ast.Expr) {
	if !w.aboutReadings(e, "in_zone") {
		return
	}
	id, ok := literalText(args)
	if !ok || id == "" {
		w.failID(w.e, e.ID(), "in_zone(): want the id of one zone in quotes")
		return
	}
	w.position()
	w.vars["@zone:"+id] = variable{source: fromZone, kind: kindNum, name: `in_zone("` + id + `")`, zone: id}
	e.SetKindCase(w.fac.NewIdent(e.ID(), "@zone:"+id))
}

// distanceCall gives distance_m(lat, lon) the device's position before the place's.
func (w *rewriter) distanceCall(e ast.Expr, args []ast.Expr) {
	if len(args) != 2 {
		return // four are two places
	}
	if !w.aboutReadings(e, "distance_m") {
		return
	}
	w.position()
	var all []ast.Expr
	for _, name := range []string{"position_lat", "position_lon"} {
		w.vars["@"+name] = variable{source: fromPosition, kind: kindNum, name: name}
		all = append(all, w.fac.NewIdent(w.id(e.ID()), "@"+name))
	}
	e.SetKindCase(w.fac.NewCall(e.ID(), "distance_m", append(all, args...)...))
}

// position makes the metrics of the device's position read.
func (w *rewriter) position() {
	for _, name := range positionMetrics {
		if w.columns != nil && w.columns[name] == kindNone {
			continue // it is where the registry says
		}
		w.vars[name] = variable{source: fromMetric, kind: kindNum, name: name}
		if w.decides {
			w.reads[name] = true
		}
	}
}

// positionMetrics are where a device says it is.
var positionMetrics = []string{"position_lat", "position_lon"}
