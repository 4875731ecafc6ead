package rules

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"go.yaml.in/yaml/v3"
)

// A Schedule is when a rule is judged, in the city's legal time.
type Schedule struct {
	Days     []string `json:"days,omitempty"`     // mon…sun; empty for all
	Hours    []string `json:"hours,omitempty"`    // "08:00-19:00"; empty for the whole day
	Holidays string   `json:"holidays,omitempty"` // include, exclude or only
	Calendar string   `json:"calendar,omitempty"` // whose holidays; "" for the city's

	days     [7]bool // from Monday
	hours    [][2]int
	calendar *almanac
}

var dayNames = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

var hourForm = regexp.MustCompile(`^([01]?[0-9]|2[0-4]):([0-5][0-9])-([01]?[0-9]|2[0-4]):([0-5][0-9])$`)

const scheduleReason = "the schedule ended"

// parseSchedule reads a rule's `schedule`.
func (p *parser) parseSchedule(r *Rule, n *yaml.Node) {
	s := &Schedule{}
	if !p.parseTimes("schedule", n, s, []string{"days", "hours", "holidays", "calendar"}) {
		return
	}
	s.calendar = p.calendar(n, "schedule.calendar", s.Calendar)
	r.Schedule = s
}

// parseTimes reads days, hours and what goes with them.
func (p *parser) parseTimes(where string, n *yaml.Node, s *Schedule, keys []string) bool {
	if n.Kind != yaml.MappingNode {
		p.failAt(n, "%s: found %s, want a mapping such as {days: [mon-fri], hours: \"08:00-19:00\"}", where, describe(n))
		return false
	}
	before := p.faulty()
	s.days = [7]bool{true, true, true, true, true, true, true}
	s.hours = [][2]int{{0, 24 * 60}}
	s.Holidays = "include"
	p.eachKey(n, keys, nil, func(key string, _, v *yaml.Node) {
		list := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			list = v.Content
		}
		switch key {
		case "days":
			s.days = [7]bool{}
		case "hours":
			s.hours = nil
		}
		for _, x := range list {
			text, ok := p.scalar(where+"."+key, x, 64)
			if !ok {
				continue
			}
			switch key {
			case "days":
				p.parseDays(where, x, text, s)
			case "hours":
				for _, one := range strings.Split(text, ",") {
					p.parseHours(where, x, strings.TrimSpace(one), s)
				}
			case "holidays":
				all := []string{"include", "exclude", "only"}
				if s.Holidays = text; !slices.Contains(all, text) {
					p.failAt(x, "%s.holidays: found %q%s; want include, exclude or only", where, text, didYouMean(text, all))
				}
			case "calendar":
				s.Calendar = text
			}
		}
	})
	slices.SortFunc(s.hours, func(a, b [2]int) int { return a[0] - b[0] })
	return p.faulty() == before
}

func (p *parser) parseDays(where string, n *yaml.Node, text string, s *Schedule) {
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, to := slices.Index(dayNames, first), slices.Index(dayNames, last)
	if from < 0 || to < 0 {
		p.failAt(n, "%s.days: found %q%s; want days such as mon, or mon-fri", where, text, didYouMean(text, dayNames))
		return
	}
	for d := from; ; d = (d + 1) % 7 {
		s.days[d] = true
		if d == to {
			break
		}
	}
	s.Days = append(s.Days, text)
}

func (p *parser) parseHours(where string, n *yaml.Node, text string, s *Schedule) {
	m := hourForm.FindStringSubmatch(text)
	if m == nil {
		p.failAt(n, "%s.hours: found %q, want times from 00:00 to 24:00 such as \"08:00-19:00\"", where, text)
		return
	}
	var v [4]int
	for i := range v {
		v[i], _ = strconv.Atoi(m[i+1])
	}
	from, to := v[0]*60+v[1], v[2]*60+v[3]
	if from >= 24*60 || to > 24*60 || from == to {
		p.failAt(n, "%s.hours: found %q, want an end after the beginning, or before it on the next day, by 24:00", where, text)
		return
	}
	if to < from {
		to += 24 * 60
	}
	s.hours = append(s.hours, [2]int{from, to})
	s.Hours = append(s.Hours, text)
}

