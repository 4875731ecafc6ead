package openapi

import (
	"math"
	"slices"
)

// The bounds of what has none of its own.
const (
	safe     = 1<<53 - 1 // greatest whole number that every reader of JSON keeps
	longest  = 64 << 20  // of a text or list, in characters or items: the longest body that is read
	pageSize = 1000      // of a list that pages
)

// formats have a length of their own.
var formats = map[string]int{"date-time": 40, "date": 10, "uuid": 36, "uri": 2048, "email": 254, "ipv4": 15, "ipv6": 45}

// patterns and lengths of texts, by the name of the property or parameter that holds them.
var named = map[string]struct {
	longest int
	pattern string
}{
	"cursor":   {1024, "^[A-Za-z0-9_.:-]*$"},
	"next":     {1024, "^[A-Za-z0-9_.:-]*$"},
	"type":     {2048, "^[!-~]*$"},
	"instance": {64 << 10, "^/[!-~]*$"},
	"metric":   {256, `^[^\n\r]*$`},
	"unit":     {256, `^[^\n\r]*$`},
}

// bound walks v, a part of a description, and gives every schema in it the bounds that it has not got.
// paged says that v is a property of a list that pages.
func bound(v any, paged bool) {
	switch v := v.(type) {
	case map[string]any:
		schema(v, paged)
		properties, _ := v["properties"].(map[string]any)
		for name, p := range properties {
			if p, ok := p.(map[string]any); ok {
				byName(p, name)
			}
			bound(p, properties["next"] != nil)
		}
		if s, ok := v["schema"].(map[string]any); ok {
			if name, ok := v["name"].(string); ok {
				byName(s, name)
			}
		}
		for key, e := range v {
			switch key {
			case "properties", "example", "examples", "default", "enum", "required":
			default:
				bound(e, false)
			}
		}
	case []any:
		for _, e := range v {
			bound(e, false)
		}
	}
}

// byName gives a text the bounds of its name.
func byName(s map[string]any, name string) {
	n, ok := named[name]
	if !ok || !is(s, "string") || s["enum"] != nil || s["format"] != nil {
		return
	}
	set(s, "maxLength", n.longest)
	set(s, "pattern", n.pattern)
}

func schema(s map[string]any, paged bool) {
	// 3.0 lets nothing stand beside a reference.
	if r, ok := s["$ref"]; ok && len(s) > 1 {
		delete(s, "$ref")
		s["allOf"] = []any{map[string]any{"$ref": r}}
		return
	}
	switch {
	case is(s, "string"):
		delete(s, "contentMediaType") // the media type of the answer says it, and 3.0 does not know the word
		if s["enum"] != nil {
			return
		}
		format, _ := s["format"].(string)
		if n, ok := formats[format]; ok {
			set(s, "maxLength", n)
		}
		set(s, "maxLength", longest)
	case is(s, "integer"):
		if f := s["format"]; f != "int32" {
			s["format"] = "int64"
		}
		low, high := float64(-safe), float64(safe)
		if s["format"] == "int32" {
			low, high = math.MinInt32, math.MaxInt32
		}
		set(s, "minimum", low)
		set(s, "maximum", high)
	case is(s, "number"):
		set(s, "format", "double")
		set(s, "minimum", -math.MaxFloat64)
		set(s, "maximum", math.MaxFloat64)
	case is(s, "array"):
		set(s, "minItems", 0)
		if paged {
			set(s, "maxItems", pageSize)
		}
		set(s, "maxItems", longest)
	case is(s, "object"):
		if more, ok := s["additionalProperties"]; ok && more != false {
			set(s, "maxProperties", longest)
			if more == true {
				s["additionalProperties"] = map[string]any{}
			}
			return
		}
		if s["properties"] != nil || s["allOf"] != nil {
			set(s, "additionalProperties", false)
			return
		}
		s["additionalProperties"] = map[string]any{}
		set(s, "maxProperties", longest)
	}
}

// is reports whether a schema describes values of a type, null among them or not.
func is(s map[string]any, kind string) bool {
	return s["type"] == kind || slices.Contains(list(s["type"]), any(kind))
}

func set(s map[string]any, key string, v any) {
	if s[key] == nil {
		s[key] = v
	}
}
