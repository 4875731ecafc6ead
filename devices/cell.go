package devices

import (
	"strconv"
	"strings"
)

// Cell is a text as a cell of a CSV file: a spreadsheet that opens the file must not compute what a device or a
// stranger wrote, so an apostrophe goes before what it would take for a formula. Numbers stay as they are.
func Cell(s string) string {
	if formula(s) {
		return "'" + s
	}
	return s
}

// uncell is the text that Cell made a cell of.
func uncell(s string) string {
	if rest, ok := strings.CutPrefix(s, "'"); ok && formula(rest) {
		return rest
	}
	return s
}

// formula reports whether a spreadsheet takes s for one, or Cell's apostrophe would be taken for its own.
func formula(s string) bool {
	s = strings.TrimLeft(s, "'")
	if s == "" {
		return false
	}
	switch s[0] {
	case '=', '@', '\t', '\r', '\n':
		return true
	case '+', '-':
		_, err := strconv.ParseFloat(s, 64)
		return err != nil
	}
	return false
}
