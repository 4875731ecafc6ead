package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Severities, from the least.
var Severities = []string{"info", "warning", "major", "critical"}

// A Rule is one rule as it was written. It is immutable; its JSON form is the one of the API.
type Rule struct {
	ID       string
	Title    map[string]string // by language: en, it
	Domain   string            // "" for every domain
	Severity string            // of Severities
	On       string            // observations, detections, tracks, counts, uplinks or events
	When     string            // CEL; "" only with Absent
	For      time.Duration
	Hold     time.Duration     // on rows: how long an episode lasts after the last one that matched; 0 for the default
	Clear    string            // CEL; "" for `when` is false
	Key      string            // device, zone, domain, camera or CEL
	Absent   time.Duration     // 0 for none
	Text     string            // template; "" for the title
	Window   *Window           // nil for none
	Let      map[string]string // of a window: an aggregate by name
	Waits    bool              // late: wait: windows are judged once, when the lateness is over
	Sequence []Step            // nil for none
	Unless   *Step             // nil for none
	Params   map[string]any    // named constants, float64 or string, that the registry may override
	Schedule *Schedule         // nil for always
	Profile  string            // whose devices it is about; "" for all
	Template string            // that it is one of the rules of; "" for none
	Disabled bool
	Shadow   bool // mode: shadow: judged and counted, and no alarm of anyone's

	File    string // where it was read
	Line    int
	column  int      // where it begins on its line
	Version string   // short hash of all that was written of the rule
	Metrics []string // what it reads, sorted

	clearOn string // what clear of a sequence is about; "" for what the rule is

	logic string // hash of what decides, without words and severity
	kept  string // the rule in JSON, for checkpoints
	code  *code
	// calendars are those that it depends on, as they were written.
	calendars []any
}

type ruleJSON struct {
	ID       string            `json:"id"`
	Title    map[string]string `json:"title,omitempty"`
	Domain   string            `json:"domain,omitempty"`
	Severity string            `json:"severity"`
	On       string            `json:"on"`
	When     string            `json:"when,omitempty"`
	For      string            `json:"for,omitempty"`
	Hold     string            `json:"hold,omitempty"`
	Clear    string            `json:"clear,omitempty"`
	Key      string            `json:"key"`
	Absent   string            `json:"absent,omitempty"`
	Text     string            `json:"text,omitempty"`
	Window   *windowJSON       `json:"window,omitempty"`
	Let      map[string]string `json:"let,omitempty"`
	Late     string            `json:"late,omitempty"` // wait; "" for correct
	Sequence []stepJSON        `json:"sequence,omitempty"`
	Unless   *stepJSON         `json:"unless,omitempty"`
	Params   map[string]any    `json:"params,omitempty"`
	Schedule *Schedule         `json:"schedule,omitempty"`
	Profile  string            `json:"profile,omitempty"`
	Template string            `json:"template,omitempty"`
	Enabled  bool              `json:"enabled"`
	Mode     string            `json:"mode,omitempty"` // shadow; "" for live
	Version  string            `json:"version,omitempty"`
	File     string            `json:"file,omitempty"`
	Line     int               `json:"line,omitempty"`
	Metrics  []string          `json:"metrics,omitempty"`
}

func (r *Rule) json() ruleJSON {
	j := ruleJSON{
		ID: r.ID, Title: r.Title, Domain: r.Domain, Severity: r.Severity, On: r.On, When: r.When, Clear: r.Clear,
		Key: r.Key, Text: r.Text, Let: r.Let, Params: r.Params, Schedule: r.Schedule, Profile: r.Profile, Template: r.Template, Enabled: !r.Disabled, Version: r.Version, File: r.File, Line: r.Line, Metrics: r.Metrics,
	}
	if r.For > 0 {
		j.For = formatDuration(r.For)
	}
	if r.Shadow {
		j.Mode = "shadow"
	}
	if r.Waits {
		j.Late = "wait"
	}
	if r.Hold > 0 {
		j.Hold = formatDuration(r.Hold)
	}
	if r.Absent > 0 {
		j.Absent = formatDuration(r.Absent)
	}
	for _, s := range r.Sequence {
		j.Sequence = append(j.Sequence, s.json())
	}
	if r.Unless != nil {
		u := r.Unless.json()
		j.Unless = &u
	}
	if w := r.Window; w != nil {
		j.Window = &windowJSON{Type: w.Type}
		for text, d := range map[*string]time.Duration{&j.Window.Size: w.Size, &j.Window.Every: w.Every, &j.Window.Gap: w.Gap} {
			if d > 0 {
				*text = formatDuration(d)
			}
		}
	}
	return j
}

type stepJSON struct {
	As     string `json:"as,omitempty"`
	On     string `json:"on,omitempty"`
	Within string `json:"within,omitempty"`
	When   string `json:"when"`
}

func (s Step) json() stepJSON {
	j := stepJSON{As: s.As, On: s.On, When: s.When}
	if s.Within > 0 {
		j.Within = formatDuration(s.Within)
	}
	return j
}

type windowJSON struct {
	Type  string `json:"type"`
	Size  string `json:"size,omitempty"`
	Every string `json:"every,omitempty"`
	Gap   string `json:"gap,omitempty"`
}

// Written is the rule in JSON as it was written, which Parse and the API take.
func (r *Rule) Written() json.RawMessage {
	j := r.json()
	j.Version, j.File, j.Line, j.Metrics, j.Template = "", "", 0, nil, ""
	return plainJSON(j)
}

