package api

import (
	"bytes"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2/yaml"

	"panormus/controlroom/api/openapi"
)

// interfaceVersion is that of the API, apart from the program's: the second number grows when something
// is added, the first when something that was there is no longer so.
const interfaceVersion = "1.1.0"

// description serves the description of the API as OpenAPI 3.1, and as 3.0 for what cannot read it.
func (a *api) description() {
	about := openapi.About{Version: interfaceVersion, Release: a.Version, Contact: a.Contact, Terms: a.Terms}
	newer, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		panic("BUG: a description that JSON cannot say: " + err.Error())
	}
	older, err := a.huma.OpenAPI().Downgrade()
	if err != nil {
		panic("BUG: a description that JSON cannot say: " + err.Error())
	}
	for name, b := range map[string][]byte{"/openapi": newer, "/openapi-3.0": older} {
		var doc map[string]any
		if err := json.Unmarshal(b, &doc); err != nil {
			panic("BUG: a description that is no JSON: " + err.Error())
		}
		openapi.Finish(doc, about)
		if b, err = json.Marshal(doc); err != nil {
			panic("BUG: a description that JSON cannot say: " + err.Error())
		}
		a.kept["GET "+name+".json"] = true
		a.mux.HandleFunc("GET "+name+".json", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/openapi+json")
			_, _ = w.Write(at(b, r))
		})
		a.mux.HandleFunc("GET "+name+".yaml", func(w http.ResponseWriter, r *http.Request) {
			var out bytes.Buffer
			if err := yaml.Convert(&out, bytes.NewReader(at(b, r))); err != nil {
				panic("BUG: a description that YAML cannot say: " + err.Error())
			}
			w.Header().Set("Content-Type", "application/openapi+yaml")
			_, _ = w.Write(out.Bytes())
		})
	}
}

// at is a description with the address that it was asked at, which the guard found to be ours.
func at(doc []byte, r *http.Request) []byte {
	server := map[string]any{"url": "https://" + r.Host, "description": "This control room"}
	if r.TLS == nil {
		server["url"], server["description"], server["x-sandbox"] = "http://"+r.Host, "This control room, on one machine and without TLS", true
	}
	b, err := json.Marshal([]any{server})
	if err != nil {
		panic("BUG: an address that JSON cannot say: " + err.Error())
	}
	return append(append(append([]byte(`{"servers":`), b...), ','), doc[1:]...)
}
