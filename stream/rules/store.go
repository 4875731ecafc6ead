package rules

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"panormus/devices"
)

//go:embed defaults/*.yaml
var defaultFiles embed.FS

// Defaults is the rule set shipped for the simulated city.
func Defaults() *Set {
	var all []*Rule
	for name, data := range readDefaults() {
		set, err := Parse(name, data)
		if err != nil {
			panic("BUG: a shipped rule file is refused: " + err.Error())
		}
		all = append(all, set.Rules...)
	}
	return NewSet(all...)
}

func readDefaults() map[string][]byte {
	out := map[string][]byte{}
	entries, err := defaultFiles.ReadDir("defaults")
	if err != nil {
		panic("BUG: the shipped rules are not there: " + err.Error())
	}
	for _, e := range entries {
		name := "defaults/" + e.Name()
		if out[name], err = defaultFiles.ReadFile(name); err != nil {
			panic("BUG: the shipped rules cannot be read: " + err.Error())
		}
	}
	return out
}

// A Bucket keeps the rules that came through the API; the log's KV is one.
type Bucket interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	// Watch calls change for every entry held and for every later change, value nil for a removed
	// one, and synced once when all that was held has been told. It blocks until ctx ends.
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// ErrNotFound is the answer for a rule that is not there.
var ErrNotFound = errors.New("not found")

// ErrFromFile is the answer to a removal of a rule that a file holds: remove it there, or put one
// with `enabled: false` over it.
var ErrFromFile = errors.New("the rule comes from a file")

// A Store gathers rules: those shipped, over them those of a directory's YAML files (in order of
// name), over them those of the API; of rules with one id the last counts. It follows changes. A
// file that is refused leaves what it held before in force; one that is still being written is left
// until it has rested for a look. Methods may be called from any goroutine.
type Store struct {
	// Dir holds *.yaml and *.yml; "" for none. It need not exist.
	Dir string
	// Defaults are the shipped rules too.
	Defaults bool
	// Bucket keeps the API's rules; nil for none.
	Bucket Bucket
	// Every is how often the directory is looked at; default 1 s.
	Every time.Duration
	Log   *slog.Logger // nil for none
	// Metrics, known to profiles, for warnings; nil to take any name.
	Known func() []string
	// Profiles are what templates are about; nil for none. Rules of templates follow their changes.
	Profiles func() []*devices.Profile
	// Overrides are the registry's, for warnings about those that mean nothing; nil for none.
	Overrides Overrider

	mu      sync.Mutex
	shipped []*Rule
	files   map[string]*ruleFile
	api     map[string]*keptRule
	apiBad  map[string]Problems
	dirBad  error
	env     string // what files may name, as it was when they were read
	most    int    // rules in all; default maxRules, tests set it
	live    bool   // the directory was read once: to read more of it holds up nobody
	set     *Set
	changed chan struct{}
}

type ruleFile struct {
	size      int64
	modified  time.Time
	rested    bool // read since it last changed
	data      []byte
	rules     []*Rule
	calendars map[string]*almanac
	problems  Problems
	tooMany   bool // its rules with those of the others
}

// maxRules bounds the rules of a directory and of the API together: what they cost grows with each of them.
const maxRules = 20_000

func (s *Store) init() {
	if s.changed != nil {
		return
	}
	s.changed, s.files, s.api, s.apiBad = make(chan struct{}), map[string]*ruleFile{}, map[string]*keptRule{}, map[string]Problems{}
	if s.most == 0 {
		s.most = maxRules
	}
	if s.Defaults {
		s.shipped = Defaults().Rules
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	s.set = NewSet(s.shipped...)
}

// Run follows the directory and the bucket until ctx ends, and calls ready once both were read.
func (s *Store) Run(ctx context.Context, ready func()) error {
	s.mu.Lock()
	s.init()
	s.look(true)
	s.lookAround()
	s.live = true
	s.mu.Unlock()
	if s.Every <= 0 {
		s.Every = time.Second
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.Bucket == nil {
		ready()
	} else {
		wg.Go(func() {
			err := s.Bucket.Watch(ctx, s.apply, ready)
			if ctx.Err() == nil {
				cancel(fmt.Errorf("follow the rules of the API: %w", err))
			}
		})
	}
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return cause
			}
			return nil
		case <-tick.C:
			s.mu.Lock()
			s.look(false)
			s.lookAround()
			s.mu.Unlock()
		}
	}
}

