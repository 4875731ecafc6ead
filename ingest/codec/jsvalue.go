package codec

import (
	"encoding/json"
	"math"
	"math/big"
	"reflect"
	"strconv"
	"time"

	"github.com/dop251/goja"
)

// maxResultText bounds the text of a result, all of it together.
const maxResultText = 64 << 10

// A reader turns a script's value into a tree within bounds. It may call getters of the script.
type reader struct {
	r     *jsRuntime
	out   *Result
	nodes int
	text  int
}

// object reads v, which must be an object and no array.
func (x *reader) object(v goja.Value, what string) (*Object, error) {
	t, err := x.tree(v, 0)
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case *Object:
		return t, nil
	case nil:
		return &Object{}, nil
	case []any:
		o := &Object{}
		for i, e := range t {
			o.Keys, o.Values = append(o.Keys, strconv.Itoa(i)), append(o.Values, e)
		}
		return o, nil
	}
	return nil, errorf(ReasonOutput, "%s is %.40q, want an object", what, v.String())
}

// flat appends the fields of v, which is or is in the data, to f without building a tree of it: the
// names and bounds are the same.
func (x *reader) flat(v goja.Value, f *flattener, depth int) error {
	o, ok := v.(*goja.Object)
	if !ok || depth > 0 && o.ClassName() != "Object" && o.ClassName() != "Array" {
		t, err := x.tree(v, depth)
		if err != nil {
			return err
		}
		if depth > 0 {
			return f.add(t)
		}
		if t != nil {
			return errorf(ReasonOutput, "data is %s, want an object", kindOf(v))
		}
		return nil
	}
	if x.nodes++; depth >= maxDepth {
		return errorf(ReasonOutput, "nested deeper than %d, or in a cycle", maxDepth)
	}
	if t := o.ExportType(); o.ClassName() == "Array" || t != nil && t.Kind() == reflect.Slice {
		t, err := x.array(o, depth)
		if err != nil {
			return err
		}
		if depth > 0 {
			return f.add(t)
		}
		for i, e := range t.([]any) {
			f.path = strconv.AppendInt(f.path[:0], int64(i), 10)
			if err := f.add(e); err != nil {
				return err
			}
		}
		return nil
	}
	keys := o.Keys()
	if len(keys) > maxNodes-x.nodes {
		return errorf(ReasonOutput, "an object of %d members, want at most %d values in all", len(keys), maxNodes)
	}
	parent := len(f.path)
	for _, k := range keys {
		if f.path = f.path[:parent]; depth > 0 {
			f.path = append(f.path, '_')
		}
		if len(k) > MaxName {
			return errorf(ReasonOutput, "metric name %.64q of %d bytes, want at most %d", k, len(k), MaxName)
		}
		f.path = append(f.path, k...)
		if err := x.flat(o.Get(k), f, depth+1); err != nil {
			return err
		}
	}
	f.path = f.path[:parent]
	return nil
}

// absent is what tree returns for what JSON has no word for: undefined, functions, symbols.
type absent struct{}

func (x *reader) tree(v goja.Value, depth int) (any, error) {
	if x.nodes++; x.nodes > maxNodes {
		return nil, errorf(ReasonOutput, "more than %d values", maxNodes)
	}
	o, ok := v.(*goja.Object)
	if !ok {
		return x.scalar(v)
	}
	if depth >= maxDepth {
		return nil, errorf(ReasonOutput, "nested deeper than %d, or in a cycle", maxDepth)
	}
	switch o.ClassName() {
	case "Function":
		return absent{}, nil
	case "Date":
		s := x.r.timeText(o)
		if s == "" || math.IsNaN(o.ToFloat()) {
			return nil, nil
		}
		return s, nil
	case "String":
		return x.scalar(x.r.rt.ToValue(o.String()))
	case "Boolean":
		b, _ := o.Export().(bool)
		return b, nil
	case "Number", "BigInt":
		return x.scalar(o.ToNumber())
	case "Array":
		return x.array(o, depth)
	}
	if t := o.ExportType(); t != nil && t.Kind() == reflect.Slice { // typed arrays
		return x.array(o, depth)
	}
	keys := o.Keys()
	if len(keys) > maxNodes-x.nodes {
		return nil, errorf(ReasonOutput, "an object of %d members, want at most %d values in all", len(keys), maxNodes)
	}
	out := &Object{Keys: make([]string, 0, len(keys)), Values: make([]any, 0, len(keys))}
	for _, k := range keys {
		if x.text += len(k); x.text > maxResultText {
			return nil, errorf(ReasonOutput, "more than %d bytes of text", maxResultText)
		}
		e, err := x.tree(o.Get(k), depth+1)
		if err != nil {
			return nil, err
		}
		if e == (absent{}) { // kept as null: published codecs count on the member
			e = nil
		}
		out.Keys, out.Values = append(out.Keys, k), append(out.Values, e)
	}
	return out, nil
}

