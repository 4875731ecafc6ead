package rules

import (
	"os"
	"strings"
	"testing"
)

// Every rule of docs/rules.md is taken as it stands there.
func TestRulesOfTheDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/rules.md")
	if err != nil {
		t.Fatal(err)
	}
	var block []string
	read := 0
	for n, line := range append(strings.Split(string(text), "\n"), "end") {
		if strings.HasPrefix(line, "    ") {
			block = append(block, line)
			continue
		}
		if len(block) == 0 || line == "" && n < strings.Count(string(text), "\n") && strings.HasPrefix(strings.Split(string(text), "\n")[n+1], "    ") {
			continue
		}
		body := strings.Join(block, "\n") + "\n"
		switch first := strings.TrimSpace(block[0]); {
		case strings.HasPrefix(first, "- "):
			body = "rules:\n" + body
		case first == "rules:" || first == "calendars:":
		default:
			body = "" // of another language
		}
		if body != "" {
			read++
			if set, err := Parse("rules.md", []byte(body)); err != nil {
				t.Errorf("above line %d: %v\n%s", n+1, err, body)
			} else if len(set.Rules) == 0 && !strings.Contains(body, "for_each") {
				t.Errorf("above line %d: no rules", n+1)
			}
		}
		block = nil
	}
	if read < 12 {
		t.Errorf("%d examples read, want all of them", read)
	}
}