// look reads what changed in the directory. At the start there is nothing in force that a file
// still being written could spoil, so all is read at once.
func (s *Store) look(first bool) {
	if s.Dir == "" {
		return
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if s.dirBad == nil {
			s.Log.Error("the rule directory cannot be read; the running rules go on", "directory", s.Dir, "error", err)
		}
		s.dirBad = err
		return
	}
	s.dirBad = nil
	changed := false
	there := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if ext := filepath.Ext(name); e.IsDir() || ext != ".yaml" && ext != ".yml" || strings.HasPrefix(name, ".") {
			continue
		}
		info, err := os.Stat(filepath.Join(s.Dir, name)) // of what a link points to
		if err != nil {
			continue // gone since
		}
		there[name] = true
		f := s.files[name]
		if f == nil {
			f = &ruleFile{}
			s.files[name] = f
		}
		if f.size != info.Size() || !f.modified.Equal(info.ModTime()) {
			f.size, f.modified, f.rested = info.Size(), info.ModTime(), false
			if !first {
				continue
			}
		}
		if !f.rested {
			f.rested = true
			changed = s.read(name, f, info.Mode()) || changed
		}
	}
	for name, f := range s.files {
		if !there[name] {
			delete(s.files, name)
			changed = changed || len(f.rules) > 0
		}
	}
	for _, f := range s.files {
		if changed && f.tooMany { // there may be room now
			f.data, f.rested = nil, false
		}
	}
	if changed {
		s.publish()
	}
}

// read parses a file and reports whether its rules changed.
func (s *Store) read(name string, f *ruleFile, mode fs.FileMode) bool {
	path := filepath.Join(s.Dir, name)
	data, err := s.readFile(path, mode)
	if err != nil {
		f.problems = Problems{{File: path, Line: 1, Column: 1, Message: err.Error()}}
		s.Log.Error("a rule file cannot be read; what it held before goes on", "file", path, "error", err)
		return false
	}
	return s.take(name, f, data)
}

// readFile is what a file holds, or a little more than it may. A pipe might never end, nor begin.
func (s *Store) readFile(path string, mode fs.FileMode) ([]byte, error) {
	if !mode.IsRegular() {
		return nil, fmt.Errorf("found no regular file (%v), want one", mode)
	}
	defer s.letGo()()
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFileBytes+1))
}

// letGo gives the lock up until what it returns is called: what takes long is done beside those who ask for the rules.
// Only Run, which calls this, changes files. At the start there is nothing that they may be told yet.
func (s *Store) letGo() (takeAgain func()) {
	if !s.live {
		return func() {}
	}
	s.mu.Unlock()
	return s.mu.Lock
}

// take parses what a file holds and reports whether its rules changed.
func (s *Store) take(name string, f *ruleFile, data []byte) bool {
	path := filepath.Join(s.Dir, name)
	if f.data != nil && bytes.Equal(data, f.data) {
		return false
	}
	f.data, f.tooMany = data, false
	rules, calendars, problems := s.parse(path, data)
	others := len(s.api)
	for other, o := range s.files {
		if other != name {
			others += len(o.rules)
		}
	}
	if len(rules) > 0 && others+len(rules) > s.most {
		f.tooMany = true
		problems = append(problems, Problem{File: path, Line: 1, Column: 1, Message: fmt.Sprintf(
			"rules: %d beside %d of other files and the API, want at most %d together", len(rules), others, s.most)})
	}
	f.problems = problems
	if bad := problems.errors(); len(bad) > 0 {
		s.Log.Error("a rule file is refused; what it held before goes on", "file", path, "problems", len(bad), "first", bad[0].String())
		return false
	}
	f.rules, f.calendars = rules, calendars
	return true
}

