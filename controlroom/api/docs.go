package api

import (
	_ "embed"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsHTML []byte

//go:embed docs.js
var docsJS []byte

//go:embed docs.css
var docsCSS []byte

// docs serves a page that renders /openapi.json, from this server alone.
func (a *api) docs() {
	for path, file := range map[string]struct {
		media string
		body  []byte
	}{
		"/docs": {"text/html; charset=utf-8", docsHTML}, "/docs/docs.js": {"text/javascript; charset=utf-8", docsJS},
		"/docs/docs.css": {"text/css; charset=utf-8", docsCSS},
	} {
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h.Set("Content-Type", file.media)
			h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			_, _ = w.Write(file.body)
		})
	}
}

// describe puts right what the library cannot see in types that write themselves as JSON.
func (a *api) describe() {
	all := a.huma.OpenAPI().Components.Schemas.Map()
	set := func(name, property string, to *huma.Schema) {
		was := all[name].Properties[property]
		if was == nil {
			panic("BUG: no property " + property + " in schema " + name)
		}
		all[name].Properties[property] = to
	}
	when := func() *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-01-31T12:00:00.000Z"}}
	}
	perhaps := func(s *huma.Schema) *huma.Schema { s.Nullable = true; return s }
	set("Profile", "expected_period", &huma.Schema{Type: huma.TypeString, Examples: []any{"15m"}})
	set("Profile", "codec", &huma.Schema{Description: "JavaScript source, \"cayenne_lpp\" or {\"layout\":[…]}"})
	set("Event", "context", &huma.Schema{Type: huma.TypeObject, Description: "values and thresholds that decided", AdditionalProperties: true})
	set("Event", "time", when())
	set("Event", "received", when())
	set("Item", "seen", perhaps(when()))
	set("Item", "alarm", perhaps(&huma.Schema{Type: huma.TypeString, Enum: []any{"info", "warning", "major", "critical", nil}}))
	set("Alarm", "raised", when())
	set("Alarm", "cleared", perhaps(when()))
	all["Device"].Properties["secret"].WriteOnly = true
	for _, key := range []string{"nwk_s_key", "app_s_key", "f_nwk_s_int_key", "s_nwk_s_int_key", "nwk_s_enc_key"} {
		all["LoRaWAN"].Properties[key].WriteOnly = true
	}
}
