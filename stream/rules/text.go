package rules

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A piece is a part of a text template: words, or an expression in braces.
type piece struct {
	words    string
	special  string // since, for, key, severity, rule, title
	either   string // a metric that may be a number or text
	decimals int    // -1 for what fits the size of the number
	parsed   *parsed
	expr     *expr
}

var (
	specials = map[string]bool{"since": true, "for": true, "key": true, "severity": true, "rule": true, "title": true}
	// windowSpecials are those of rules with windows besides.
	windowSpecials = map[string]bool{"window_start": true, "window_end": true}
	contextName    = regexp.MustCompile(`^context\.[A-Za-z_][A-Za-z0-9_]*$`)
	format         = regexp.MustCompile(`^(.*):([0-6])$`)
)

// parseText splits the template: {expression}, {expression:DECIMALS}, {{ and }} for braces.
func (c *compiler) parseText(r *Rule, node *yaml.Node) []piece {
	if node == nil || r.Text == "" {
		return nil
	}
	var out []piece
	var words strings.Builder
	s := r.Text
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "{{") || strings.HasPrefix(s[i:], "}}"):
			words.WriteByte(s[i])
			i++
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				c.failAt(&parsed{node: node, key: "text", offset: i}, 1, 0, "a { that is not closed, want {expression}, or {{ for a brace")
				return nil
			}
			if words.Len() > 0 {
				out = append(out, piece{words: words.String()})
				words.Reset()
			}
			out = append(out, c.parsePiece(node, s[i+1:i+end], i+1))
			i += end
		default:
			words.WriteByte(s[i])
		}
	}
	if words.Len() > 0 {
		out = append(out, piece{words: words.String()})
	}
	return c.settleEither(out)
}

func (c *compiler) parsePiece(node *yaml.Node, src string, offset int) piece {
	p := piece{decimals: -1}
	if m := format.FindStringSubmatch(src); m != nil {
		src = m[1]
		p.decimals = int(m[2][0] - '0')
	}
	trimmed := strings.TrimSpace(src)
	if _, isColumn := c.columns[trimmed]; !isColumn && (specials[trimmed] || c.windows && windowSpecials[trimmed]) { // a row's rule is the camera's
		p.special = trimmed
		return p
	}
	p.parsed = c.parse(node, "text", trimmed, offset+strings.Index(src, trimmed))
	return p
}

// settleEither marks the bare metrics, whose kind only the other expressions can tell. It does not
// know those yet, so the mark is kept beside the expression and render prefers whichever is known.
func (c *compiler) settleEither(pieces []piece) []piece {
	for i := range pieces {
		p := &pieces[i]
		if c.on == OnEvents && p.parsed != nil && contextName.MatchString(p.parsed.src) {
			p.either = p.parsed.src
			p.parsed = nil
		}
		if c.columns != nil { // whose kinds are known
			continue
		}
		if p.parsed == nil || p.parsed.ast == nil || !plainIdent.MatchString(p.parsed.src) {
			continue
		}
		if _, isField := fields[p.parsed.src]; !isField && c.p.param(p.parsed.src) == kindNone {
			p.either = p.parsed.src
			p.parsed = nil
		}
	}
	return pieces
}

// formatNumber writes v for people: about three digits, no zeros after them.
func formatNumber(v float64, decimals int) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "?"
	}
	if decimals >= 0 {
		return strconv.FormatFloat(v, 'f', decimals, 64)
	}
	a := math.Abs(v)
	switch {
	case a >= 1e15:
		return strconv.FormatFloat(v, 'g', 6, 64)
	case a >= 1000:
		decimals = 0
	case a >= 10:
		decimals = 1
	default:
		decimals = 2
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" {
		return "0"
	}
	return s
}

// clipText bounds a text that people see.
func clipText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