// lookAround reads again what depends on profiles and calendars that have changed. A first time for
// calendars that a later file holds.
func (s *Store) lookAround() {
	for range 2 {
		if s.follow() {
			s.publish()
		}
	}
}

func (s *Store) known() []string {
	if s.Known == nil {
		return nil
	}
	return s.Known()
}

const ruleKey = "rule:"

// apply takes one entry of the bucket.
func (s *Store) apply(key string, value []byte) {
	id, ok := strings.CutPrefix(key, ruleKey)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.apiBad, id)
	if value == nil {
		if s.api[id] == nil {
			return
		}
		delete(s.api, id)
		s.publish()
		return
	}
	if s.keep(id, value) {
		s.publish()
	}
}

// keep parses what the API was given and reports whether its rules changed.
func (s *Store) keep(id string, body []byte) bool {
	rules, problems := parseOne(id, body, s.known(), s.environment())
	if bad := problems.errors(); len(bad) > 0 {
		s.apiBad[id] = bad
		s.Log.Error("a kept rule is refused; what it was before goes on", "rule", id, "first", bad[0].String())
		return false
	}
	delete(s.apiBad, id)
	old := s.api[id]
	s.api[id] = &keptRule{body, rules}
	return old == nil || !sameRules(old.rules, rules)
}

// ParseRule reads one rule, YAML or JSON, called id; a body without an id takes this one. The error is a
// Problems.
func ParseRule(id string, body []byte) (*Rule, error) { return parseRule(id, body, environment{}) }

func parseRule(id string, body []byte, env environment) (*Rule, error) {
	rules, problems := parseOne(id, body, nil, env)
	if len(rules) == 0 && len(problems.errors()) == 0 {
		problems = Problems{{File: "api/" + id, Line: 1, Column: 1, Rule: id, Message: "for_each: found a template, want one rule"}}
	}
	if bad := problems.errors(); len(bad) > 0 {
		return nil, bad
	}
	return rules[0], nil
}

// parseOne reads the one rule of an API request, or the rules that it stands for as a template.
func parseOne(id string, body []byte, known []string, env environment) ([]*Rule, Problems) {
	p := newParser("api/"+id, known, env)
	p.id = id
	rules := p.parse(body)
	p.problems.sort()
	if len(p.problems.errors()) > 0 {
		return nil, p.problems
	}
	if p.template != "" && p.template == id {
		return rules, p.problems
	}
	if len(rules) != 1 {
		p.fail(1, 1, "%d rules, want one", len(rules))
		return nil, p.problems
	}
	if rules[0].ID != id {
		p.fail(rules[0].Line, 1, "id: found %q, want %q as in the address", rules[0].ID, id)
		return nil, p.problems
	}
	return rules, p.problems
}

// publish makes the set anew and wakes those who wait for a change.
func (s *Store) publish() {
	all := slices.Clone(s.shipped)
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	from := map[string]string{}
	for _, name := range names {
		f := s.files[name]
		for _, r := range f.rules {
			if other, twice := from[r.ID]; twice {
				s.Log.Warn("two rule files hold one id; the later counts", "rule", r.ID, "files", []string{other, name})
			}
			from[r.ID] = name
		}
		all = append(all, f.rules...)
	}
	for _, k := range s.api {
		all = append(all, k.rules...)
	}
	next := NewSet(all...)
	if next.Version == s.set.Version {
		return
	}
	s.set = next
	close(s.changed)
	s.changed = make(chan struct{})
	s.Log.Info("rules changed", "rules", len(next.Rules), "version", next.Version)
	for _, p := range crowded(next) {
		s.Log.Warn("the rules of all files together read too much", "problem", p.String())
	}
}

