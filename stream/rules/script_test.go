package rules_test

import (
	"os"
	"path/filepath"
	"testing"

	"panormus/stream/rules"
	"panormus/stream/rules/rulestest"
)

// The scripts in testdata/*.rules, as package rulestest describes them.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*" + rulestest.Extension)
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, failures, err := rulestest.Run(file, string(data))
			if err == nil && *rules.Update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				_, failures, err = rulestest.Run(file, got)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range failures {
				t.Errorf("%s:\n%s", f.Variant, f.Diff)
			}
		})
	}
}
