package ingest

import (
	"regexp"
	"strings"
)

// A Speaker says which level of some topics names the device: the Level-th, from 1, of those that the regular
// expression Topics matches; 0 where each message names its own.
type Speaker struct {
	Topics string // RE2, of whole topics
	Level  int
}

// Speakers are what routes say of whose a topic is, for those who have topics alone. As with routes the first that
// matches counts.
func Speakers(routes []Route) []Speaker {
	out := make([]Speaker, len(routes))
	for i, r := range routes {
		var b strings.Builder
		b.WriteString(`(?s)^`)
		for at, level := range strings.Split(r.Filter, "/") {
			slash := "/"
			if at == 0 {
				slash = ""
			}
			switch {
			case level == "#" && at == 0:
				b.WriteString(`([^$].*)?`)
			case level == "#":
				b.WriteString(`(/.*)?`)
			case level == "+" && at == 0:
				b.WriteString(`([^$/][^/]*)?`)
			case level == "+":
				b.WriteString(slash + `[^/]*`)
			default:
				b.WriteString(slash + regexp.QuoteMeta(level))
			}
			if level == "+" && r.Decoder != Ignore {
				out[i].Level = at + 1 // the last one counts
			}
		}
		b.WriteString(`$`)
		out[i].Topics = b.String()
	}
	return out
}