// WrittenWhole is Written as a rule file that has the calendars too which the rule names.
func (r *Rule) WrittenWhole() json.RawMessage {
	calendars := make([]any, 0, len(r.calendars))
	for _, c := range r.calendars {
		calendars = append(calendars, withDates(c))
	}
	return plainJSON(map[string]any{"calendars": calendars, "rules": []json.RawMessage{r.Written()}})
}

// withDates is v, read from YAML, with what that took for instants as the days that they were written as.
func withDates(v any) any {
	switch v := v.(type) {
	case time.Time:
		return v.Format(time.DateOnly)
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = withDates(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = withDates(x)
		}
		return out
	}
	return v
}

// MarshalJSON writes the rule with its version, the file it came from and the metrics it reads.
func (r *Rule) MarshalJSON() ([]byte, error) { return json.Marshal(r.json()) }

// stamp sets the hashes.
func (r *Rule) stamp() {
	j := r.json()
	j.Version, j.File, j.Line, j.Metrics = "", "", 0, nil
	j.Template = ""
	hash := func() string {
		if len(r.calendars) > 0 {
			return shortHash([]any{j, r.calendars})
		}
		return shortHash(j)
	}
	r.Version = hash()
	j.Title, j.Severity, j.Text = nil, "", ""
	r.logic = hash()
	r.kept = string(plainJSON(r))
}

func shortHash(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("BUG: a rule that JSON cannot write: %v", err))
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6])
}

// title is the rule's name for people.
func (r *Rule) title() string {
	for _, lang := range []string{"en", "it"} {
		if t := r.Title[lang]; t != "" {
			return t
		}
	}
	return r.ID
}

// spans reports whether the rule's keys are of many devices.
func (r *Rule) spans() bool { return r.Key != "device" && r.Key != "camera" }

// shared reports whether the shared shard judges the rule: its keys span partitions, it asks other devices, or it is
// ordered.
func (r *Rule) shared() bool { return r.spans() || r.asks() && r.Absent == 0 || r.ordered() }

// wide reports whether the worker judges the rule that has the keys of all partitions.
func (r *Rule) wide() bool { return r.spans() || r.asks() || r.ordered() }

// ordered reports whether what windows or sequences take of a message is not its own alone, but what other devices
// have said before, or functions of what its own has; of rows likewise. Events are corrected, which windows and sequences
// cannot take back.
func (r *Rule) ordered() bool {
	return r.windowed() && r.code != nil && (len(r.code.joins) > 0 || r.code.remembers || r.takes(OnEvents))
}

// surelyAlone reports whether an ordered rule is judged once, when the lateness is over, and by the second engine alone.
func (r *Rule) surelyAlone() bool { return r.ordered() && (r.Sequence != nil || r.Waits) }

// windowed reports whether the rule is about windows or sequences of messages, not about values that stand.
func (r *Rule) windowed() bool { return r.Window != nil || r.Sequence != nil }

// sameKeys reports whether episodes of old mean the same under r.
func (r *Rule) sameKeys(old *Rule) bool {
	return r.Key == old.Key && r.Domain == old.Domain && r.On == old.On && r.Shadow == old.Shadow && (r.Absent > 0) == (old.Absent > 0) &&
		(r.Window == nil) == (old.Window == nil) && (r.Sequence == nil) == (old.Sequence == nil)
}

// A Set is rules that run together, sorted by id, no id twice. It is immutable.
type Set struct {
	Rules   []*Rule
	Version string // changes with any rule of it
}

// NewSet makes a set; of rules with the same id the last one stays.
func NewSet(rules ...*Rule) *Set {
	byID := map[string]*Rule{}
	for _, r := range rules {
		byID[r.ID] = r
	}
	s := &Set{}
	for _, r := range byID {
		s.Rules = append(s.Rules, r)
	}
	slices.SortFunc(s.Rules, func(a, b *Rule) int { return strings.Compare(a.ID, b.ID) })
	var all []string
	for _, r := range s.Rules {
		all = append(all, r.ID, r.Version)
	}
	s.Version = shortHash(all)
	return s
}

// Rule returns the rule called id, or nil.
func (s *Set) Rule(id string) *Rule {
	i, ok := slices.BinarySearchFunc(s.Rules, id, func(r *Rule, id string) int { return strings.Compare(r.ID, id) })
	if !ok {
		return nil
	}
	return s.Rules[i]
}

// parseDuration reads what Go does, days besides: "90s", "15m", "1h30m", "2d".
func parseDuration(s string) (time.Duration, error) {
	var days time.Duration
	rest := s
	if head, tail, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseFloat(head, 64)
		if err == nil && !(n >= 0 && n <= 3650) {
			return 0, fmt.Errorf("%q, want a duration from 0 to 3650d", s)
		}
		if err != nil {
			return 0, fmt.Errorf("%q, want a duration such as 90s, 15m, 2h or 1d", s)
		}
		days, rest = time.Duration(n*24*float64(time.Hour)), tail
	}
	if rest == "" && days > 0 || s == "0" {
		return days, nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, fmt.Errorf("%q, want a duration such as 90s, 15m, 2h or 1d", s)
	}
	if d += days; d < 0 || d > 3650*24*time.Hour {
		return 0, fmt.Errorf("%q, want a duration from 0 to 3650d", s)
	}
	return d.Truncate(time.Millisecond), nil
}

// formatDuration writes d without the zero parts that Go writes: 15m, not 15m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
