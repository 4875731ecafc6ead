package rules

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"unicode/utf8"
)

// FuzzMembers: the members of an object are those that encoding/json finds, and no bytes are too odd.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"values":{"episode":"x","n":[1,{"since":"}"}]}, "episode" : "ab", "correction":3,"chain":["a\"b","c,d"] ,"withdrawn":true}`))
	f.Add([]byte(`{"a\"b":"c\\","d":{}}`))
	f.Add([]byte(`{"open`))
	f.Add([]byte(`{"a":"`))
	f.Add([]byte(`"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []string
		members(data, func(name, value []byte) {
			var v any
			if json.Unmarshal(value, &v) == nil {
				got = append(got, fmt.Sprint(string(name), "=", v))
			}
		})
		var want map[string]any
		if json.Unmarshal(data, &want) != nil || !utf8.Valid(data) {
			return
		}
		for name, v := range want {
			if raw, err := json.Marshal(name); err != nil || string(raw) != `"`+name+`"` {
				continue // names with escapes are none that are asked for
			}
			if line := fmt.Sprint(name, "=", v); !slices.Contains(got, line) {
				t.Errorf("%s: found %q, want %q among them", data, got, line)
			}
		}
	})
}
