// Package plain answers with pages that need no framework: a form, its words in one language, and nothing
// from elsewhere.
package plain

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"html/template"
	"net/http"
)

// Nonce is a new one, for the style and the script of one answer.
func Nonce() string {
	var n [16]byte
	_, _ = rand.Read(n[:]) // it never fails
	return base64.StdEncoding.EncodeToString(n[:])
}

// Write answers with page made of view, whose words are in lang. allow is what the browser may run and
// show, as directives of a Content-Security-Policy: all else is refused but a form to this server. A
// page that does not fit its view is a mistake in the program, and panics.
func Write(w http.ResponseWriter, status int, lang, allow string, page *template.Template, view any) {
	var b bytes.Buffer
	if err := page.Execute(&b, view); err != nil {
		panic("BUG: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; "+allow+"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", lang)
	h.Set("Vary", "Accept-Language")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}
