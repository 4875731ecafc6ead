package codec

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/dop251/goja"
	"go.yaml.in/yaml/v3"
)

// A published codec is a YAML file beside its script, in the layout of the public device repository.
type published struct {
	Uplink   publishedFunction `yaml:"uplinkDecoder"`
	Encoder  publishedFunction `yaml:"downlinkEncoder"`
	Downlink publishedFunction `yaml:"downlinkDecoder"`
	// Or a layout with examples, which is no one else's but ours.
	layoutFile `yaml:",inline"`
}

type publishedFunction struct {
	FileName string             `yaml:"fileName"`
	Examples []publishedExample `yaml:"examples"`
}

type publishedExample struct {
	Description string    `yaml:"description"`
	Type        string    `yaml:"type"`
	Input       yaml.Node `yaml:"input"`
	Output      yaml.Node `yaml:"output"`
	Normalized  yaml.Node `yaml:"normalizedOutput"`
}

// maxPublished bounds a file of the device repository.
const maxPublished = 4 << 20

// Test runs the examples that a published codec (…-codec.yaml), or a file with a layout, carries and writes to w a line an
// example, below it what differs, and last "N passed, N failed". The error is about the file: an
// example that fails, or whose script does not compile, is counted.
func Test(w io.Writer, file string) (passed, failed int, err error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return 0, 0, fmt.Errorf("test %s: %w", file, err)
	}
	defer root.Close()
	var p published
	if err := readYAML(root, filepath.Base(file), &p); err != nil {
		return 0, 0, fmt.Errorf("test: %w", err)
	}
	t := tester{w: w, root: root, engine: newEngine(), codecs: map[string]*jsCodec{}}
	t.examples("decodeUplink", p.Uplink)
	t.examples("encodeDownlink", p.Encoder)
	t.examples("decodeDownlink", p.Downlink)
	if !p.Layout.IsZero() {
		t.layout(&p.layoutFile)
	}
	_, err = fmt.Fprintf(w, "%d passed, %d failed\n", t.passed, t.failed)
	return t.passed, t.failed, err
}

func readYAML(root *os.Root, name string, into any) error {
	b, err := readFile(root, name)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// readFile reads a file below root, which no name leads out of.
func readFile(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPublished+1))
	if err == nil && len(b) > maxPublished {
		err = fmt.Errorf("%s: more than %d bytes", name, maxPublished)
	}
	return b, err
}

type tester struct {
	w              io.Writer
	root           *os.Root
	engine         *engine
	codecs         map[string]*jsCodec
	passed, failed int
}

func (t *tester) examples(name string, f publishedFunction) {
	if f.FileName == "" || len(f.Examples) == 0 {
		return
	}
	c, err := t.codec(f.FileName)
	for i := range f.Examples {
		e := &f.Examples[i]
		t.verdict(name, i, e, err, func() []string { return t.example(c, name, e) })
	}
}

// verdict runs an example, unless its codec did not compile, and writes what came of it.
func (t *tester) verdict(name string, i int, e *publishedExample, err error, run func() []string) {
	var diff []string
	if err != nil {
		diff = []string{err.Error()}
	} else {
		diff = run()
	}
	verdict := "pass"
	if len(diff) > 0 {
		verdict = "FAIL"
		t.failed++
	} else {
		t.passed++
	}
	fmt.Fprintf(t.w, "%s %s %d: %s\n", verdict, name, i+1, strings.Join(strings.Fields(e.Description), " "))
	for _, d := range diff {
		fmt.Fprintf(t.w, "     %s\n", d)
	}
}