// on reports whether the schedule has a day at all.
func (s *Schedule) on(day time.Time) bool {
	holiday := s.Holidays != "include" && s.calendar.holiday(day.Year(), day.Month(), day.Day())
	switch s.Holidays {
	case "exclude":
		if holiday {
			return false
		}
	case "only":
		if !holiday {
			return false
		}
	}
	return s.days[(int(day.Weekday())+6)%7]
}

// A stretch is a time in which a schedule is the same, [from, until) in Unix ms.
type stretch struct {
	of          *Schedule
	in          bool
	from, until int64
}

// lookAhead is how far a schedule's next change is looked for, in days.
const lookAhead = 400

// at is the stretch that a time is in.
func (s *Schedule) at(ms int64, loc *time.Location) stretch {
	t := time.UnixMilli(ms).In(loc)
	out := stretch{of: s, from: math.MinInt64, until: math.MaxInt64}
	// A day's hours may reach into the next.
	for d := -2; d <= lookAhead; d++ {
		day := time.Date(t.Year(), t.Month(), t.Day()+d, 0, 0, 0, 0, loc)
		if d < 0 {
			out.from = max(out.from, day.UnixMilli())
		}
		if !s.on(day) {
			if out.in && day.AddDate(0, 0, 1).UnixMilli() > out.until {
				return out
			}
			continue
		}
		for _, h := range s.hours {
			from, to := clockTime(day, h[0], loc), clockTime(day, h[1], loc)
			switch {
			case out.in && from <= out.until:
				out.until = max(out.until, to)
			case out.in:
				return out
			case from <= ms && ms < to:
				out.in, out.from, out.until = true, from, to
			case to <= ms:
				out.from = max(out.from, to)
			default: // it begins later
				out.until = min(out.until, from)
			}
		}
		if !out.in && out.until < math.MaxInt64 {
			return out
		}
	}
	if out.in { // it does not end as far as is looked
		out.until = math.MaxInt64
	}
	return out
}

// clockTime is when clocks show so many minutes of a day, Unix ms. Of an hour that comes twice it is the
// first, of one that does not come what would be it.
func clockTime(day time.Time, minutes int, loc *time.Location) int64 {
	t := time.Date(day.Year(), day.Month(), day.Day(), 0, minutes, 0, 0, loc)
	if earlier := t.Add(-time.Hour); earlier.Hour() == t.Hour() && earlier.Minute() == t.Minute() {
		t = earlier
	}
	return t.UnixMilli()
}

// stretch is the one of a rule's schedule that a time is in.
func (f *frame) stretch(r *bound, at int64) *stretch {
	for len(f.stretches) <= r.global {
		f.stretches = append(f.stretches, stretch{})
	}
	s := &f.stretches[r.global]
	if s.of != r.Schedule || at < s.from || at >= s.until {
		*s = r.Schedule.at(at, f.cfg.Location)
	}
	return s
}

// inForce reports whether the rule is judged at a time.
func (f *frame) inForce(r *bound, at int64) bool { return r.Schedule == nil || f.stretch(r, at).in }

// scheduleEnd is when what began at a time ends with the rule's schedule.
func (f *frame) scheduleEnd(r *bound, start int64) int64 {
	if r.Schedule == nil {
		return math.MaxInt64
	}
	if s := f.stretch(r, start); s.in {
		return s.until
	}
	return start // it was another schedule's
}

