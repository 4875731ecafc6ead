package rulestest

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/rules"
)

// start is the zero of a script's times, Unix ms.
var start = time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC).UnixMilli()

// Bounds of a script and of a rule file it names, so that a bad one cannot take the process down.
const (
	maxScriptBytes = 4 << 20
	maxRuleBytes   = 4 << 20
	partitions     = 4
)

// An Error is what is wrong with a script itself: it did not run to its end.
type Error struct {
	File string
	Line int // from 1
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns what was wrong at the line.
func (e *Error) Unwrap() error { return e.Err }

// A variant is a way to run a script that must make no difference.
type variant struct {
	name               string
	oneBatch, restarts bool
}

var variants = []variant{{name: "as written"}, {name: "neighbouring messages in one batch", oneBatch: true}, {name: "a restart before every command", restarts: true}}

// A Failure is a way in which a script gave other events than it expects.
type Failure struct {
	Variant string
	Diff    string // lines of the script that differ: - expected, + happened
}

// Run runs a script in every way that must make no difference. Got is the script with what happened,
// as written, in place of what was expected. The error is an *Error where the script is at fault.
func Run(file, text string) (got string, failures []Failure, err error) {
	if len(text) > maxScriptBytes {
		return "", nil, &Error{file, 1, fmt.Errorf("%d bytes, want at most %d", len(text), maxScriptBytes)}
	}
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n") + "\n"
	for i, v := range variants {
		s := &script{
			variant: v, file: file, held: map[int]*batch.Observations{}, ids: map[string]bool{}, rows: map[string]*rules.RowEngine{},
			registry: &registry{assets: map[string]*devices.Asset{}}, now: start,
		}
		s.engine = rules.New(s.config(), rules.NewSet())
		out, err := s.run(text)
		if err != nil {
			return "", nil, err
		}
		if i == 0 {
			got = out
		}
		if out != text {
			failures = append(failures, Failure{v.name, Diff(text, out)})
		}
	}
	return got, failures, nil
}

// script is one run of one.
type script struct {
	variant
	file     string
	engine   *rules.Engine
	rows     map[string]*rules.RowEngine // by what they are about
	registry *registry
	seq      uint64
	now      int64                       // processing time, as far as it was advanced
	begun    bool                        // the clock runs
	held     map[int]*batch.Observations // by partition, not applied yet
	happened []string
	again    func() error // reads the rules again, for other profiles
	ids      map[string]bool
}

func (s *script) config() rules.Config {
	return rules.Config{Registry: s.registry, Partitions: partitions}
}

// flush applies what is held.
func (s *script) flush() error {
	for _, p := range slices.Sorted(maps.Keys(s.held)) {
		s.seq++
		s.engine.Apply(p, s.seq, s.held[p])
		rules.Messages(s.held[p], func(row *rules.Row) { s.rowsOn(rules.OnJoined).Apply(s.seq, row) })
	}
	clear(s.held)
	events := s.engine.Settle()
	for _, on := range slices.Sorted(maps.Keys(s.rows)) {
		events = append(events, s.rows[on].Settle()...)
	}
	// What was raised is judged by the rules on events, and so is what comes of that.
	about, joined := s.rowsOn(rules.OnEvents), s.rowsOn(rules.OnJoined)
	for fresh := events; len(fresh) > 0 && !(about.Idle() && joined.Idle()); {
		s.seq++
		rules.Events(fresh, func(row *rules.Row) {
			about.Apply(s.seq, row)
			joined.Apply(s.seq, row)
		})
		fresh = append(about.Settle(), joined.Settle()...)
		events = append(events, fresh...)
	}
	for i := range events {
		ev := &events[i]
		if s.ids[ev.ID] {
			return fmt.Errorf("BUG: the id of %s %s %s came twice", ev.State, ev.Rule, ev.Key)
		}
		s.ids[ev.ID] = true
		s.happened = append(s.happened, describe(ev))
	}
	return nil
}

func describe(ev *batch.Event) string {
	line := fmt.Sprintf("%-7s %s %s at %s", ev.State, ev.Rule, ev.Key, time.Duration(ev.Time.UnixMilli()-start)*time.Millisecond)
	if ev.Device != ev.Key {
		line += " by " + ev.Device
	}
	line += ": " + ev.Text
	if i := strings.Index(string(ev.Context), `"reason":"`); i >= 0 {
		line += " (" + strings.Split(string(ev.Context)[i:], `"`)[3] + ")"
	}
	return line
}

func (s *script) restart() error {
	if err := s.flush(); err != nil {
		return err
	}
	next, err := s.engine.Restarted(s.seq)
	if err != nil {
		return err
	}
	s.engine = next
	for on, e := range s.rows {
		if s.rows[on], err = e.Restarted(); err != nil {
			return err
		}
	}
	return nil
}

// run runs the script and returns it with what was expected replaced by what happened.
func (s *script) run(text string) (string, error) {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	var out []string
	for i := 0; i < len(lines); i++ {
		line := i
		out = append(out, lines[i])
		words, err := split(lines[i])
		var block []string
		for i+1 < len(lines) && (strings.HasPrefix(lines[i+1], "  ") || lines[i+1] == "" && i+2 < len(lines) && strings.HasPrefix(lines[i+2], "  ")) {
			i++
			block = append(block, lines[i])
		}
		if err == nil && len(words) > 0 {
			err = s.command(line, words, block)
		}
		if err != nil {
			return "", &Error{s.file, line + 1, err}
		}
		if len(words) == 0 || words[0] != "expect" {
			out = append(out, block...)
			continue
		}
		slices.Sort(s.happened)
		for _, h := range s.happened {
			out = append(out, "  "+h)
		}
		s.happened = nil
	}
	if err := s.flush(); err != nil {
		return "", &Error{s.file, len(lines), err}
	}
	if len(s.happened) > 0 {
		return "", &Error{s.file, len(lines), fmt.Errorf("after the last expect there are events; want another one. The first: %s", s.happened[0])}
	}
	return strings.Join(out, "\n") + "\n", nil
}

// split cuts a line into words; what is in double quotes stays together, without them.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quoted, any := false, false
	for _, c := range line {
		switch {
		case c == '"':
			quoted, any = !quoted, true
		case quoted:
			word.WriteRune(c)
		case c == '#' && !any:
			return words, nil
		case c == ' ' || c == '\t':
			if any {
				words = append(words, word.String())
				word.Reset()
				any = false
			}
		default:
			word.WriteRune(c)
			any = true
		}
	}
	if quoted {
		return nil, errors.New("a \" that is not closed")
	}
	if any {
		words = append(words, word.String())
	}
	return words, nil
}

