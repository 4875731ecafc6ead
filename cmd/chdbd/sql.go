package main

import (
	"encoding/binary"
	"strings"
)

// A token is a piece of SQL: a word, a quoted text or name, or one mark.
type token struct {
	text       string
	start, end int
	depth      int // how many parentheses are open around it
}

func (t token) is(keyword string) bool { return strings.EqualFold(t.text, keyword) }

// tokens splits sql, leaving out spaces and comments. It need not understand more of SQL than
// where words are: what a statement may do the engine decides.
func tokens(sql string, limit int) []token {
	var out []token
	depth := 0
	for i := 0; i < len(sql) && len(out) < limit; {
		start := i
		switch c := sql[i]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			i++
			continue
		case strings.HasPrefix(sql[i:], "--") || strings.HasPrefix(sql[i:], "#!") || strings.HasPrefix(sql[i:], "# "):
			if n := strings.IndexByte(sql[i:], '\n'); n >= 0 {
				i += n + 1
			} else {
				i = len(sql)
			}
			continue
		case strings.HasPrefix(sql[i:], "/*"):
			if n := strings.Index(sql[i+2:], "*/"); n >= 0 {
				i += n + 4
			} else {
				i = len(sql)
			}
			continue
		case c == '\'' || c == '"' || c == '`':
			for i++; i < len(sql) && sql[i] != c; i++ {
				if sql[i] == '\\' {
					i++
				}
			}
			i = min(i+1, len(sql))
		case wordByte(c):
			for i < len(sql) && wordByte(sql[i]) {
				i++
			}
		default:
			i++
			if c == ')' {
				depth--
			}
		}
		out = append(out, token{text: sql[start:i], start: start, end: i, depth: depth})
		if sql[start] == '(' {
			depth++
		}
	}
	return out
}

func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c >= 0x80
}

// An insertion is an INSERT whose rows come as data.
type insertion struct {
	sql    string // without FORMAT and data
	format string // "" where the statement names none
	inline string // data that follows the statement in the same text
}

// parseInsert takes apart an INSERT with data; false for any other statement, INSERT … SELECT
// among them.
func parseInsert(sql string) (insertion, bool) {
	t := tokens(sql, 8192)
	if len(t) == 0 || !t[0].is("INSERT") {
		return insertion{}, false
	}
	for i, k := range t {
		if k.depth != 0 {
			continue
		}
		switch {
		case k.is("SELECT") || k.is("WITH") || k.is("INFILE"):
			return insertion{}, false
		case k.is("VALUES"):
			return insertion{sql: sql[:k.start], format: "Values", inline: sql[k.end:]}, true
		case k.is("FORMAT") && i+1 < len(t) && wordByte(t[i+1].text[0]):
			data := sql[t[i+1].end:]
			// The data begins after the first line end, or after the spaces of the line.
			data = strings.TrimLeft(data, " \t\r")
			return insertion{sql: sql[:k.start], format: t[i+1].text, inline: strings.TrimPrefix(data, "\n")}, true
		}
	}
	return insertion{sql: strings.TrimRight(strings.TrimSpace(sql), ";")}, true
}

// formatOf returns the format that sql asks for in its last clauses, or otherwise.
func formatOf(sql, otherwise string) string {
	t := tokens(sql, 1<<20)
	for i := len(t) - 2; i >= 0; i-- {
		if t[i].depth != 0 || !t[i].is("FORMAT") || !wordByte(t[i+1].text[0]) {
			continue
		}
		if i+2 == len(t) || t[i+2].text == ";" || t[i+2].is("SETTINGS") {
			return t[i+1].text
		}
	}
	return otherwise
}

// header says how a format begins, so that the pieces of a stream, each with a header of its own,
// make one document: it returns the header's length in a piece. Formats that are not in the table
// cannot be put together from pieces.
func headerOf(format string) (length func(piece []byte) int, streams bool) {
	none := func([]byte) int { return 0 }
	switch strings.ToLower(format) {
	case "native", "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv", "jsoneachrow", "jsonlines", "ndjson", "jsonl",
		"jsoncompacteachrow", "jsonstringseachrow", "rowbinary", "tskv", "lineasstring", "rawblob", "values", "null":
		return none, true
	case "tabseparatedwithnames", "tsvwithnames", "tabseparatedrawwithnames", "tsvrawwithnames", "jsoncompacteachrowwithnames",
		"jsoncompactstringseachrowwithnames":
		return func(p []byte) int { return linesEnd(p, 1, false) }, true
	case "tabseparatedwithnamesandtypes", "tsvwithnamesandtypes", "tabseparatedrawwithnamesandtypes", "tsvrawwithnamesandtypes",
		"jsoncompacteachrowwithnamesandtypes", "jsoncompactstringseachrowwithnamesandtypes":
		return func(p []byte) int { return linesEnd(p, 2, false) }, true
	case "csvwithnames":
		return func(p []byte) int { return linesEnd(p, 1, true) }, true
	case "csvwithnamesandtypes":
		return func(p []byte) int { return linesEnd(p, 2, true) }, true
	case "rowbinarywithnames":
		return func(p []byte) int { return stringsEnd(p, 1) }, true
	case "rowbinarywithnamesandtypes":
		return func(p []byte) int { return stringsEnd(p, 2) }, true
	}
	return none, false
}

// linesEnd is where n lines of p end; in CSV a quoted name may hold a line end.
func linesEnd(p []byte, n int, csv bool) int {
	quoted := false
	for i, c := range p {
		switch {
		case c == '"' && csv:
			quoted = !quoted
		case c == '\n' && !quoted:
			if n--; n == 0 {
				return i + 1
			}
		}
	}
	return len(p)
}

// stringsEnd is where a count and then n times so many strings end.
func stringsEnd(p []byte, n int) int {
	count, i := binary.Uvarint(p)
	if i <= 0 {
		return len(p)
	}
	for range count * uint64(n) {
		size, k := binary.Uvarint(p[i:])
		if k <= 0 || size > uint64(len(p)-i-k) {
			return len(p)
		}
		i += k + int(size)
	}
	return i
}
