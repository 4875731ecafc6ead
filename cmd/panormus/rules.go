package main

import (
	"bytes"
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
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/stream/batch"
	"panormus/stream/rules"
	"panormus/stream/rules/rulestest"
)

// errRules ends a check or a test of rules that found something.
var errRules = errors.New("rules are at fault")

// rulesCommand checks rule files and tests rules, without a running process, or tries them on what one keeps.
func rulesCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "check":
			return rulesCheck(ctx, args[1:], out)
		case "test":
			return rulesTest(args[1:], out)
		case "backtest":
			return rulesBacktest(ctx, args[1:], out)
		}
	}
	return fmt.Errorf("want rules check FILE…, rules test FILE… or rules backtest --from TIME FILE…: %w", errUsage)
}

// rulesCheck prints what is wrong with rule files, a line each, and last how much that is.
func rulesCheck(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus rules check FILE or FOLDER…", flag.ContinueOnError)
	fs.SetOutput(out)
	at := apiAt(fs, "", "data folder of a running process, whose profiles say which metrics there are")
	names, err := words(fs, args)
	if err != nil {
		return err
	}
	files, err := ruleFiles(names)
	if err != nil {
		return err
	}
	var profiles []*devices.Profile
	if at.data != "" || at.url != "" {
		c, err := at.client()
		if err != nil {
			return err
		}
		if profiles, err = allProfiles(ctx, c); err != nil {
			return err
		}
	}
	bad, warned := 0, 0
	all, problems := rules.CheckFiles(files, profiles)
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
	first := map[string]string{}
	for _, r := range all {
		if other, twice := first[r.ID]; twice {
			fmt.Fprintf(out, "warning: %s:%d:1: rule %s: %s has one of this id too; of files of one folder the later name counts\n", r.File, r.Line, r.ID, other)
			warned++
		}
		first[r.ID] = r.File
	}
	fmt.Fprintf(out, "%d rules in %d files, %d errors, %d warnings\n", len(first), len(files), bad, warned)
	if bad > 0 {
		return errRules
	}
	return nil
}

// ruleFiles reads the files named, and the rule files of the folders named, in order of name.
func ruleFiles(names []string) ([]rules.File, error) {
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
	all := make([]rules.File, len(files))
	for i, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all[i] = rules.File{Name: name, Data: data}
	}
	return all, nil
}

// allProfiles asks a running process for its profiles.
func allProfiles(ctx context.Context, c apiClient) ([]*devices.Profile, error) {
	all := []*devices.Profile{} // none is not the same as not known
	type page struct {
		Profiles []*devices.Profile
		Next     string
	}
	err := pages(ctx, c, "profiles", func(p *page) (string, error) {
		all = append(all, p.Profiles...)
		return p.Next, nil
	})
	return all, err
}

// rulesTest runs scripts, as package rulestest describes them.
func rulesTest(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus rules test SCRIPT or FOLDER…", flag.ContinueOnError)
	fs.SetOutput(out)
	update := fs.Bool("update", false, "write the events that the scripts gave into them")
	names, err := words(fs, args)
	if err != nil {
		return err
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

// rulesBacktest has a running process evaluate the rules of files over the past, and prints what they
// would have raised.
func rulesBacktest(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus rules backtest --from TIME FILE or FOLDER…", flag.ContinueOnError)
	fs.SetOutput(out)
	at := runningAPI(fs)
	from := fs.String("from", "", "where to begin: 2026-03-01T00:00:00Z, or a duration before now such as 72h")
	to := fs.String("to", "", "where to end, as --from; default now")
	shown := fs.Int("events", 20, "how many events of a rule to print, at most 1000")
	names, err := words(fs, args)
	if err != nil {
		return err
	}
	if *from == "" {
		return fmt.Errorf("backtest from when? give --from: %w", errUsage)
	}
	span := map[string]string{}
	for name, value := range map[string]string{"from": *from, "to": *to} {
		if before, err := time.ParseDuration(value); err == nil {
			value = time.Now().Add(-before).UTC().Format(time.RFC3339)
		}
		span[name] = value
	}
	files, err := ruleFiles(names)
	if err != nil {
		return err
	}
	c, err := at.client()
	if err != nil {
		return err
	}
	profiles, err := allProfiles(ctx, c) // which templates are about
	if err != nil {
		return err
	}
	all, problems := rules.CheckFiles(files, profiles)
	problems = slices.DeleteFunc(problems, func(p rules.Problem) bool { return p.Warning })
	if len(problems) > 0 {
		return problems
	}
	if len(all) == 0 {
		return errors.New("no rules in these files, or templates for which there is no profile")
	}
	for _, r := range all {
		body, err := json.Marshal(map[string]any{"from": span["from"], "to": span["to"], "rule": r.WrittenWhole()})
		if err != nil {
			return err
		}
		answer, err := c.do(ctx, http.MethodPost, "/api/v1/rules/"+url.PathEscape(r.ID)+"/backtest", "application/json", bytes.NewReader(body))
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.ID, err)
		}
		if err := printBacktest(out, r.ID, answer, *shown); err != nil {
			return err
		}
	}
	return nil
}

