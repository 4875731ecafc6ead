package rules

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

var update = flag.Bool("update", false, "write what the scripts gave into them")

// The scripts in testdata/*.rules are made of commands, one a line; # begins a comment.
//
//	rules                      an indented rule file follows: the set from now on
//	device ID DOMAIN k=v…      enters a device: zone, profile, name, lat, lon, period, tag.NAME
//	remove ID                  removes one
//	load DOMAIN/ID TIME k=v…   a message; received=TIME and quality=FLAG are not metrics
//	advance TIME               processing time
//	restart                    a new engine from the snapshots of this one
//	expect                     the indented events since the last expect, sorted
//
// Times are durations since 2026-09-21 10:00 UTC, a day when the sun in Palermo rises at 4:51 UTC and
// sets at 17:01. Every script runs as written, with its neighbouring messages of a partition in
// one batch, and with a restart before every command, and must give the same each time.

var scriptStart = time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC).UnixMilli()

type scriptRegistry struct {
	assets  map[string]*devices.Asset
	version uint64
}

func (r *scriptRegistry) Lookup(id string) *devices.Asset { return r.assets[id] }
func (r *scriptRegistry) Version() uint64                 { return r.version }
func (r *scriptRegistry) All() []*devices.Asset {
	var all []*devices.Asset
	for _, a := range r.assets {
		all = append(all, a)
	}
	return all
}

type script struct {
	t          *testing.T
	file       string
	oneBatch   bool
	restarts   bool
	engine     *Engine
	registry   *scriptRegistry
	seq        uint64
	held       map[int]*batch.Observations // by partition, not applied yet
	happened   []string
	partitions int
	ids        map[string]bool
}

func (s *script) fail(line int, format string, args ...any) {
	s.t.Helper()
	s.t.Fatalf("%s:%d: %s", s.file, line+1, fmt.Sprintf(format, args...))
}

func (s *script) config() Config { return Config{Registry: s.registry, Partitions: s.partitions} }

// flush applies what is held.
func (s *script) flush() {
	for _, p := range sortedKeys(s.held) {
		s.seq++
		s.engine.Apply(p, s.seq, s.held[p])
	}
	clear(s.held)
	for _, ev := range s.engine.Settle() {
		if s.ids[ev.ID] {
			s.t.Errorf("%s: the id of %s %s %s came twice", s.file, ev.State, ev.Rule, ev.Key)
		}
		s.ids[ev.ID] = true
		line := fmt.Sprintf("%-7s %s %s at %s", ev.State, ev.Rule, ev.Key, time.Duration(ev.Time.UnixMilli()-scriptStart)*time.Millisecond)
		if ev.Device != ev.Key {
			line += " by " + ev.Device
		}
		line += ": " + ev.Text
		if i := strings.Index(string(ev.Context), `"reason":"`); i >= 0 {
			line += " (" + strings.Split(string(ev.Context)[i:], `"`)[3] + ")"
		}
		s.happened = append(s.happened, line)
	}
}

func sortedKeys[V any](m map[int]V) []int {
	var keys []int
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (s *script) restart(line int) {
	s.flush()
	next := New(s.config(), s.engine.Set())
	for p := -1; p < s.partitions; p++ {
		if _, err := next.Restore(p, s.engine.Snapshot(p, s.seq)); err != nil {
			s.fail(line, "restart: %v", err)
		}
	}
	next.since = s.engine.since // the worker was never away
	next.census, next.known = s.engine.census, s.engine.known
	s.engine = next
}

func (s *script) load(line int, args []string) {
	domain, id, ok := strings.Cut(args[0], "/")
	if !ok || len(args) < 2 {
		s.fail(line, "want load DOMAIN/DEVICE TIME METRIC=VALUE…")
	}
	at := s.time(line, args[1])
	received, quality := at, uint8(0)
	var rows [][2]string
	for _, a := range args[2:] {
		k, v, ok := strings.Cut(a, "=")
		switch {
		case !ok:
			s.fail(line, "%q, want METRIC=VALUE", a)
		case k == "received":
			received = s.time(line, v)
		case k == "quality":
			quality |= 1 << slices.Index(flagNames, v)
		default:
			rows = append(rows, [2]string{k, v})
		}
	}
	p := partition(id, s.partitions)
	if s.held[p] == nil {
		s.flush() // the log's order across partitions stays
		s.held[p] = &batch.Observations{}
	}
	h := s.held[p].Begin(at, received, domain, id)
	for _, r := range rows {
		if v, err := strconv.ParseFloat(r[1], 64); err == nil {
			s.held[p].Append(h, r[0], v, "", quality)
		} else {
			s.held[p].Append(h, r[0], nan, r[1], quality)
		}
	}
	if !s.oneBatch {
		s.flush()
	}
}

func (s *script) time(line int, text string) int64 {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.fail(line, "%v", err)
	}
	return scriptStart + d.Milliseconds()
}