// codec compiles a script; an encoder alone is one too, so that a decoder is not asked for. Each
// example gets a new runtime: some scripts keep state from one to the next.
func (t *tester) codec(name string) (*jsCodec, error) {
	if c, ok := t.codecs[name]; ok {
		return c, nil
	}
	b, err := readFile(t.root, name)
	if err != nil {
		return nil, err
	}
	s, err := compile(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	c := &jsCodec{engine: t.engine, script: s, fresh: true, places: make(chan struct{}, perCodec)}
	t.codecs[name] = c
	return c, nil
}

// example runs one and returns what differs.
func (t *tester) example(c *jsCodec, name string, e *publishedExample) []string {
	input, ok := yamlTree(&e.Input, 0).(*Object)
	if !ok {
		return []string{"input: none"}
	}
	got, normalized, err := c.published(name, input)
	if err != nil {
		return []string{err.Error()}
	}
	diff := compareOutput("", got, yamlTree(&e.Output, 0))
	if want, ok := yamlTree(&e.Normalized, 0).(*Object); ok && len(diff) == 0 {
		if normalized == nil {
			return []string{"normalizedOutput: the script has no normalizeUplink"}
		}
		diff = compareOutput("normalizedOutput.", normalized, want)
	}
	return diff
}

// uplinkOf reads the input of an example.
func uplinkOf(input *Object) (in Uplink, err error) {
	if f, ok := input.Get("fPort"); ok {
		n, _ := f.(float64)
		in.FPort = uint8(n)
	}
	if v, ok := input.Get("bytes"); ok {
		list, ok := v.([]any)
		if !ok {
			return in, fmt.Errorf("input.bytes: %s, want a list of numbers", show(v))
		}
		for _, b := range list {
			n, _ := b.(float64)
			in.Bytes = append(in.Bytes, byte(n))
		}
	}
	if s, ok := input.Get("recvTime"); ok {
		if text, ok := s.(string); ok {
			if in.RecvTime, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return in, fmt.Errorf("input.recvTime: %w", err)
			}
		}
	}
	if v, ok := input.Get("variables"); ok {
		if o, ok := v.(*Object); ok {
			in.Variables = map[string]string{}
			for i, k := range o.Keys {
				in.Variables[k] = fmt.Sprint(o.Values[i])
			}
		}
	}
	return in, nil
}

// published calls a function of the script with an example's input and returns all that it returned.
func (c *jsCodec) published(name string, input *Object) (got, normalized *Object, err error) {
	in, err := uplinkOf(input)
	if err != nil {
		return nil, nil, err
	}
	r, rerr := c.with(func(r *jsRuntime) error {
		var v goja.Value
		var err error
		x := reader{r: r, out: &r.res}
		switch {
		case name == "encodeDownlink" && r.entry[entryEncodeDownlink] == nil, name == "decodeDownlink" && r.entry[entryDecodeDownlink] == nil:
			return errorf(ReasonThrow, "the script has no %s", name)
		case name == "encodeDownlink":
			arg, aerr := r.value(input, 0)
			if aerr != nil {
				return aerr
			}
			v, err = r.entry[entryEncodeDownlink](goja.Undefined(), arg)
		case name == "decodeUplink" && r.entry[entryDecodeUplink] == nil:
			bytes, port := r.octets(in.Bytes), r.rt.ToValue(int64(in.FPort))
			if f := r.entry[entryDecode]; f != nil {
				v, err = f(goja.Undefined(), port, bytes)
			} else if f := r.entry[entryDecoder]; f != nil {
				v, err = f(goja.Undefined(), bytes, port)
			} else {
				return errorf(ReasonThrow, "the script has no decoder")
			}
			if err != nil {
				return err
			}
			data, err := x.object(v, "the decoder")
			if err != nil {
				return err
			}
			got = &Object{}
			got.Set("data", data)
			return nil
		default:
			f := r.entry[entryDecodeUplink]
			if name == "decodeDownlink" {
				f = r.entry[entryDecodeDownlink]
			}
			vars, verr := r.variables(in.Variables)
			if verr != nil {
				return verr
			}
			arg, aerr := r.input(&in, r.rt.ToValue(int64(in.FPort)), r.octets(in.Bytes), vars)
			if aerr != nil {
				return aerr
			}
			v, err = f(goja.Undefined(), arg)
		}
		if err != nil {
			return err
		}
		if got, err = x.object(v, name); err != nil {
			return err
		}
		o, ok := v.(*goja.Object)
		if f := r.entry[entryNormalize]; ok && f != nil && name == "decodeUplink" {
			if data := o.Get("data"); data != nil && !goja.IsNull(data) && !goja.IsUndefined(data) {
				arg := r.rt.NewObject()
				must(arg.Set("data", data))
				if v, err = f(goja.Undefined(), arg); err != nil {
					return err
				}
				x.nodes, x.text = 0, 0
				normalized, err = x.object(v, "normalizeUplink")
			}
		}
		return err
	})
	if r == nil {
		return nil, nil, rerr
	}
	c.put(r, rerr)
	if rerr != nil {
		return nil, nil, rerr
	}
	return got, normalized, nil
}

