// Package openapi finishes the description of the API that the library makes from our types: what the
// Italian guidelines on interoperability (ModI) and their checker ask of a description, and what a client
// wants to know and no Go type says. It works on the document as JSON, so that the one of OpenAPI 3.1 and
// the one of 3.0 are finished alike.
//
// Bounds are told for every value. Those that a type or a tag gives are enforced; the others are what
// nothing of ours can pass: no text or list of a request is longer than the longest body that is read, no
// number beyond what JSON's readers keep exactly.
package openapi

import (
	"maps"
	"slices"
	"strings"
)

// An About is what a description says of the API as a whole.
type About struct {
	Version string // of the interface, semantic
	Release string // of the program
	Contact Contact
	// Terms is the address of the terms of service; empty: where the licence of the program is.
	Terms string
}

// A Contact is whom to ask about an API.
type Contact struct {
	Name  string `yaml:"name" json:"name"`
	URL   string `yaml:"url" json:"url"`
	Email string `yaml:"email" json:"email"`
}

// home is where the program comes from: whom to ask where a city gave no contact.
const (
	home    = "https://github.com/panormus/panormus"
	licence = "https://joinup.ec.europa.eu/licence/european-union-public-licence-version-12-eupl"
)

// tags are the groups of operations.
var tags = map[string]string{
	"access":    "Who may use the control room, and how they say who they are",
	"alarms":    "What operators have to answer, and what they did",
	"cameras":   "Figures of video analytics: counts, occupancy, heat maps and tracks",
	"history":   "What was measured and what happened, from the database",
	"ingest":    "What could not be decoded",
	"live":      "The city as it is now",
	"notify":    "Who is told of events, by what way",
	"operation": "How the process does",
	"privacy":   "Purposes of processing, the audit log, and plates",
	"radio":     "Gateways and radio links of LoRaWAN",
	"registry":  "Devices, profiles and zones",
	"rules":     "The rules that raise events",
}

// Finish makes doc, a description as JSON reads it, whole.
func Finish(doc map[string]any, about About) {
	info(doc, about)
	security(doc)
	used := map[string]bool{}
	for _, item := range object(doc, "paths") {
		item := item.(map[string]any)
		get, _ := item["get"].(map[string]any)
		kept := get != nil && get[Kept] != nil
		for method, op := range item {
			operation(op.(map[string]any), used)
			if kept {
				conditional(method, op.(map[string]any))
			}
		}
	}
	var list []any
	for _, name := range slices.Sorted(maps.Keys(used)) {
		tag := map[string]any{"name": name}
		if text := tags[name]; text != "" {
			tag["description"] = text
		}
		list = append(list, tag)
	}
	doc["tags"] = list
	object(doc, "components")["headers"] = headers()
	prune(doc)
	bound(doc, false)
}

func info(doc map[string]any, about About) {
	contact := map[string]any{}
	for key, v := range map[string]string{"name": about.Contact.Name, "url": about.Contact.URL, "email": about.Contact.Email} {
		if v != "" {
			contact[key] = v
		}
	}
	if len(contact) == 0 {
		contact["name"], contact["url"] = "Panormus", home
	}
	if contact["name"] == nil {
		contact["name"] = "Panormus"
	}
	terms := about.Terms
	if terms == "" {
		terms = licence
	}
	in := object(doc, "info")
	in["version"], in["x-release"] = about.Version, about.Release
	in["contact"], in["termsOfService"] = contact, terms
	in["license"] = map[string]any{"name": "EUPL-1.2", "url": licence}
	in["x-api-id"] = "urn:uuid:1c2a6e0e-52c6-4d0b-9a53-7d1f5f4f2b8a"
	in["x-summary"] = "What the devices and cameras of a city tell, and what the control room does about it"
}

// security says how to tell who one is. The page's sessions are for the page and are not described.
func security(doc map[string]any) {
	object(doc, "components")["securitySchemes"] = map[string]any{
		"token": map[string]any{"type": "http", "scheme": "bearer", "description": "An opaque token of this control room. While every listener is on this machine and no users are there, none is asked for."},
		"basic": map[string]any{"type": "http", "scheme": "basic", "description": "A token's name and the token, or a user's name and password, for programs that know nothing else."},
	}
	doc["security"] = []any{map[string]any{"token": []any{}}, map[string]any{"basic": []any{}}}
}

// object is the object at a key, made where there is none.
func object(in map[string]any, key string) map[string]any {
	m, ok := in[key].(map[string]any)
	if !ok {
		m = map[string]any{}
		in[key] = m
	}
	return m
}

// prune drops schemas that nothing refers to.
func prune(doc map[string]any) {
	schemas := object(object(doc, "components"), "schemas")
	reached := map[string]bool{}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); ok && !reached[name] {
					reached[name] = true
					walk(schemas[name])
				}
			}
			for _, e := range v {
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(doc["paths"])
	for name := range schemas {
		if !reached[name] {
			delete(schemas, name)
		}
	}
}