// endScheduled ends the episodes of a device whose rules' schedules end by now.
func (s *shard) endScheduled(d *device, now int64) {
	for i := int(d.episodes.n) - 1; i >= 0; i-- {
		ep := &d.episodes.all()[i]
		r := d.plan.rules[ep.rule]
		if r.Schedule == nil || r.Absent > 0 {
			continue
		}
		if end := s.frame.scheduleEnd(r, ep.start); end <= now {
			s.endAt(d, r, ep, max(end, ep.start))
		}
	}
}

func (s *shard) endAt(d *device, r *bound, ep *episode, end int64) {
	s.frameOf(d, end)
	switch ep.state {
	case member:
		s.leaves(d, r, ep, scheduleReason)
		return
	case raised:
		s.emit(d, r, "cleared", ep.start, end, scheduleReason)
	}
	d.drop(r.index)
}

// armEnd has the clock end an episode with its rule's schedule.
func (s *shard) armEnd(d *device, r *bound, start int64) {
	if r.Schedule != nil {
		if end := s.frame.scheduleEnd(r, start); end < math.MaxInt64 {
			s.timers.push(due{end, d})
		}
	}
}

// outOfHours puts a silence off that runs out outside of its rule's schedule, to where that begins.
func (s *shard) outOfHours(d *device, r *bound, now int64) bool {
	if r.Schedule == nil {
		return false
	}
	st := s.frame.stretch(r, now)
	if st.in {
		return false
	}
	s.silence.push(timer{at: max(st.until, now+1000), dev: d, rule: int32(r.index)})
	return true
}

// endSilence ends a silence with its rule's schedule.
func (s *shard) endSilence(d *device, r *bound, ep *episode, at int64) {
	s.frameOf(d, max(at, ep.start))
	s.emit(d, r, "cleared", ep.start, s.frame.now, scheduleReason)
	d.drop(r.index)
	s.silence.push(timer{at: at + 1000, dev: d, rule: int32(r.index)})
}

// armSilenceEnd has the clock end a silence that stands at now.
func (s *shard) armSilenceEnd(d *device, r *bound, now int64) {
	if r.Schedule == nil {
		return
	}
	end := now
	if st := s.frame.stretch(r, now); st.in {
		end = st.until
	}
	if end < math.MaxInt64 {
		s.silence.push(timer{at: end, dev: d, rule: int32(r.index), ends: true})
	}
}

// An almanac is a calendar: it says which days are holidays, and when people work.
type almanac struct {
	id       string
	national bool           // Italy's holidays
	yearly   map[int]bool   // month*100 + day
	dates    [][2]int       // first and last, year*10000 + month*100 + day
	working  *Schedule      // of working_hours()
	written  map[string]any // for the version of rules that use it
}

func (c *almanac) holiday(year int, month time.Month, day int) bool {
	if c.national && nationalHoliday(year, month, day) || c.yearly[int(month)*100+day] {
		return true
	}
	date := year*10_000 + int(month)*100 + day
	return slices.ContainsFunc(c.dates, func(d [2]int) bool { return d[0] <= date && date <= d[1] })
}

// builtCalendars are those that need no entry: city is Palermo's until a file says otherwise.
func builtCalendars() map[string]*almanac {
	made := func(id string, national bool, yearly ...int) *almanac {
		c := &almanac{id: id, national: national, yearly: map[int]bool{}}
		for _, d := range yearly {
			c.yearly[d] = true
		}
		c.working = workingTimes(c)
		return c
	}
	return map[string]*almanac{"city": made("city", true, 715), "palermo": made("palermo", true, 715), "italy": made("italy", true), "none": made("none", false)}
}

// workingTimes are Monday to Friday from 8 to 18, but for holidays.
func workingTimes(c *almanac) *Schedule {
	return &Schedule{Holidays: "exclude", days: [7]bool{true, true, true, true, true}, hours: [][2]int{{8 * 60, 18 * 60}}, calendar: c}
}

var dateForm = regexp.MustCompile(`^(?:([0-9]{4})-)?([0-9]{2})-([0-9]{2})$`)

