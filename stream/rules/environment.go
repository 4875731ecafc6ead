package rules

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"panormus/devices"
)

// kept is a rule of the API, or the rules that one stands for as a template.
type keptRule struct {
	body  []byte
	rules []*Rule
}

// environment is what the store's rules may name: profiles, and the calendars of all files.
func (s *Store) environment() environment {
	env := environment{calendars: map[string]*almanac{}}
	if s.Profiles != nil {
		env.profiles = append([]*devices.Profile{}, s.Profiles()...) // none is not the same as not known
	}
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		maps.Copy(env.calendars, s.files[name].calendars)
	}
	return env
}

// parse reads a file in the store's environment.
func (s *Store) parse(path string, data []byte) ([]*Rule, map[string]*almanac, Problems) {
	p := newParser(path, s.known(), s.environment())
	defer s.letGo()()
	rules := p.parse(data)
	p.problems.sort()
	return rules, p.calendars, p.problems
}

// A File is a rule file, by the name that problems are told under.
type File struct {
	Name string
	Data []byte
}

// CheckFiles reads rule files that belong together: each may name the calendars of the others. It returns the
// rules of those that are not at fault, and all that is wrong; profiles are nil where they are not known.
func CheckFiles(files []File, profiles []*devices.Profile) ([]*Rule, Problems) {
	env := environment{profiles: profiles, calendars: map[string]*almanac{}}
	for _, f := range files {
		p := newParser(f.Name, nil, environment{})
		p.parse(f.Data)
		maps.Copy(env.calendars, p.calendars)
	}
	var all []*Rule
	var wrong Problems
	for _, f := range files {
		rules, problems := parse(f.Name, f.Data, KnownMetrics(profiles), env)
		if wrong = append(wrong, problems...); len(problems.errors()) == 0 {
			all = append(all, rules...)
		}
	}
	return all, append(wrong, crowded(NewSet(all...))...)
}

// Check is what would be wrong with a rule file beside those that the store has: with their calendars, and with
// the profiles. heard are metrics that are known beside those of profiles, since devices have said them.
func (s *Store) Check(file string, data []byte, heard []string) Problems {
	s.mu.Lock()
	s.init()
	p := newParser(file, slices.Concat(s.known(), heard), s.environment()) // nil without any
	s.mu.Unlock()
	p.heard = len(heard) > 0
	p.parse(data)
	p.problems.sort()
	return p.problems
}

// Parse is ParseRule with the calendars that the store's files have.
func (s *Store) Parse(id string, body []byte) (*Rule, error) {
	s.mu.Lock()
	s.init()
	env := s.environment()
	s.mu.Unlock()
	return parseRule(id, body, env)
}

// depends reports whether what a text says may depend on profiles or on calendars of other files.
func depends(text []byte) bool {
	for _, word := range []string{"for_each", "schedule", "is_holiday", "working_hours"} {
		if bytes.Contains(text, []byte(word)) {
			return true
		}
	}
	return false
}

// follow reads again what depends on the environment, if that has changed, and reports whether rules
// changed. What is refused in the new one stays as it was.
func (s *Store) follow() bool {
	env := s.environment()
	calendars := map[string]any{}
	for id, c := range env.calendars {
		calendars[id] = c.written
	}
	profiles := make([]json.RawMessage, len(env.profiles))
	for i, p := range env.profiles {
		profiles[i] = plainJSON(devices.Profile{ID: p.ID, Domain: p.Domain, ExpectedPeriod: p.ExpectedPeriod, Metrics: p.Metrics})
	}
	now := shortHash([]any{calendars, profiles})
	if now == s.env {
		return false
	}
	s.env = now
	changed := false
	for name, f := range s.files {
		if f.data != nil && depends(f.data) {
			data := f.data
			f.data = nil // as if it were new
			changed = s.take(name, f, data) || changed
		}
	}
	for id, k := range s.api {
		if depends(k.body) {
			changed = s.keep(id, k.body) || changed
		}
	}
	return changed
}

// sameRules reports whether two lists are of the same rules in the same versions.
func sameRules(a, b []*Rule) bool {
	return slices.EqualFunc(a, b, func(x, y *Rule) bool { return x.ID == y.ID && x.Version == y.Version })
}