var commands = []string{"rules", "device", "profile", "zone", "remove", "load", "row", "advance", "restart", "expect"}

func (s *script) command(line int, words, block []string) error {
	name, args := words[0], words[1:]
	if name != "load" && name != "expect" || s.restarts {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.restarts && name != "expect" {
		if err := s.restart(); err != nil {
			return err
		}
	}
	if len(block) > 0 && name != "rules" && name != "expect" {
		return fmt.Errorf("%s: indented lines under it, which only rules and expect have", name)
	}
	switch {
	case name == "rules":
		return s.rulesAre(line, args, block)
	case name == "device" && len(args) >= 2:
		return s.device(args)
	case name == "profile" && len(args) >= 2:
		return s.profile(args)
	case name == "zone" && len(args) >= 4:
		return s.zone(args)
	case name == "remove" && len(args) == 1:
		delete(s.registry.assets, args[0])
		s.registry.version++
	case name == "load" && len(args) >= 3:
		return s.load(args)
	case name == "row" && len(args) >= 3:
		return s.row(args)
	case name == "advance" && len(args) == 1:
		at, err := instant(args[0])
		if err != nil {
			return err
		}
		if err := s.begin(at); err != nil {
			return err
		}
		return s.advance(at)
	case name == "restart" && len(args) == 0:
		return s.restart()
	case name == "expect" && len(args) == 0:
		return s.flush()
	case slices.Contains(commands, name):
		return fmt.Errorf("%s with %d words behind it, want it as the format says", name, len(args))
	default:
		return fmt.Errorf("found %q, want one of %s", name, strings.Join(commands, ", "))
	}
	return nil
}

// advance moves processing time.
func (s *script) advance(at int64) error {
	s.now = max(s.now, at)
	s.engine.Tick(at)
	for on, e := range s.rows {
		if on != rules.OnEvents && on != rules.OnJoined {
			e.Tick(at)
		}
	}
	if err := s.flush(); err != nil { // events are rows too, before their own clock moves
		return err
	}
	s.rowsOn(rules.OnEvents).Tick(at)
	s.rowsOn(rules.OnJoined).Tick(at)
	return nil
}

// begin starts the clock, from which on silence counts, before the first command that has a time.
func (s *script) begin(at int64) error {
	if s.begun {
		return nil
	}
	s.begun = true
	return s.advance(min(at, start))
}

// rulesAre makes the rules of a file or a block the ones that run.
func (s *script) rulesAre(line int, args, block []string) error {
	var set *rules.Set
	var err error
	switch {
	case len(args) == 0:
		// Empty lines above keep the lines of its problems those of the script.
		set, err = rules.ParseFor(s.file, []byte(strings.Repeat("\n", line+1)+strings.Join(block, "\n")), s.registry.profiles)
	case len(args) == 1 && len(block) == 0:
		path := args[0]
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(s.file), path)
		}
		var data []byte
		if data, err = readFile(path, maxRuleBytes); err == nil {
			set, err = rules.ParseFor(path, data, s.registry.profiles)
		}
	default:
		return errors.New("want rules FILE, or rules with indented lines under it")
	}
	if err != nil {
		return err
	}
	s.again = func() error { return s.rulesAre(line, args, block) }
	s.engine.Replace(set, s.now)
	for on, e := range s.rows {
		e.Replace(set, s.now)
		s.rows[on] = e
	}
	return nil
}

