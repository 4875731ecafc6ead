package codec

import (
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// An Object is a decoded object with its members in the order the script gave them. A member is nil
// (null), bool, float64, string, *Object or []any.
type Object struct {
	Keys   []string
	Values []any
}

// Get returns the member called key.
func (o *Object) Get(key string) (any, bool) {
	if o == nil {
		return nil, false
	}
	for i, k := range o.Keys {
		if k == key {
			return o.Values[i], true
		}
	}
	return nil, false
}

// Set adds a member or replaces it.
func (o *Object) Set(key string, v any) {
	for i, k := range o.Keys {
		if k == key {
			o.Values[i] = v
			return
		}
	}
	o.Keys, o.Values = append(o.Keys, key), append(o.Values, v)
}

// A flattener appends the values of a tree under names joined with _.
type flattener struct {
	out  *Result
	vals []Value
	path []byte
	seen map[string]struct{}
	// names keeps the names of earlier results, so that each is made once; nil where nothing does.
	names *map[string]string
}

// flatten appends the members of o to into as the contract says: a number is a value, a boolean 0
// or 1, a string a text, members of objects and elements of arrays get their parent's name and _;
// null is skipped, and so, with a warning to out, is what has no number.
func flatten(o *Object, into []Value, out *Result) ([]Value, error) {
	f := flattener{out: out, vals: into, path: make([]byte, 0, MaxName)}
	for i, k := range o.Keys {
		f.path = append(f.path[:0], k...)
		if err := f.add(o.Values[i]); err != nil {
			return into, err
		}
	}
	return f.vals, nil
}

func (f *flattener) add(v any) error {
	switch v := v.(type) {
	case nil, absent:
		return nil
	case bool:
		n := 0.0
		if v {
			n = 1
		}
		return f.put(n, "")
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			f.out.warnf("%s is %v and was left out", f.path, v)
			return nil
		}
		return f.put(v, "")
	case string:
		return f.put(math.NaN(), v)
	case *Object:
		parent := len(f.path)
		for i, k := range v.Keys {
			f.path = append(append(f.path[:parent], '_'), k...)
			if err := f.add(v.Values[i]); err != nil {
				return err
			}
		}
		f.path = f.path[:parent]
	case []any:
		parent := len(f.path)
		for i, e := range v {
			f.path = strconv.AppendInt(append(f.path[:parent], '_'), int64(i), 10)
			if err := f.add(e); err != nil {
				return err
			}
		}
		f.path = f.path[:parent]
	}
	return nil
}

func (f *flattener) put(number float64, text string) error {
	if len(f.path) == 0 || len(f.path) > MaxName {
		return errorf(ReasonOutput, "metric name %.64q of %d bytes, want 1 to %d", f.path, len(f.path), MaxName)
	}
	name := f.name()
	if len(f.vals) >= MaxValues {
		return errorf(ReasonOutput, "metric %q is number %d, want at most %d", name, MaxValues+1, MaxValues)
	}
	if f.twice(name) {
		f.out.warnf("%s comes twice, the first counts", name)
		return nil
	}
	if len(text) > MaxText {
		f.out.warnf("%s was cut from %d to %d bytes", name, len(text), MaxText)
		text = text[:MaxText]
		for len(text) > 0 && !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	f.vals = append(f.vals, Value{Name: name, Number: number, Text: text})
	return nil
}

// maxNames bounds the names a flattener keeps.
const maxNames = 2 * MaxValues

func (f *flattener) name() string {
	if f.names == nil {
		return metricName(f.path)
	}
	if name, ok := (*f.names)[string(f.path)]; ok {
		return name
	}
	name := metricName(f.path)
	if *f.names == nil {
		*f.names = map[string]string{}
	}
	if len(*f.names) < maxNames {
		(*f.names)[string(f.path)] = name
	}
	return name
}

// few is up to how many names comparing each with each is faster than a set.
const few = 16

func (f *flattener) twice(name string) bool {
	if len(f.vals) < few {
		for i := range f.vals {
			if f.vals[i].Name == name {
				return true
			}
		}
		return false
	}
	if f.seen == nil {
		f.seen = make(map[string]struct{}, MaxValues)
		for i := range f.vals {
			f.seen[f.vals[i].Name] = struct{}{}
		}
	}
	_, twice := f.seen[name]
	f.seen[name] = struct{}{}
	return twice
}

// metricName is name as it is kept: spaces and control characters become underscores.
func metricName(name []byte) string {
	clean := utf8.Valid(name)
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			clean = false
		}
	}
	if clean {
		return string(name)
	}
	out := make([]byte, 0, len(name))
	for _, r := range string(name) {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			r = '_'
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
