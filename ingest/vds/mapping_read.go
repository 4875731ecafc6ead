package vds

import (
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"panormus/ingest"
	"panormus/ingest/xmlscan"
)

// readJSON finds the values of a message. The scanner reads it first: gjson takes what is no JSON too.
func (c *mapping) readJSON(payload []byte, out *ingest.Decoded) (found, error) {
	s := &out.Scan
	s.Reset(payload)
	if err := skip(s); err != nil {
		return found{}, err
	}
	if err := s.End(); err != nil {
		return found{}, rejectJSON(err)
	}
	doc := gjson.ParseBytes(payload)
	f := found{}
	var err error
	if f.root, err = c.values(doc, true); err != nil {
		return found{}, err
	}
	one := func(_, element gjson.Result) bool {
		if len(f.rows) == ingest.MaxDetections {
			err = ingest.Rejectf(ingest.ReasonTooMany, "found more than %d elements", ingest.MaxDetections)
			return false
		}
		var row []string
		row, err = c.values(element, false)
		f.rows = append(f.rows, row)
		return err == nil
	}
	elements := doc
	if c.Each != "" {
		elements = doc.Get(c.Each)
	}
	switch {
	case elements.IsArray():
		elements.ForEach(one)
	case elements.Exists() && elements.Type != gjson.Null:
		one(gjson.Result{}, elements)
	}
	return f, err
}

// values finds those of the message, or of an element, by slot.
func (c *mapping) values(at gjson.Result, root bool) ([]string, error) {
	vs := make([]string, len(c.slots))
	for i, s := range c.slots {
		if s.given || s.root != root {
			continue
		}
		v := at.Get(s.where)
		if v.Type == gjson.JSON {
			return nil, ingest.Rejectf(ingest.ReasonType, "%s: found an object or an array, want a text, a number or a boolean", c.name(i))
		}
		if vs[i] = v.String(); len(vs[i]) > maxWord {
			return nil, c.long(i, len(vs[i]))
		}
	}
	return vs, nil
}

func (c *mapping) long(slot, n int) error {
	return ingest.Rejectf(ingest.ReasonName, "%s: found a text of %d bytes, want at most %d", c.name(slot), n, maxWord)
}

// name of what a slot is for.
func (c *mapping) name(slot int) string {
	for field, at := range c.at {
		if at == slot {
			return fieldNames[field]
		}
	}
	return c.attrs[slot-(len(c.slots)-len(c.attrs))]
}

// An xmlNode is an element on the way to a value.
type xmlNode struct {
	next map[string]*xmlNode
	each bool  // a row begins
	text []int // slots of the element's text
	attr map[string][]int
}

func (n *xmlNode) step(name string) *xmlNode {
	if n.next == nil {
		n.next = map[string]*xmlNode{}
	}
	if n.next[name] == nil {
		n.next[name] = &xmlNode{}
	}
	return n.next[name]
}

// tree makes one of the paths of an XML mapping.
func (c *mapping) tree() (*xmlNode, error) {
	root := &xmlNode{}
	walk := func(n *xmlNode, path string) (*xmlNode, string, error) {
		for step := range strings.SplitSeq(path, "/") {
			switch {
			case step == "" || strings.ContainsAny(step, " []*.:") && step != ".":
				return nil, "", fmt.Errorf("path %q: step %q, want local names with / between them, and @name at the end", path, step)
			case step[0] == '@':
				if !strings.HasSuffix(path, "/"+step) && path != step || len(step) == 1 {
					return nil, "", fmt.Errorf("path %q: %s, want an attribute's name at the end", path, step)
				}
				return n, step[1:], nil
			case step != ".": // which is the element itself
				n = n.step(step)
			}
		}
		return n, "", nil
	}
	each := root
	if c.Each != "" {
		var attr string
		var err error
		if each, attr, err = walk(root, c.Each); err != nil {
			return nil, fmt.Errorf("each: %w", err)
		}
		if attr != "" {
			return nil, fmt.Errorf("each: %q, want an element", c.Each)
		}
	}
	each.each = true
	for i, s := range c.slots {
		if s.given {
			continue
		}
		from := each
		if s.root {
			from = root
		}
		n, attr, err := walk(from, s.where)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name(i), err)
		}
		if attr == "" {
			n.text = append(n.text, i)
		} else {
			if n.attr == nil {
				n.attr = map[string][]int{}
			}
			n.attr[attr] = append(n.attr[attr], i)
		}
	}
	return root, c.leaves(root)
}

// leaves checks that no element is read both for its text and for what is in it.
func (c *mapping) leaves(n *xmlNode) error {
	if len(n.text) > 0 && len(n.next) > 0 {
		return fmt.Errorf("%s: a path to the text of an element in which other paths end, want one or the others", c.name(n.text[0]))
	}
	for _, child := range n.next {
		if err := c.leaves(child); err != nil {
			return err
		}
	}
	return nil
}

// readXML finds the values of a message; where a path leads to several the first counts.
func (c *mapping) readXML(tree *xmlNode, payload []byte) (found, error) {
	r := xmlFinder{c: c, f: found{root: make([]string, len(c.slots))}}
	if err := r.s.Reset(payload); err != nil {
		return found{}, rejectXML(err)
	}
	if err := r.element(tree); err != nil {
		return found{}, err
	}
	if err := r.s.End(); err != nil {
		return found{}, rejectXML(err)
	}
	return r.f, nil
}

type xmlFinder struct {
	c   *mapping
	s   xmlscan.Scanner
	f   found
	row []string // of the element of Each that is being read
}

// element reads the element entered last and leaves it.
func (r *xmlFinder) element(n *xmlNode) error {
	if n == nil {
		if err := r.s.Skip(); err != nil {
			return rejectXML(err)
		}
		return nil
	}
	if n.each {
		if len(r.f.rows) == ingest.MaxDetections {
			return ingest.Rejectf(ingest.ReasonTooMany, "found more than %d elements", ingest.MaxDetections)
		}
		r.row = make([]string, len(r.c.slots))
		r.f.rows = append(r.f.rows, r.row)
	}
	for i := range r.s.Attributes() {
		name, value := r.s.Attribute(i)
		if err := r.keep(n.attr[string(name)], value); err != nil {
			return err
		}
	}
	if len(n.text) > 0 {
		b, err := r.s.Text()
		if err != nil {
			return rejectXML(err)
		}
		return r.keep(n.text, b)
	}
	for {
		more, err := r.s.Child()
		if err != nil {
			return rejectXML(err)
		}
		if !more {
			return nil
		}
		if err := r.element(n.next[string(r.s.Name())]); err != nil {
			return err
		}
	}
}

func (r *xmlFinder) keep(slots []int, value []byte) error {
	for _, i := range slots {
		if len(value) > maxWord {
			return r.c.long(i, len(value))
		}
		into := r.row
		if r.c.slots[i].root {
			into = r.f.root
		}
		if into[i] == "" {
			into[i] = strings.TrimSpace(string(value))
		}
	}
	return nil
}
