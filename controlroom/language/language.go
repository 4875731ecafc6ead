// Package language knows the languages of the pages that are made here and not in the browser.
package language

import (
	"net/http"
	"strings"
)

// Of is the language that a browser likes best: "it" or "en", Italian where it likes neither.
func Of(r *http.Request) string {
	for _, l := range strings.Split(r.Header.Get("Accept-Language"), ",") {
		l, _, _ = strings.Cut(strings.TrimSpace(strings.ToLower(l)), ";")
		if l, _, _ = strings.Cut(l, "-"); l == "it" || l == "en" {
			return l
		}
	}
	return "it"
}