func (x *reader) array(o *goja.Object, depth int) (any, error) {
	n := o.Get("length").ToInteger()
	if n > int64(maxNodes-x.nodes) || n < 0 {
		return nil, errorf(ReasonOutput, "an array of %d elements, want at most %d values in all", n, maxNodes)
	}
	out := make([]any, n)
	for i := range out {
		e, err := x.tree(o.Get(strconv.Itoa(i)), depth+1)
		if err != nil {
			return nil, err
		}
		if _, none := e.(absent); !none {
			out[i] = e
		}
	}
	return out, nil
}

func (x *reader) scalar(v goja.Value) (any, error) {
	if v == nil || goja.IsUndefined(v) {
		return absent{}, nil
	}
	if goja.IsNull(v) {
		return nil, nil
	}
	if s, ok := v.(goja.String); ok {
		if s.Length() > maxResultText {
			return nil, errorf(ReasonOutput, "a text of %d characters, want at most %d", s.Length(), maxResultText)
		}
		return x.string(s.String())
	}
	switch e := v.Export().(type) {
	case bool:
		return e, nil
	case int64:
		return float64(e), nil
	case float64:
		return e, nil
	case *big.Int:
		f, _ := new(big.Float).SetInt(e).Float64()
		return f, nil
	}
	return absent{}, nil // a symbol
}

func (x *reader) string(s string) (any, error) {
	if x.text += len(s); x.text > maxResultText {
		return nil, errorf(ReasonOutput, "more than %d bytes of text", maxResultText)
	}
	return s, nil
}

// messages reads warnings or errors: a list of texts, or one.
func (x *reader) messages(v goja.Value, into []string) ([]string, error) {
	if v == nil || goja.IsUndefined(v) || goja.IsNull(v) {
		return into, nil
	}
	t, err := x.tree(v, 0)
	if err != nil {
		return into, err
	}
	list, ok := t.([]any)
	if !ok {
		list = []any{t}
	}
	for _, e := range list {
		if len(into) >= maxMessages {
			break
		}
		switch e := e.(type) {
		case string:
			into = append(into, clip(e))
		case nil, absent:
		case *Object:
			if m, ok := e.Get("message"); ok {
				if s, ok := m.(string); ok {
					into = append(into, clip(s))
					continue
				}
			}
			b, _ := json.Marshal(jsonTree(e))
			into = append(into, clip(string(b)))
		default:
			b, _ := json.Marshal(jsonTree(e))
			into = append(into, clip(string(b)))
		}
	}
	return into, nil
}

// jsonTree is a tree in maps, numbers that JSON has no word for as null.
func jsonTree(v any) any {
	switch v := v.(type) {
	case *Object:
		if v == nil {
			return nil
		}
		m := make(map[string]any, len(v.Keys))
		for i, k := range v.Keys {
			m[k] = jsonTree(v.Values[i])
		}
		return m
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = jsonTree(v[i])
		}
		return out
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	}
	return v
}

// value makes a script's value of a tree as encoding/json or this package makes them.
func (r *jsRuntime) value(v any, depth int) (goja.Value, error) {
	if depth > maxDepth {
		return nil, errorf(ReasonInput, "nested deeper than %d", maxDepth)
	}
	switch v := v.(type) {
	case nil:
		return goja.Null(), nil
	case bool:
		if v {
			return booleans[1], nil
		}
		return booleans[0], nil
	case string, float64, int, int64:
		return r.rt.ToValue(v), nil
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return nil, errorf(ReasonInput, "number %s", v)
		}
		return r.rt.ToValue(f), nil
	case time.Time:
		return r.rt.ToValue(v.Format(time.RFC3339Nano)), nil
	case []any:
		items := make([]any, len(v))
		for i := range v {
			e, err := r.value(v[i], depth+1)
			if err != nil {
				return nil, err
			}
			items[i] = e
		}
		return r.rt.NewArray(items...), nil
	case map[string]any:
		o := r.rt.NewObject()
		for k, e := range v {
			e, err := r.value(e, depth+1)
			if err != nil {
				return nil, err
			}
			if err := o.Set(k, e); err != nil {
				return nil, err
			}
		}
		return o, nil
	case *Object:
		o := r.rt.NewObject()
		for i, k := range v.Keys {
			e, err := r.value(v.Values[i], depth+1)
			if err != nil {
				return nil, err
			}
			if err := o.Set(k, e); err != nil {
				return nil, err
			}
		}
		return o, nil
	}
	return nil, errorf(ReasonInput, "a %T, want what JSON has", v)
}
