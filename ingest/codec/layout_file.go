package codec

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"panormus/devices"
)

// A layoutFile is a layout as an operator keeps it: with examples, as published codecs have them, and
// the profile that it is for.
type layoutFile struct {
	Profile  string             `yaml:"profile"`
	Domain   string             `yaml:"domain"`
	Layout   yaml.Node          `yaml:"layout"`
	Examples []publishedExample `yaml:"examples"`
}

var notPlain = regexp.MustCompile(`[^a-z0-9_-]+`)

// ImportLayout reads a YAML file with a layout and returns the profile that it makes: the one that the
// file names, or else one of the file's own name.
func ImportLayout(file string) (devices.Profile, error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return devices.Profile{}, fmt.Errorf("import %s: %w", file, err)
	}
	defer root.Close()
	var l layoutFile
	if err := readYAML(root, filepath.Base(file), &l); err != nil {
		return devices.Profile{}, fmt.Errorf("import: %w", err)
	}
	if l.Layout.IsZero() {
		return devices.Profile{}, fmt.Errorf("import %s: no layout, want a list of fields under that name", file)
	}
	p := devices.Profile{ID: l.Profile, Domain: l.Domain}
	if p.ID == "" {
		name := filepath.Base(file)
		p.ID = notPlain.ReplaceAllString(strings.ToLower(strings.TrimSuffix(name, filepath.Ext(name))), "-")
	}
	if p.Codec, err = layoutOf(&l.Layout); err != nil {
		return devices.Profile{}, fmt.Errorf("import %s: %w", file, err)
	}
	return p, nil
}

// layoutOf is the codec field of a layout, which compiles.
func layoutOf(n *yaml.Node) (json.RawMessage, error) {
	v := jsonTree(yamlTree(n, 0))
	if list, ok := v.([]any); ok {
		v = map[string]any{"layout": list}
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("layout: %w", err)
	}
	_, err = Compile(raw)
	return raw, err
}

// layout runs the examples of a layout. What comes out is flat: so is what is wanted made.
func (t *tester) layout(l *layoutFile) {
	raw, err := layoutOf(&l.Layout)
	var c Codec
	if err == nil {
		c, err = Compile(raw)
	}
	for i := range l.Examples {
		e := &l.Examples[i]
		t.verdict("layout", i, e, err, func() []string { return layoutExample(c, e) })
	}
}

func layoutExample(c Codec, e *publishedExample) []string {
	input, ok := yamlTree(&e.Input, 0).(*Object)
	if !ok {
		return []string{"input: none"}
	}
	output, ok := yamlTree(&e.Output, 0).(*Object)
	if !ok {
		return []string{"output: none in the example"}
	}
	in, err := uplinkOf(input)
	if err != nil {
		return []string{err.Error()}
	}
	out, err := c.Decode(in)
	wanted, _ := output.Get("errors")
	switch list, _ := wanted.([]any); {
	case err != nil && len(list) > 0:
		return nil // its words are ours
	case err != nil:
		return []string{err.Error()}
	case len(list) > 0:
		return []string{"errors: none, want " + show(wanted)}
	}
	data, _ := output.Get("data")
	tree, ok := data.(*Object)
	if !ok {
		tree = &Object{}
	}
	want, err := flatten(tree, nil, &Result{})
	if err != nil {
		return []string{"output.data: " + err.Error()}
	}
	return compareTrees(nil, "data", flatObject(out.Values), flatObject(want))
}

// flatObject is values as a tree of one level, numbers to the 12 digits that people write.
func flatObject(values []Value) *Object {
	o := &Object{}
	for _, v := range values {
		if v.Text != "" || math.IsNaN(v.Number) {
			o.Set(v.Name, v.Text)
			continue
		}
		n, err := strconv.ParseFloat(strconv.FormatFloat(v.Number, 'g', 12, 64), 64)
		if err != nil {
			n = v.Number
		}
		o.Set(v.Name, n)
	}
	return o
}
