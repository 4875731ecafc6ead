package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/operators"
)

// What people write who know other languages, and what it is here: a message that only says that it is not
// known leaves them to look for it.

const (
	hintNumber = "numbers are of one kind here; want floor(x), ceil(x) or round(x) for a whole one, double(x) of a text"
	hintTime   = "the time is told by hour(), minute(), weekday(), day() and month(), and how long something holds by `for: 10m` beside the condition"
	hintNull   = "what was never reported matches nothing anyway"
	hintLength = "of a text it is size(x), of a window's readings count()"
	hintCase   = `letters of either case are x.matches("(?i)…")`
	hintText   = `want x.contains("a"), x.startsWith("a") or x.matches("^a.*b$")`
)

// foreignFunctions are functions of other languages.
var foreignFunctions = map[string]string{
	"int": hintNumber, "uint": hintNumber, "float": hintNumber, "number": hintNumber, "bool": "a number is true where it is not 0: `x` is `x != 0`",
	"now": hintTime, "time": hintTime, "date": hintTime, "timestamp": hintTime, "duration": hintTime, "today": hintTime, "since": hintTime,
	"isNaN": hintNull, "is_null": hintNull, "isnull": hintNull, "coalesce": hintNull, "exists": hintNull, "defined": hintNull,
	"if": "want x > 3 ? a : b", "iif": "want x > 3 ? a : b", "not": "want !x", "between": "want x >= 1 && x <= 2",
	"len": hintLength, "length": hintLength, "lower": hintCase, "upper": hintCase, "tolower": hintCase, "like": hintText,
	"average": "want avg(x)", "mean": "want avg(x)", "maximum": "want max(x)", "minimum": "want min(x)", "total": "want sum(x)",
	"median": "want percentile(x, 50)", "quantile": "want percentile(x, 95)", "stdev": "want stddev(x)", "distinct": "want count_distinct(x)",
	"unique": "want count_distinct(x)", "distance": "want distance_m(lat, lon)", "inside": `want in_zone("id")`, "derivative": "want rate(x, 10m)",
	"diff": "want delta(x, 10m)", "zonal_avg": `want zone_avg("x")`, "sunrise": "want sun_elevation > 0", "sunset": "want sun_elevation < 0",
}

// hint is ", did you mean X?" or what a function of another language is here, or "".
func hint(fn string, known []string) string {
	name := strings.ToLower(fn)
	if what, ok := foreignFunctions[fn]; ok {
		return "; " + what
	} else if what, ok := foreignFunctions[name]; ok {
		return "; " + what
	}
	if meant := didYouMean(fn, known); meant != "" {
		return meant
	}
	if len(name) > 4 { // shorter ones are near to too many
		if other := nearest(name, slices.Collect(maps.Keys(foreignFunctions))); other != "" {
			return "; " + foreignFunctions[other]
		}
	}
	return ""
}

// spacedTime is a time that is written in two words.
var spacedTime = regexp.MustCompile(`,\s*([0-9.]+\s+[A-Za-z]+)\s*\)`)

// foreignWords are operators of other languages, as the parser quotes them, and what they are here.
var foreignWords = []struct{ found, want string }{
	{"at: '= '", "=, want == to compare"}, {"at: '='", "=, want == to compare"}, {"at: '& '", "&, want && for and"}, {"at: '&'", "&, want && for and"},
	{"at: '| '", "|, want || for or"}, {"at: '|'", "|, want || for or"}, {"input 'and'", "and, want &&"}, {"input 'AND'", "AND, want &&"},
	{"input 'or'", "or, want ||"}, {"input 'OR'", "OR, want ||"}, {"input 'is'", "is, want ==; " + hintNull}, {"input 'IS'", "IS, want ==; " + hintNull},
	{"input 'between'", "between, want x >= 1 && x <= 2"}, {"input 'BETWEEN'", "BETWEEN, want x >= 1 && x <= 2"},
	{"input 'like'", "like, " + hintText}, {"input 'LIKE'", "LIKE, " + hintText}, {"input 'for'", "for, want it beside the condition: `for: 10m`"},
	{"at: '$", "$, which only templates have (for_each); a parameter stands by its name alone"},
}

// foreignForms are the same, where the parser stumbles over what comes behind.
var foreignForms = []struct {
	form *regexp.Regexp
	want string
}{
	{regexp.MustCompile(`<>`), "<>, want !="},
	{regexp.MustCompile(`\b(not|NOT)\s+\w`), "not, want ! before it"},
	{regexp.MustCompile(`\b(in|IN)\s*\(`), "( after in, want a list: x in [1, 2]"},
	{regexp.MustCompile(`\d,\d`), ", in a number, want a point: 1.5"},
}

var (
	unwanted = regexp.MustCompile(`(?:mismatched|extraneous) input ('.*') expecting <EOF>`)
	noList   = regexp.MustCompile(`^expression of type '.*' cannot be range of a comprehension`)
)

// parseMessage says what the parser found in people's words; foreign is true of what is of another language.
func parseMessage(m, src string) (message string, foreign bool) {
	m = strings.TrimPrefix(m, "Syntax error: ")
	for _, f := range foreignWords {
		if strings.Contains(m, f.found) {
			return "not an expression: found " + f.want, true
		}
	}
	if strings.Contains(m, "invalid argument to has()") {
		return "has() asks for a tag of the registry, want has(tags.NAME); a metric that was never reported matches nothing anyway", false
	}
	if strings.Contains(m, "input '") {
		for _, f := range foreignForms {
			if at := f.form.FindStringIndex(src); at != nil && !inQuotes(src[:at[0]]) {
				return "not an expression: found " + f.want, true
			}
		}
	}
	if strings.Contains(m, "invalid int literal") {
		return "a number of too many digits, want it as 1e20", false
	}
	m = unwanted.ReplaceAllString(m, "found $1, want an operator before it, or nothing")
	if strings.Contains(m, "token recognition error") || strings.Contains(m, "mismatched input") || strings.Contains(m, "extraneous input") {
		if i := strings.Index(m, " expecting {"); i >= 0 {
			m = m[:i] + ", want a value or an operator"
		}
	}
	return "not an expression: " + strings.ReplaceAll(m, "'<EOF>'", "the end"), false
}

var overload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)

func checkMessage(m string) string {
	if noList.MatchString(m) {
		return "all(), exists() and the like are of lists such as [1, 2], want one before the point"
	}
	f := overload.FindStringSubmatch(m)
	if f == nil {
		return m
	}
	types := strings.NewReplacer("string", "text", "double", "number", "bool", "condition", "map(string, string)", "all tags together", ".(", " of (").Replace(f[2])
	if strings.Contains(types, "null") {
		return "null is never compared with, " + hintNull
	}
	if op, ok := operators.FindReverse(f[1]); ok && op != "" {
		return fmt.Sprintf("%s does not go with %s, want the same kind on both sides", op, types)
	}
	return fmt.Sprintf("%s() does not take %s", f[1], types)
}
