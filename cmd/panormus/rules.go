package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"panormus/devices"
	"panormus/stream/rules"
	"panormus/stream/rules/rulestest"
)

// errRules ends a check or a test of rules that found something.
var errRules = errors.New("rules are at fault")

// rulesCommand checks rule files and tests rules, without a running process.
func rulesCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "check":
			return rulesCheck(ctx, args[1:], out)
		case "test":
			return rulesTest(args[1:], out)
		}
	}
	return fmt.Errorf("want rules check FILE… or rules test FILE…: %w", errUsage)
}

// rulesCheck prints what is wrong with rule files, a line each, and last how much that is.
func rulesCheck(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus rules check", flag.ContinueOnError)
	fs.SetOutput(out)
	data := fs.String("data", "", "data folder of a running process, whose profiles say which metrics there are")
	at := fs.String("url", "", "address of the API, http://host:port, instead of --data")
	token := fs.String("token", os.Getenv("PANORMUS_TOKEN"), "API token, where one is asked for")
	if err := fs.Parse(args); err != nil {
		return err
	}
	files, err := ruleFiles(fs.Args())
	if err != nil {
		return err
	}
	var known []string
	if *data != "" || *at != "" {
		c, err := newAPIClient(*at, *data, *token)
		if err != nil {
			return err
		}
		if known, err = knownMetrics(ctx, c); err != nil {
			return err
		}
	}
	bad, warned := 0, 0
	first := map[string]string{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		problems := rules.Check(file, b, known)
		for _, p := range problems {
			level := "error"
			if p.Warning {
				level = "warning"
				warned++
			} else {
				bad++
			}
			fmt.Fprintf(out, "%s: %s\n", level, p)
		}
		set, err := rules.Parse(file, b)
		if err != nil {
			continue // said above
		}
		for _, r := range set.Rules {
			if other, twice := first[r.ID]; twice {
				fmt.Fprintf(out, "warning: %s:%d:1: rule %s: %s has one of this id too; of files of one folder the later name counts\n", file, r.Line, r.ID, other)
				warned++
			}
			first[r.ID] = file
		}
	}
	fmt.Fprintf(out, "%d rules in %d files, %d errors, %d warnings\n", len(first), len(files), bad, warned)
	if bad > 0 {
		return errRules
	}
	return nil
}

// ruleFiles are the files named, and the rule files of the folders named, in order of name.
func ruleFiles(names []string) ([]string, error) {
	var files []string
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			files = append(files, name)
			continue
		}
		entries, err := os.ReadDir(name)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, filepath.Join(name, e.Name()))
			}
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("which rules? name files or folders with *.yaml: %w", errUsage)
	}
	return files, nil
}

// knownMetrics asks a running process for the metrics of its profiles.
func knownMetrics(ctx context.Context, c apiClient) ([]string, error) {
	var all []*devices.Profile
	for next := ""; ; {
		path := "/api/v1/profiles?limit=1000"
		if next != "" {
			path += "&cursor=" + url.QueryEscape(next)
		}
		b, err := c.do(ctx, http.MethodGet, path, "", nil)
		if err != nil {
			return nil, err
		}
		var page struct {
			Profiles []*devices.Profile
			Next     string
		}
		if err := json.Unmarshal(b, &page); err != nil {
			return nil, fmt.Errorf("read the profiles: %w", err)
		}
		all = append(all, page.Profiles...)
		if next = page.Next; next == "" {
			return rules.KnownMetrics(all), nil
		}
	}
}

// rulesTest runs scripts, as package rulestest describes them.
func rulesTest(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus rules test", flag.ContinueOnError)
	fs.SetOutput(out)
	update := fs.Bool("update", false, "write the events that the scripts gave into them")
	var names []string
	for len(args) > 0 { // flags may stand behind names
		if err := fs.Parse(args); err != nil {
			return err
		}
		if args = fs.Args(); len(args) > 0 {
			names, args = append(names, args[0]), slices.Clone(args[1:])
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("test what? name scripts, or folders with *%s: %w", rulestest.Extension, errUsage)
	}
	failed, err := rulestest.Files(out, names, *update)
	if err == nil && failed > 0 {
		err = errRules
	}
	return err
}