// Set is the rules in force.
func (s *Store) Set() *Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.init()
	return s.set
}

// Changed returns a channel that is closed at the next change of the set.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.init()
	return s.changed
}

// Problems is what is wrong with files and kept rules now, warnings included.
func (s *Store) Problems() []Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.init()
	var all Problems
	for _, f := range s.files {
		all = append(all, f.problems...)
	}
	for _, bad := range s.apiBad {
		all = append(all, bad...)
	}
	for id, what := range circles(s.set.Rules) { // over several files; their events are kept from them
		r := s.set.Rule(id)
		all = append(all, Problem{File: r.File, Line: r.Line, Column: r.column, Rule: id, Message: what})
	}
	if s.dirBad != nil {
		all = append(all, Problem{File: s.Dir, Line: 1, Column: 1, Message: s.dirBad.Error()})
	}
	all = append(all, crowded(s.set)...)
	if s.Overrides != nil {
		all = append(all, CheckOverrides(s.set, s.Overrides)...)
	}
	all.sort()
	return all
}

// Put keeps a rule, YAML or JSON, under id; it is in force when the bucket tells of it, here when
// Put returns. A body without an id takes this one; of a template the first of its rules is returned. The error is a Problems where the rule is at
// fault; warnings are returned beside the rule.
func (s *Store) Put(ctx context.Context, id string, body []byte) (*Rule, Problems, error) {
	if s.Bucket == nil {
		return nil, nil, errors.New("keep a rule: no bucket to keep it in")
	}
	if !idForm.MatchString(id) {
		return nil, nil, Problems{{File: "api", Line: 1, Column: 1, Message: fmt.Sprintf("id: found %q, want 1 to 128 letters, digits, _ . and -", clip(id, 40))}}
	}
	s.mu.Lock()
	s.init()
	env := s.environment()
	s.mu.Unlock()
	made, problems := parseOne(id, body, s.known(), env)
	if all := s.Set(); len(all.Rules)+len(made) > s.most && all.Rule(id) == nil {
		problems = append(problems, Problem{File: "api/" + id, Line: 1, Column: 1, Rule: id, Message: fmt.Sprintf("rules: %d beside %d, want at most %d together", len(made), len(all.Rules), s.most)})
	}
	if bad := problems.errors(); len(bad) > 0 {
		return nil, nil, bad
	}
	r := &Rule{ID: id, Template: id, Severity: "warning", On: onObservations, Key: "device", File: "api/" + id} // of a template without any
	if len(made) > 0 {
		r = made[0]
	}
	if what := circles(NewSet(append(slices.Clone(s.Set().Rules), made...)...).Rules)[r.ID]; what != "" {
		return nil, nil, Problems{{File: r.File, Line: r.Line, Column: r.column, Rule: id, Message: what}}
	}
	if err := s.Bucket.Put(ctx, ruleKey+id, body); err != nil {
		return nil, nil, fmt.Errorf("keep rule %s: %w", id, err)
	}
	s.apply(ruleKey+id, body)
	return r, append(problems, crowded(s.Set())...), nil
}

// Delete removes a rule that came through the API; one of a file that it stood over counts again.
// ErrNotFound or ErrFromFile where there is none of the API.
func (s *Store) Delete(ctx context.Context, id string) error {
	s.mu.Lock()
	s.init()
	held, other := s.api[id] != nil || s.apiBad[id] != nil, s.set.Rule(id)
	s.mu.Unlock()
	switch {
	case !held && other != nil:
		return fmt.Errorf("remove rule %s of %s: %w", id, other.File, ErrFromFile)
	case !held:
		return fmt.Errorf("remove rule %s: %w", id, ErrNotFound)
	}
	if err := s.Bucket.Delete(ctx, ruleKey+id); err != nil {
		return fmt.Errorf("remove rule %s: %w", id, err)
	}
	s.apply(ruleKey+id, nil)
	return nil
}