// printBacktest prints an answer of the API, the buckets in which something began with a bar each.
func printBacktest(out io.Writer, rule string, answer []byte, shown int) error {
	var r struct {
		Readings        int64
		Devices, Raised int
		Cleared         int
		Seconds         float64
		Errors          uint64
		LastError       string `json:"last_error"`
		Events          []struct{ Time, State, Key, Text string }
		Buckets         []struct {
			T      string
			Raised int
		}
	}
	if err := json.Unmarshal(answer, &r); err != nil {
		return fmt.Errorf("read the answer about rule %s: %w", rule, err)
	}
	fmt.Fprintf(out, "%s: %d raised, %d cleared; %d readings of %d devices in %.1f s\n", rule, r.Raised, r.Cleared, r.Readings, r.Devices, r.Seconds)
	if r.Errors > 0 {
		fmt.Fprintf(out, "  %d evaluations failed, the last: %s\n", r.Errors, r.LastError)
	}
	most := 1
	for _, b := range r.Buckets {
		most = max(most, b.Raised)
	}
	for _, b := range r.Buckets {
		if b.Raised > 0 {
			fmt.Fprintf(out, "  %s %6d %s\n", b.T, b.Raised, strings.Repeat("#", max(1, b.Raised*40/most)))
		}
	}
	for _, e := range r.Events[:min(max(shown, 0), len(r.Events))] {
		fmt.Fprintf(out, "  %s %-7s %s: %s\n", e.Time, e.State, e.Key, e.Text)
	}
	return nil
}

// pastRows reads what the database holds of a kind of rows.
func (n *node) pastRows(ctx context.Context, on string, p rules.Past, in *storage.Within, each func(*rules.Row) error) (leftOut int64, err error) {
	var bad error
	do := func(row *rules.Row) {
		if bad == nil {
			bad = each(row)
		}
	}
	db := n.parts.db
	switch on {
	case rules.OnDetections:
		return db.PastDetections(ctx, p.From, p.To, p.Metrics, in, func(d *batch.Detections) error { rules.Detections(d, do); return bad })
	case rules.OnTracks:
		err = db.PastTracks(ctx, p.From, p.To, p.Metrics, in, func(all []batch.Track) error { rules.Tracks(all, do); return bad })
	case rules.OnCounts:
		err = db.PastCounts(ctx, p.From, p.To, p.Metrics, in, func(all []batch.Count) error { rules.Counts(all, do); return bad })
	case rules.OnUplinks:
		err = db.PastUplinks(ctx, p.From, p.To, p.Metrics, in, func(all []batch.Uplink) error { rules.Uplinks(all, do); return bad })
	case rules.OnEvents:
		err = db.PastEvents(ctx, p.From, p.To, p.Domain, p.Metrics, in, func(all []batch.Event) error { rules.Events(all, do); return bad })
	default:
		err = fmt.Errorf("BUG: no past of %s", on)
	}
	return 0, err
}

// hours reads what baselines learn of the past; nil without a database.
func (n *node) hours() func(context.Context, rules.HoursQuery, func(rules.Hour) error) error {
	if n.parts.db == nil {
		return nil
	}
	return func(ctx context.Context, q rules.HoursQuery, each func(rules.Hour) error) error {
		return n.parts.db.Hours(ctx, storage.HoursQuery(q), func(h storage.Hour) error { return each(rules.Hour(h)) })
	}
}

// ruleStats is what the rules of this process have done.
func (n *node) ruleStats() []rules.RuleStats {
	var all []rules.RuleStats
	if n.parts.rules != nil {
		all = n.parts.rules.Stats().Rules
	}
	for _, w := range n.parts.rows {
		all = append(all, w.Stats()...)
	}
	slices.SortFunc(all, func(a, b rules.RuleStats) int { return strings.Compare(a.ID, b.ID) })
	return all
}
