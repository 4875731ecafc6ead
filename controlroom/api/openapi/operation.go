package openapi

import (
	"slices"
	"strings"
)

// Names of the headers that are described, among the components.
const headerRef = "#/components/headers/"

func ref(name string) map[string]any { return map[string]any{"$ref": headerRef + name} }

func headers() map[string]any {
	count := func(description string) map[string]any {
		return map[string]any{"description": description, "schema": map[string]any{"type": "integer", "format": "int64", "minimum": 0, "maximum": safe}}
	}
	text := func(description string, longest int) map[string]any {
		return map[string]any{"description": description, "schema": map[string]any{"type": "string", "maxLength": longest, "pattern": "^[ -~]*$"}}
	}
	return map[string]any{
		"RateLimitLimit":     count("How many requests a minute are let in"),
		"RateLimitRemaining": count("How many of them are left now"),
		"RateLimitReset":     count("Seconds until all of them are there again; in a 429, until one is"),
		"RetryAfter":         count("Seconds to wait before asking again"),
		"ETag":               text("Names this state of what was asked for; as If-None-Match it asks for a newer one, as If-Match it changes no other", 64),
		"CacheControl":       text("no-store where nothing may be kept; private, no-cache where an ETag says whether what was kept is still good", 64),
	}
}

// limited are the headers of every answer that the limit of requests counts.
func limited() map[string]any {
	return map[string]any{"X-RateLimit-Limit": ref("RateLimitLimit"), "X-RateLimit-Remaining": ref("RateLimitRemaining"), "X-RateLimit-Reset": ref("RateLimitReset")}
}

// operation finishes one operation and notes its tags.
func operation(op map[string]any, used map[string]bool) {
	for _, t := range list(op["tags"]) {
		used[t.(string)] = true
	}
	if op["description"] == nil {
		op["description"] = op["summary"]
	}
	if p, ok := op["x-permission"].(string); ok {
		op["description"] = strings.TrimSuffix(op["description"].(string), ".") + ". It needs the permission " + p + "."
	}
	// What a body is made of is said by its media types, and so is what is accepted.
	op["parameters"] = slices.DeleteFunc(list(op["parameters"]), func(p any) bool {
		name, _ := p.(map[string]any)["name"].(string)
		return name == "Accept" || name == "Content-Type"
	})
	if len(list(op["parameters"])) == 0 {
		delete(op, "parameters")
	}
	if body, ok := op["requestBody"].(map[string]any); ok {
		delete(object(body, "content"), "application/octet-stream")
	}
	responses := object(op, "responses")
	problem := problemOf(responses)
	if problem != nil && responses["429"] == nil {
		responses["429"] = map[string]any{"description": "Too Many Requests", "content": problem}
	}
	for status, r := range responses {
		answer(status, r.(map[string]any))
	}
}

// Kept marks operations whose answers have an ETag.
const Kept = "x-kept"

// conditional describes what an operation does with ETags: get with those of what was kept, put and delete
// with those of what is to be changed.
func conditional(method string, op map[string]any) {
	header := func(name, description string) {
		op["parameters"] = append(list(op["parameters"]), map[string]any{"name": name, "in": "header", "description": description,
			"schema": map[string]any{"type": "string", "maxLength": 8 << 10, "pattern": "^[ -~]*$"}})
	}
	responses := object(op, "responses")
	tagged := func(status string) {
		if r, ok := responses[status].(map[string]any); ok {
			object(r, "headers")["ETag"] = ref("ETag")
		}
	}
	switch method {
	case "get":
		delete(op, Kept)
		header("If-None-Match", "ETags of what was kept: 304 where one of them is still good")
		responses["304"] = map[string]any{"description": "Not Modified"}
		answer("304", object(responses, "304"))
		tagged("200")
		tagged("304")
	case "put", "delete":
		header("If-Match", "ETag of the state that is to be changed; * for any. Another one is refused with 412")
		if method == "put" {
			header("If-None-Match", "* where nothing is to be there yet; else 412")
		}
		responses["412"] = map[string]any{"description": "Precondition Failed", "content": problemOf(responses)}
		answer("412", object(responses, "412"))
		tagged("200")
		tagged("412")
	}
}

// problemOf is the content of the refusals of an operation.
func problemOf(responses map[string]any) any {
	for _, status := range []string{"500", "default", "422"} {
		if r, ok := responses[status].(map[string]any); ok {
			return r["content"]
		}
	}
	return nil
}

func answer(status string, r map[string]any) {
	all := object(r, "headers")
	delete(all, "Content-Type")
	for name, h := range limited() {
		all[name] = h
	}
	switch status {
	case "429", "503":
		all["Retry-After"] = ref("RetryAfter")
	}
	if status[0] == '2' && all["Cache-Control"] == nil {
		all["Cache-Control"] = ref("CacheControl")
	}
	if status == "204" || status == "304" {
		delete(r, "content")
	}
}

func list(v any) []any {
	l, _ := v.([]any)
	return l
}