func (s *script) device(line int, args []string) {
	a := &devices.Asset{Device: devices.Device{ID: args[0], Domain: args[1], Status: devices.Claimed, Tags: map[string]string{}}}
	for _, kv := range args[2:] {
		k, v, _ := strings.Cut(kv, "=")
		number, _ := strconv.ParseFloat(v, 64)
		switch k {
		case "zone":
			a.Zone = v
		case "profile":
			a.Profile = v
		case "name":
			a.Name = v
		case "lat":
			a.Lat = &number
		case "lon":
			a.Lon = &number
		case "period":
			d, err := time.ParseDuration(v)
			if err != nil {
				s.fail(line, "%v", err)
			}
			a.Period = devices.Duration(d)
		default:
			tag, ok := strings.CutPrefix(k, "tag.")
			if !ok {
				s.fail(line, "unknown field %q", k)
			}
			a.Tags[tag] = v
		}
	}
	s.registry.assets[a.ID] = a
	s.registry.version++
}

// run runs the script and returns it with what was expected replaced by what happened.
func (s *script) run(text string) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var out []string
	s.held, s.ids, s.partitions = map[int]*batch.Observations{}, map[string]bool{}, 4
	s.registry = &scriptRegistry{assets: map[string]*devices.Asset{}}
	s.engine = New(s.config(), NewSet())
	for i := 0; i < len(lines); i++ {
		line := i
		out = append(out, lines[i])
		words := strings.Fields(strings.SplitN(lines[i], "#", 2)[0])
		var block []string
		for i+1 < len(lines) && (strings.HasPrefix(lines[i+1], "  ") || lines[i+1] == "" && i+2 < len(lines) && strings.HasPrefix(lines[i+2], "  ")) {
			i++
			block = append(block, lines[i])
		}
		if len(words) == 0 {
			continue
		}
		if words[0] != "load" && words[0] != "expect" || s.restarts {
			s.flush()
		}
		if s.restarts && words[0] != "expect" {
			s.restart(line)
		}
		if words[0] != "expect" {
			out = append(out, block...)
		}
		switch words[0] {
		case "rules":
			set, err := Parse(s.file, []byte(strings.Repeat("\n", line+1)+strings.Join(block, "\n")))
			if err != nil {
				s.t.Fatal(err)
			}
			s.engine.Replace(set, max(s.engine.since, scriptStart))
		case "device":
			s.device(line, words[1:])
		case "remove":
			delete(s.registry.assets, words[1])
			s.registry.version++
		case "load":
			s.load(line, words[1:])
		case "advance":
			s.engine.Tick(s.time(line, words[1]))
		case "restart":
			s.restart(line)
		case "expect":
			s.flush()
			slices.Sort(s.happened)
			for _, h := range s.happened {
				out = append(out, "  "+h)
			}
			s.happened = nil
		default:
			s.fail(line, "unknown command %q", words[0])
		}
	}
	s.flush()
	if len(s.happened) > 0 {
		s.t.Errorf("%s: after the last expect: %q", s.file, s.happened)
	}
	return strings.Join(out, "\n") + "\n"
}

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.rules")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := string(data)
			got := (&script{t: t, file: file}).run(want)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				want = got
			}
			for _, s := range []*script{{t: t, file: file}, {t: t, file: file, oneBatch: true}, {t: t, file: file, restarts: true}} {
				if got := s.run(want); got != want {
					t.Errorf("one batch %v, restarts %v:\n%s", s.oneBatch, s.restarts, diff(want, got))
				}
			}
		})
	}
}

// diff shows the lines that differ.
func diff(want, got string) string {
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