// maxHolidays bounds the days of a calendar.
const maxHolidays = 1000

// parseCalendars reads a file's `calendars`.
func (p *parser) parseCalendars(n *yaml.Node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > 100 {
		p.failAt(n, "calendars: found %s, want a list of at most 100 such as {id: city, holidays: [07-15]}", describe(n))
		return
	}
	for _, x := range n.Content {
		if x.Kind != yaml.MappingNode {
			p.failAt(x, "calendars: found %s, want a mapping such as {id: city, holidays: [07-15]}", describe(x))
			continue
		}
		c := &almanac{national: true, yearly: map[int]bool{}}
		c.working = workingTimes(c)
		p.eachKey(x, []string{"id", "base", "holidays", "working"}, nil, func(key string, _, v *yaml.Node) {
			switch key {
			case "id":
				if s, ok := p.scalar("calendars.id", v, 64); ok {
					if c.id = s; !idForm.MatchString(s) {
						p.failAt(v, "calendars.id: found %q, want letters, digits, _ . and -", clip(s, 40))
					}
				}
			case "base":
				s, _ := p.scalar("calendars.base", v, 64)
				if c.national = s == "italy"; s != "italy" && s != "none" {
					p.failAt(v, "calendars.base: found %q, want italy (its national holidays) or none", s)
				}
			case "holidays":
				p.parseHolidays(v, c)
			case "working":
				w := &Schedule{}
				if p.parseTimes("calendars.working", v, w, []string{"days", "hours"}) {
					w.Holidays, w.calendar = "exclude", c
					c.working = w
				}
			}
		})
		if c.id == "" {
			p.failAt(x, "calendars: no id, want one, such as city for the city's own")
			continue
		}
		if err := x.Decode(&c.written); err != nil {
			p.failAt(x, "calendars: %v", err)
		}
		p.calendars[c.id] = c
	}
}

func (p *parser) parseHolidays(n *yaml.Node, c *almanac) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > maxHolidays {
		p.failAt(n, "calendars.holidays: found %s, want a list of at most %d days", describe(n), maxHolidays)
		return
	}
	for _, x := range n.Content {
		first, last, isRange := strings.Cut(x.Value, "..")
		if !isRange {
			last = first
		}
		y1, md1, ok1 := parseDate(first)
		y2, md2, ok2 := parseDate(last)
		switch {
		case x.Kind != yaml.ScalarNode || !ok1 || !ok2 || isRange && (y1 == 0 || y2 == 0) || y1*10_000+md1 > y2*10_000+md2:
			p.failAt(x, "calendars.holidays: found %s, want 07-15 for every year, 2026-12-24, or 2026-12-24..2027-01-06", describe(x))
		case y1 == 0:
			c.yearly[md1] = true
		default:
			c.dates = append(c.dates, [2]int{y1*10_000 + md1, y2*10_000 + md2})
		}
	}
}

