package rulestest

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Extension is what the names of scripts end in, where a folder is searched for them.
const Extension = ".rules"

// Files runs scripts, and those below folders, prints what failed with what differs, and last a
// line "N passed, N failed". With update, what a script gave is written into it, and it passes when
// it gives that however it is run. The error is of a name that cannot be read.
func Files(out io.Writer, names []string, update bool) (failed int, err error) {
	var files []string
	for _, name := range names {
		found, err := find(name)
		if err != nil {
			return 0, err
		}
		files = append(files, found...)
	}
	passed := 0
	for _, file := range files {
		ok, err := one(out, file, update)
		if err != nil {
			return 0, err
		}
		if ok {
			passed++
		} else {
			failed++
		}
	}
	_, err = fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed)
	return failed, err
}

// find is name, or the scripts below it, sorted.
func find(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var found []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, Extension) {
			found = append(found, path)
		}
		return err
	})
	if err == nil && len(found) == 0 {
		return nil, fmt.Errorf("%s: no scripts, want files *%s", name, Extension)
	}
	slices.Sort(found)
	return found, err
}

func one(out io.Writer, file string, update bool) (ok bool, err error) {
	data, err := readFile(file, maxScriptBytes)
	if err != nil {
		return false, err
	}
	got, failures, err := Run(file, string(data))
	if err == nil && update && len(failures) > 0 {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			return false, err
		}
		fmt.Fprintf(out, "updated %s\n", file)
		_, failures, err = Run(file, got)
	}
	switch {
	case err != nil:
		fmt.Fprintf(out, "failed  %s\n", file)
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(out, "    %s\n", strings.TrimSuffix(line, "\n"))
		}
	case len(failures) > 0:
		fmt.Fprintf(out, "failed  %s\n", file)
		for i, f := range failures {
			if i > 0 && f.Diff == failures[0].Diff {
				continue // the same, however it is run
			}
			fmt.Fprintf(out, "  %s:\n", f.Variant)
			for line := range strings.Lines(f.Diff) {
				fmt.Fprintf(out, "    %s", line)
			}
		}
	default:
		fmt.Fprintf(out, "passed  %s\n", file)
		return true, nil
	}
	return false, nil
}

// Diff shows the lines of two texts that differ: - only in want, + only in got.
func Diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for len(w) > 0 || len(g) > 0 {
		switch {
		case len(w) > 0 && len(g) > 0 && w[0] == g[0]:
			w, g = w[1:], g[1:]
		case len(w) > 0 && !slices.Contains(g, w[0]):
			fmt.Fprintf(&b, "- %s\n", w[0])
			w = w[1:]
		case len(g) > 0:
			fmt.Fprintf(&b, "+ %s\n", g[0])
			g = g[1:]
		default:
			fmt.Fprintf(&b, "- %s\n", w[0])
			w = w[1:]
		}
	}
	return b.String()
}
