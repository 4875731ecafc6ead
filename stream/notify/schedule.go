package notify

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a machine without zone files has the city's time all the same
)

// A Span is a part of some days, by the clock on the wall in Rome.
type Span struct {
	// Days are mon, tue, wed, thu, fri, sat, sun; empty: all. A span past midnight belongs to the day
	// it begins on.
	Days []string `json:"days,omitempty" yaml:"days"`
	// From and To are 15:04; To 24:00 is midnight. To before or at From is on the next day.
	From string `json:"from,omitempty" yaml:"from"`
	To   string `json:"to,omitempty" yaml:"to"`
}

var days = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

const day = 24 * 60 // minutes

// rome is the city's time.
var rome = sync.OnceValue(func() *time.Location {
	l, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		panic("BUG: no Europe/Rome though it is compiled in: " + err.Error())
	}
	return l
})

func (s *Span) check() error {
	for _, d := range s.Days {
		if !slices.Contains(days, d) {
			return fmt.Errorf("day %.20q, want any of %s", d, strings.Join(days, ", "))
		}
	}
	_, _, err := s.minutes()
	return err
}

// minutes are the span's ends in minutes since midnight; the second is behind the first and may be
// behind the day's end.
func (s *Span) minutes() (from, to int, err error) {
	parse := func(v string, otherwise int) int {
		if v == "" {
			return otherwise
		}
		if v == "24:00" {
			return day
		}
		t, perr := time.Parse("15:04", v)
		if perr != nil {
			err = fmt.Errorf("time %.20q, want one such as 08:30", v)
		}
		return t.Hour()*60 + t.Minute()
	}
	from, to = parse(s.From, 0), parse(s.To, day)
	if to <= from {
		to += day
	}
	return from, to, err
}

func (s *Span) contains(t time.Time) bool {
	t = t.In(rome())
	from, to, err := s.minutes()
	if err != nil {
		return false // Check has refused it
	}
	on := func(weekday time.Weekday) bool { return len(s.Days) == 0 || slices.Contains(s.Days, days[weekday]) }
	now := t.Hour()*60 + t.Minute()
	return now >= from && now < to && on(t.Weekday()) || now+day < to && on((t.Weekday()+6)%7)
}

func open(schedule []Span, t time.Time) bool {
	return len(schedule) == 0 || slices.ContainsFunc(schedule, func(s Span) bool { return s.contains(t) })
}

// opens is when the schedule is open at or after t, to the minute: spans begin on minutes. One that
// never is answers a week later, when it is asked again.
func opens(schedule []Span, t time.Time) time.Time {
	if open(schedule, t) {
		return t
	}
	// By the minute, so that the hours that clocks are put forward and back need no thought.
	at := t.Truncate(time.Minute)
	for range 7*day + 60 {
		at = at.Add(time.Minute)
		if open(schedule, at) {
			return at
		}
	}
	return at
}