// compareOutput compares what a script returned with an example's output, which names the members
// that count; an empty list of warnings or errors is as good as none.
func compareOutput(path string, got *Object, want any) []string {
	w, ok := want.(*Object)
	if !ok {
		return []string{path + "output: none in the example"}
	}
	var diff []string
	for _, key := range []string{"data", "bytes", "fPort", "warnings", "errors"} {
		a, hasA := got.Get(key)
		b, hasB := w.Get(key)
		list := key == "warnings" || key == "errors"
		if list && empty(a) && empty(b) || !list && !hasB && (!hasA || key == "fPort" || len(w.Keys) > 0 && key == "data") {
			continue
		}
		diff = compareTrees(diff, path+key, a, b)
	}
	return diff
}

func empty(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

// maxDiff is how many differences of an example are told.
const maxDiff = 20

func compareTrees(diff []string, path string, got, want any) []string {
	if len(diff) >= maxDiff {
		return diff
	}
	switch w := want.(type) {
	case *Object:
		g, ok := got.(*Object)
		if !ok {
			break
		}
		keys := slices.Clone(w.Keys)
		for _, k := range g.Keys {
			if _, ok := w.Get(k); !ok {
				keys = append(keys, k)
			}
		}
		sort.Strings(keys)
		for _, k := range keys {
			a, hasA := g.Get(k)
			b, hasB := w.Get(k)
			switch {
			case a == nil && b == nil: // null and undefined are one to most readers
			case !hasA:
				diff = append(diff, fmt.Sprintf("%s.%s: missing, want %s", path, k, show(b)))
			case !hasB:
				diff = append(diff, fmt.Sprintf("%s.%s: %s, want none", path, k, show(a)))
			default:
				diff = compareTrees(diff, path+"."+k, a, b)
			}
		}
		return diff
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			diff = compareTrees(diff, fmt.Sprintf("%s[%d]", path, i), g[i], w[i])
		}
		return diff
	case float64:
		if g, ok := got.(float64); ok && (g == w || math.IsNaN(g) && math.IsNaN(w)) {
			return diff
		}
	case nil:
		if g, ok := got.(float64); got == nil || ok && (math.IsNaN(g) || math.IsInf(g, 0)) {
			return diff // JSON has null for these
		}
	default:
		if got == want {
			return diff
		}
	}
	return append(diff, fmt.Sprintf("%s: %s, want %s", path, show(got), show(want)))
}

func show(v any) string {
	b, err := json.Marshal(jsonTree(v))
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 120 {
		return string(b[:120]) + "…"
	}
	return string(b)
}

// yamlTree is a YAML value as this package has trees: numbers are float64, a time stays the text
// that it is in JSON.
func yamlTree(n *yaml.Node, depth int) any {
	if depth > 4*maxDepth {
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) > 0 {
			return yamlTree(n.Content[0], depth)
		}
	case yaml.AliasNode:
		return yamlTree(n.Alias, depth+1)
	case yaml.MappingNode:
		o := &Object{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			o.Set(n.Content[i].Value, yamlTree(n.Content[i+1], depth+1))
		}
		return o
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i := range list {
			list[i] = yamlTree(n.Content[i], depth+1)
		}
		return list
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!null":
			return nil
		case "!!bool", "!!int", "!!float":
			var v any
			if err := n.Decode(&v); err != nil {
				return n.Value
			}
			switch v := v.(type) {
			case int:
				return float64(v)
			case int64:
				return float64(v)
			case uint64:
				return float64(v)
			}
			return v
		}
		return n.Value
	}
	return nil
}
