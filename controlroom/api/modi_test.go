package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestItalianRules holds both descriptions of the API to what the checker of the Italian guidelines
// (italia/api-oas-checker, the full rules and the further ones on safety) counts as an error or a warning,
// put into words of our own, since the rules are no package that a test could install:
//
//   - OpenAPI 3; title, version by semver, x-summary, x-api-id, a contact, terms of service;
//   - servers say what they are and are https, but for marked sandboxes;
//   - /status is there, answers JSON, and a problem while it is not ready;
//   - paths are lower case with hyphens and name no method; names of headers begin words with a capital;
//   - operations have an id of their own that names no method, a description, and tags that are described;
//   - GET and DELETE have no body, 204 and 304 answer none, every other answer has one with a schema;
//   - JSON answers are objects; refusals are problem+json whose schema has type, title, status and detail;
//   - no header is described that has a place of its own (Accept, Authorization, Content-Type), none begins
//     with X- but those of the limit of requests;
//   - 2xx, 4xx: all three headers of that limit, of one spelling; 429 and 503: Retry-After too;
//   - 2xx say how they may be kept;
//   - no secret is a parameter; security schemes are no cookies and none known to be weak; what changes
//     something asks for one, and what does not ask for any says so;
//   - numbers have a format and both bounds, texts a longest length (or an enum or format), lists both
//     bounds of their length, objects say whether they may hold more, and how many;
//   - every component is used, every reference leads somewhere and stands alone.
func TestItalianRules(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/openapi.json", "/openapi-3.0.json"} {
		t.Run(path[1:], func(t *testing.T) {
			w := s.ask("GET", path, "")
			faults, err := italian(w.Body.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range faults {
				t.Error(f)
			}
		})
	}
}

// TestItalianRulesFind breaks a description in ways that the rules are to find.
func TestItalianRulesFind(t *testing.T) {
	s := newSite(t, nil)
	whole := s.ask("GET", "/openapi.json", "").Body.String()
	for _, tc := range []struct{ from, to, want string }{
		{`"version":"1.`, `"version":"v1.`, "semver"},
		{`"x-summary"`, `"x-gone"`, "x-summary"},
		{`"x-sandbox":true`, `"x-sandbox":false`, "https"},
		{`"/status":`, `"/health":`, "/status"},
		{`"/api/v1/rule-stats":`, `"/api/v1/ruleStats":`, "ruleStats"},
		{`"operationId":"devices-read"`, `"operationId":"get-devices"`, "get-devices"},
		{`"X-RateLimit-Reset":`, `"X-Other":`, "X-RateLimit-Reset"},
		{`"Retry-After":`, `"Later":`, "Retry-After"},
		{`"application/problem+json"`, `"application/json"`, "problem+json"},
		{`"scheme":"basic"`, `"scheme":"negotiate"`, "negotiate"},
		{`"security":[{"token":[]},{"basic":[]}]`, `"security":[]`, "asks for nobody"},
		{`"format":"double"`, `"format":""`, "no format"},
		{`"maxLength":67108864,`, `"title":"",`, "maxLength"},
		{`"maxItems":1000,`, `"title":"",`, "maxItems"},
		{`"additionalProperties":false`, `"title":""`, "additionalProperties"},
		{`"#/components/schemas/Problem"`, `"#/components/schemas/Nothing"`, "leads nowhere"},
	} {
		if !strings.Contains(whole, tc.from) {
			t.Errorf("the description has no %s", tc.from)
			continue
		}
		faults, err := italian([]byte(strings.ReplaceAll(whole, tc.from, tc.to)))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, tc.want) }) {
			t.Errorf("%s for %s: found %q, want one of %s", tc.to, tc.from, faults[:min(3, len(faults))], tc.want)
		}
	}
}

type node = map[string]any

// checked is a description under test.
type checked struct {
	root   node
	faults []string
	used   map[string]bool // references
}

func (d *checked) fault(at, format string, a ...any) {
	d.faults = append(d.faults, at+": "+fmt.Sprintf(format, a...))
}

func (d *checked) want(ok bool, at, format string, a ...any) {
	if !ok {
		d.fault(at, format, a...)
	}
}

func sub(n node, keys ...string) node {
	for _, k := range keys {
		n, _ = n[k].(node)
	}
	return n
}

