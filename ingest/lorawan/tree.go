package lorawan

import (
	"maps"
	"slices"

	"panormus/ingest/codec"
)

// tree is a decoded JSON object as package codec has them, its members in order of name.
func tree(m map[string]any) *codec.Object {
	o := &codec.Object{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		o.Keys, o.Values = append(o.Keys, k), append(o.Values, branch(m[k]))
	}
	return o
}

func branch(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return tree(v)
	case []any:
		for i := range v {
			v[i] = branch(v[i])
		}
		return v
	}
	return v
}