// parseDate reads 07-15 or 2026-07-15; the year is 0 where there is none.
func parseDate(s string) (year, monthDay int, ok bool) {
	m := dateForm.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	year, _ = strconv.Atoi(m[1])
	month, _ := strconv.Atoi(m[2])
	day, _ := strconv.Atoi(m[3])
	of := year
	if of == 0 {
		of = 2028 // a leap year
	}
	t := time.Date(of, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return year, month*100 + day, int(t.Month()) == month && t.Day() == day
}

// calendar is the one called id, "" for the city's, and is noted as one that the rule in hand depends on.
// Where there is none the fault is reported at n.
func (p *parser) calendar(n *yaml.Node, where, id string) *almanac {
	if id == "" {
		id = "city"
	}
	c := p.findCalendar(id)
	if c == nil {
		p.failAt(n, "%s: %s", where, p.noCalendar(id))
		return builtCalendars()["none"]
	}
	return c
}

func (p *parser) findCalendar(id string) *almanac {
	for _, all := range []map[string]*almanac{p.calendars, p.env.calendars, builtCalendars()} {
		if c := all[id]; c != nil {
			if p.uses == nil {
				p.uses = map[string]*almanac{}
			}
			if c.written != nil {
				p.uses[id] = c
			}
			return c
		}
	}
	return nil
}

func (p *parser) noCalendar(id string) string {
	var ids []string
	for _, all := range []map[string]*almanac{p.calendars, p.env.calendars, builtCalendars()} {
		for id := range all {
			ids = append(ids, id)
		}
	}
	return fmt.Sprintf("found no calendar %q%s; want one of `calendars`, or city, italy or none", clip(id, 40), didYouMean(id, ids))
}

// calendarsUsed are the calendars that the rule in hand depends on, for its version.
func (p *parser) calendarsUsed() []any {
	var out []any
	for _, id := range slices.Sorted(maps.Keys(p.uses)) {
		out = append(out, p.uses[id].written)
	}
	return out
}

// dayCall makes is_holiday() and working_hours(), of a calendar if one is named, a variable.
func (w *rewriter) dayCall(e ast.Expr, fn string, args []ast.Expr) {
	id, ok := "city", true
	if len(args) > 0 {
		id, ok = literalText(args)
	}
	if !ok || id == "" {
		w.failID(w.e, e.ID(), "%s(): want nothing, or the id of a calendar in quotes", fn)
		return
	}
	days := w.p.findCalendar(id)
	if days == nil {
		w.failID(w.e, e.ID(), "%s(): %s", fn, w.p.noCalendar(id))
		return
	}
	name := fn
	if len(args) > 0 {
		name += `("` + id + `")`
	}
	w.vars["@"+name] = variable{source: fromCalendar, kind: kindNum, name: name, days: days}
	e.SetKindCase(w.fac.NewIdent(e.ID(), "@"+name))
}

// ofDay is 1 where the frame's time is a holiday, or of working hours, and else 0.
func (v variable) ofDay() numFunc {
	if strings.HasPrefix(v.name, "working_hours") {
		return func(f *frame) float64 {
			if f.workingTime(v.days).in {
				return 1
			}
			return 0
		}
	}
	return func(f *frame) float64 {
		c := f.clock()
		if v.days.holiday(c.year, time.Month(c.month), int(c.day)) {
			return 1
		}
		return 0
	}
}

// workingTime is the stretch of a calendar's working hours that the frame's time is in.
func (f *frame) workingTime(days *almanac) *stretch {
	if s := &f.working; s.of != days.working || f.now < s.from || f.now >= s.until {
		*s = days.working.at(f.now, f.cfg.Location)
	}
	return &f.working
}

// ofProfile reports whether the rule is about the frame's device.
func (f *frame) ofProfile(r *bound) bool {
	return r.Profile == "" || f.asset().Profile == r.Profile
}

// inHours reports whether the window that ends at a time is judged, and ends what is open of a stretch
// of the schedule that is over.
func inHours(r *bound, st *course, end int64, f *frame, change func(state string, at int64, reason string)) bool {
	if st.raised {
		if over := f.scheduleEnd(r, st.start-1); over < end {
			f.now = max(over, st.start)
			change("cleared", f.now, scheduleReason)
			st.raised = false
			f.now = end
		}
	}
	return f.inForce(r, end-1)
}

// over is when an episode ends that no further row keeps up.
func (e *RowEngine) over(r *bound, ep *rowEpisode) int64 {
	return min(ep.Last+r.holdMs(), e.frame.scheduleEnd(r, ep.Start))
}

func (e *RowEngine) endOver(r *bound, k rowKey, ep *rowEpisode, received int64) {
	at, reason := e.over(r, ep), noMore
	if at < ep.Last+r.holdMs() {
		at, reason = max(at, ep.Start), scheduleReason
	}
	e.end(r, k, ep, at, received, reason)
}
