package rules

import (
	"regexp"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	yamlLine = regexp.MustCompile(`line (\d+)(?:,? column (\d+))?: `)
	listItem = regexp.MustCompile(`^\s*- `)
)

// Bounds of the search for the line that is no YAML: beyond them the parser's own word has to do.
const (
	maxSoughtBytes = 256 << 10
	maxSoughtLines = 500 // of one item of a list
)

// notYAML reports data that is no YAML, at the line from which on it is none. The parser says where what
// it was in the middle of began, which of a wrong indentation is the head of the whole list.
func (p *parser) notYAML(data []byte, err error) {
	line, column, what := 1, 1, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindAllStringSubmatch(what, -1); m != nil { // the last is where it stopped
		line, _ = strconv.Atoi(m[len(m)-1][1])
		column, _ = strconv.Atoi(m[len(m)-1][2])
	}
	if at := brokenLine(data, p.lines); at > 0 {
		line, column, what = at, 1, yamlLine.ReplaceAllString(what, "")
		text := p.lines[at-1]
		column += len(text) - len(strings.TrimLeft(text, " "))
	}
	if strings.Contains(what, "mapping values are not allowed") {
		what += "; want a text that has `: ` in it in quotes, and keys below one another"
	}
	p.fail(line, column, "not YAML: %s", what)
}

// maxAliased is how many values all aliases of a file may stand for, each as often as it is named.
const maxAliased = 100_000

// boundedAliases reports an alias that is part of what it stands for, and aliases of aliases that come to more than
// anybody writes: whoever follows them need not look.
func (p *parser) boundedAliases(root *yaml.Node) bool {
	inside, left := map[*yaml.Node]bool{}, maxAliased
	var walk func(n *yaml.Node, aliased bool) bool
	walk = func(n *yaml.Node, aliased bool) bool {
		if n.Kind == yaml.AliasNode {
			switch {
			case inside[n.Alias]:
				p.failAt(n, "found *%s inside of what it stands for, want an alias of something that is whole", clip(n.Value, 40))
				return false
			case n.Alias == nil:
				return true
			}
			n, aliased = n.Alias, true
		}
		if aliased {
			if left--; left < 0 {
				p.failAt(n, "aliases that stand for more than %d values, want at most so many a file", maxAliased)
				return false
			}
		}
		inside[n] = true
		defer delete(inside, n)
		for _, x := range n.Content {
			if !walk(x, aliased) {
				return false
			}
		}
		return true
	}
	return walk(root, false)
}

// brokenLine is the line, from 1, after the longest beginning of data that is YAML; 0 where it was not looked for.
func brokenLine(data []byte, lines []string) int {
	if len(data) > maxSoughtBytes {
		return 0
	}
	starts := make([]int, 1, len(lines)+1) // of lines in data
	for _, l := range lines {
		starts = append(starts, starts[len(starts)-1]+len(l)+1)
	}
	good := func(n int) bool { // the first n lines are YAML
		var doc yaml.Node
		return yaml.Unmarshal(data[:min(starts[n], len(data))], &doc) == nil
	}
	// Items of lists end what is open before them, so that a fault in one is in all beginnings that have it.
	items := []int{0}
	for i, l := range lines {
		if listItem.MatchString(l) {
			items = append(items, i)
		}
	}
	items = append(items, len(lines))
	bad := sort.Search(len(items), func(i int) bool { return !good(items[i]) })
	if bad == 0 || bad == len(items) || items[bad]-items[bad-1] > maxSoughtLines {
		return 0
	}
	n := items[bad]
	for n > items[bad-1] && !good(n) {
		n--
	}
	return n + 1
}