// readFile reads a file that may hold at most so many bytes.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: more than %d bytes", path, most)
	}
	return data, err
}

func (s *script) load(args []string) error {
	domain, id, ok := strings.Cut(args[0], "/")
	if !ok {
		return fmt.Errorf("load: found %q, want DOMAIN/DEVICE", args[0])
	}
	at, err := instant(args[1])
	if err != nil {
		return err
	}
	if err := s.begin(at); err != nil {
		return err
	}
	received, quality := at, uint8(0)
	var rows [][2]string
	for _, a := range args[2:] {
		k, v, ok := strings.Cut(a, "=")
		switch {
		case !ok:
			return fmt.Errorf("load: found %q, want METRIC=VALUE", a)
		case k == "received":
			if received, err = instant(v); err != nil {
				return err
			}
		case k == "quality":
			bit, known := rules.QualityFlag(v)
			if !known {
				return fmt.Errorf("load: found quality=%s, want a flag that flagged() knows", v)
			}
			quality |= bit
		default:
			rows = append(rows, [2]string{k, v})
		}
	}
	p := s.engine.Partition(id)
	if s.held[p] == nil {
		if err := s.flush(); err != nil { // the log's order across partitions stays
			return err
		}
		s.held[p] = &batch.Observations{}
	}
	h := s.held[p].Begin(at, received, domain, id)
	for _, r := range rows {
		if v, err := strconv.ParseFloat(r[1], 64); err == nil {
			s.held[p].Append(h, r[0], v, "", quality)
		} else {
			s.held[p].Append(h, r[0], math.NaN(), r[1], quality)
		}
	}
	if !s.oneBatch {
		return s.flush()
	}
	return nil
}

func (s *script) row(args []string) error {
	on := args[0]
	at, err := instant(args[2])
	if err != nil {
		return err
	}
	if err := s.begin(at); err != nil {
		return err
	}
	received := at
	columns := map[string]string{}
	for _, a := range args[3:] {
		k, v, ok := strings.Cut(a, "=")
		if !ok {
			return fmt.Errorf("row: found %q, want COLUMN=VALUE", a)
		}
		if k == "received" {
			if received, err = instant(v); err != nil {
				return err
			}
			continue
		}
		columns[k] = v
	}
	row, err := rules.NewRow(on, args[1], at, received, columns)
	if err != nil {
		return err
	}
	s.seq++
	s.rowsOn(on).Apply(s.seq, row)
	s.rowsOn(rules.OnJoined).Apply(s.seq, row)
	return nil
}

// rowsOn is the engine of the rules on a kind of rows.
func (s *script) rowsOn(on string) *rules.RowEngine {
	if s.rows[on] == nil {
		s.rows[on] = rules.NewRowEngine(s.config(), on, s.engine.Set())
	}
	return s.rows[on]
}

func instant(text string) (int64, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("found %q, want a time such as 90s, 15m or 1h30m", text)
	}
	return start + d.Milliseconds(), nil
}