// italian returns what a description does against the rules.
func italian(b []byte) ([]string, error) {
	d := &checked{used: map[string]bool{}}
	if err := json.Unmarshal(b, &d.root); err != nil {
		return nil, err
	}
	d.about()
	ids := map[string]bool{}
	for path, item := range sub(d.root, "paths") {
		d.want(kebab.MatchString(path), path, "want lower case with hyphens")
		d.want(!regexp.MustCompile(`/(get|post|put|delete|patch|create|remove|list)[/_-]`).MatchString(path+"/"), path, "names a method")
		for method, op := range item.(node) {
			d.operation(method, path, op.(node), ids)
		}
	}
	d.schemas(d.root, "")
	for kind, all := range sub(d.root, "components") {
		for name := range all.(node) {
			d.want(kind == "securitySchemes" || d.used["#/components/"+kind+"/"+name], name, "nothing uses this of %s", kind)
		}
	}
	slices.Sort(d.faults)
	return d.faults, nil
}

var (
	kebab   = regexp.MustCompile(`^(/[a-z0-9.-]+|/\{[a-zA-Z0-9_]+\})+$`)
	semver  = regexp.MustCompile(`^[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9+.-]+)?$`)
	train   = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(-[A-Z][a-zA-Z0-9]*)*$`)
	methods = regexp.MustCompile(`^(get|post|put|delete|patch|head)`)
	secrets = regexp.MustCompile(`(?i)password|secret|apikey`)
)

func (d *checked) about() {
	info := sub(d.root, "info")
	version, _ := d.root["openapi"].(string)
	d.want(strings.HasPrefix(version, "3."), "openapi", "%q, want 3", version)
	version, _ = info["version"].(string)
	d.want(semver.MatchString(version), "info.version", "%q, want semver", version)
	for _, key := range []string{"title", "description", "x-summary", "x-api-id", "termsOfService"} {
		d.want(info[key] != nil && info[key] != "", "info", "no %s", key)
	}
	contact := sub(info, "contact")
	d.want(contact["name"] != nil && (contact["url"] != nil || contact["email"] != nil), "info.contact", "want a name and an address")
	servers, _ := d.root["servers"].([]any)
	d.want(len(servers) > 0, "servers", "none")
	for _, s := range servers {
		server := s.(node)
		url, _ := server["url"].(string)
		d.want(strings.HasPrefix(url, "https://") || server["x-sandbox"] == true, "servers", "%s, want https or x-sandbox", url)
		d.want(server["description"] != nil, "servers", "%s has no description", url)
	}
	status := sub(d.root, "paths", "/status", "get", "responses")
	d.want(sub(status, "200", "content", "application/json") != nil && sub(status, "503", "content", "application/problem+json") != nil, "/status", "want JSON with 200 and a problem with 503")
	for name, s := range sub(d.root, "components", "securitySchemes") {
		scheme := s.(node)
		d.want(scheme["type"] != "apiKey" || scheme["in"] == "header", name, "a key in %v", scheme["in"])
		d.want(scheme["scheme"] != "negotiate" && scheme["scheme"] != "oauth", name, "scheme %v is weak", scheme["scheme"])
	}
}

func (d *checked) operation(method, path string, op node, ids map[string]bool) {
	at := method + " " + path
	id, _ := op["operationId"].(string)
	d.want(id != "" && !ids[id] && !methods.MatchString(id), at, "operationId %q, want one of its own that begins with no method", id)
	ids[id] = true
	d.want(op["description"] != nil && op["summary"] != nil, at, "no description or summary")
	known := map[any]bool{}
	all, _ := d.root["tags"].([]any)
	for _, t := range all {
		known[t.(node)["name"]] = t.(node)["description"] != nil
	}
	tags, _ := op["tags"].([]any)
	d.want(len(tags) > 0, at, "no tag")
	for _, tag := range tags {
		d.want(known[tag], at, "tag %v is not described", tag)
	}
	d.want(op["requestBody"] == nil || method != "get" && method != "delete", at, "a body")
	d.want(method != "patch" || op["requestBody"] != nil, at, "no body")
	security, ok := op["security"].([]any)
	if !ok {
		security, _ = d.root["security"].([]any)
	}
	d.want(len(security) > 0, at, "asks for nobody and does not say so")
	parameters, _ := op["parameters"].([]any)
	for _, p := range parameters {
		param := p.(node)
		name, _ := param["name"].(string)
		d.want(!secrets.MatchString(name), at, "parameter %s is a secret", name)
		if param["in"] == "header" {
			d.header(at, name)
		}
	}
	for status, r := range sub(op, "responses") {
		d.answer(at+" "+status, status, r.(node))
	}
	d.want(sub(op, "responses", "429") != nil, at, "no answer 429")
}

func (d *checked) header(at, name string) {
	d.want(train.MatchString(name), at, "header %s, want words with capitals", name)
	d.want(!strings.HasPrefix(name, "X-") || strings.HasPrefix(name, "X-RateLimit-"), at, "header %s begins with X-", name)
	d.want(!slices.Contains([]string{"accept", "authorization", "content-type"}, strings.ToLower(name)), at, "header %s has a place of its own", name)
}

func (d *checked) answer(at, status string, r node) {
	headers, content := sub(r, "headers"), sub(r, "content")
	for name := range headers {
		d.header(at, name)
	}
	if status[0] == '2' || status[0] == '4' {
		for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
			d.want(headers[name] != nil, at, "no header %s", name)
		}
	}
	d.want(headers["Retry-After"] != nil || status != "429" && status != "503", at, "no header Retry-After")
	d.want(headers["Cache-Control"] != nil || status[0] != '2', at, "no header Cache-Control")
	if status == "204" || status == "304" {
		d.want(content == nil, at, "a body")
		return
	}
	d.want(len(content) > 0, at, "no body")
	for media, m := range content {
		schema := d.resolved(sub(m.(node), "schema"))
		d.want(schema != nil, at, "%s has no schema", media)
		if strings.HasSuffix(media, "json") {
			d.want(schema["type"] == "object" || schema["allOf"] != nil, at, "%s is a %v, want an object", media, schema["type"])
		}
		if status >= "4" {
			d.want(media == "application/problem+json", at, "%s, want application/problem+json", media)
			for _, name := range []string{"type", "title", "status", "detail"} {
				d.want(sub(schema, "properties")[name] != nil, at, "the schema has no %s", name)
			}
		}
	}
}

// resolved follows a reference.
func (d *checked) resolved(n node) node {
	ref, ok := n["$ref"].(string)
	if !ok {
		return n
	}
	return sub(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
}

// schemas looks at everything with a type, wherever it is.
func (d *checked) schemas(v any, at string) {
	if l, ok := v.([]any); ok {
		for i, e := range l {
			d.schemas(e, fmt.Sprintf("%s.%d", at, i))
		}
	}
	n, ok := v.(node)
	if !ok {
		return
	}
	if ref, ok := n["$ref"].(string); ok {
		d.want(len(n) == 1, at, "a reference with others beside it")
		d.want(d.resolved(n) != nil, at, "%s leads nowhere", ref)
		d.used[ref] = true
	}
	has := func(keys ...string) {
		for _, k := range keys {
			d.want(n[k] != nil, at, "%v without %s", n["type"], k)
		}
	}
	kinds, ok := n["type"].([]any)
	if version, _ := d.root["openapi"].(string); strings.HasPrefix(version, "3.0") {
		d.want(!ok && n["contentMediaType"] == nil && n["examples"] == nil, at, "says what 3.0 cannot: %v", n)
	}
	if !ok {
		kinds = []any{n["type"]}
	}
	switch {
	case slices.Contains(kinds, any("string")):
		if n["enum"] == nil && n["format"] == nil {
			has("maxLength")
		}
	case slices.Contains(kinds, any("integer")):
		d.want(n["format"] == "int32" || n["format"] == "int64", at, "no format of whole numbers")
		has("minimum", "maximum")
	case slices.Contains(kinds, any("number")):
		d.want(n["format"] == "double" || n["format"] == "float", at, "no format of numbers")
		has("minimum", "maximum")
	case slices.Contains(kinds, any("array")):
		has("minItems", "maxItems", "items")
	case slices.Contains(kinds, any("object")):
		has("additionalProperties")
		if n["additionalProperties"] != false {
			has("maxProperties")
			d.want(n["additionalProperties"] != true, at, "holds anything")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		if key != "properties" && key != "example" && key != "examples" && key != "default" {
			d.schemas(n[key], at+"."+key)
		}
	}
	for name, p := range sub(n, "properties") {
		d.schemas(p, at+"."+name)
	}
}
