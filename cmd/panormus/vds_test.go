package main

import (
	"os"
	"strings"
	"testing"
)

// TestMappingsOfTheDocsAreGood loads the example of docs/settings.md.
func TestMappingsOfTheDocsAreGood(t *testing.T) {
	b, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, ok := strings.Cut(string(b), "```yaml\nvds:\n")
	example, _, closed := strings.Cut(example, "```")
	if !ok || !closed {
		t.Fatal("docs/settings.md has no example of mappings")
	}
	c := defaults()
	if err := parseConfig(&c, "settings.md", []byte("vds:\n"+example)); err != nil {
		t.Fatal(err)
	}
	decoders, routes, err := c.VDS.decoders()
	if err != nil || len(routes) != 2 || decoders["acme"] == nil || decoders["gate"] == nil || decoders["dahua"] == nil {
		t.Errorf("%v, %d routes; want acme and gate beside the vendors'", err, len(routes))
	}
}
