package main

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// An exception is what the engine answers for a statement it does not carry out.
type exception struct {
	code int
	text string // "Code: 60. DB::Exception: …"
}

func (e *exception) Error() string { return e.text }

var codePattern = regexp.MustCompile(`Code: (\d+)\. `)

func parseException(msg string) *exception {
	e := &exception{code: 1002, text: strings.TrimRight(msg, "\n")} // 1002: UNKNOWN_EXCEPTION
	if m := codePattern.FindStringSubmatchIndex(msg); m != nil {
		e.code, _ = strconv.Atoi(msg[m[2]:m[3]])
		e.text = strings.TrimRight(msg[m[0]:], "\n")
	} else {
		e.text = "Code: 1002. DB::Exception: " + e.text
	}
	return e
}

// status is the HTTP status that servers give the exception.
func (e *exception) status() int {
	switch e.code {
	case 62, 47, 6, 36, 115, 117, 386, 456: // syntax, unknown names, what cannot be parsed, bad arguments
		return http.StatusBadRequest
	case 60, 81: // no such table, no such database
		return http.StatusNotFound
	case 202: // too many at once
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
