package live

// Severity is how grave an alarm is.
type Severity uint8

// The severities, least first.
const (
	Normal Severity = iota
	Info
	Warning
	Major
	Critical
)

var severityNames = [...]string{"normal", "info", "warning", "major", "critical"}

// String is the severity's name.
func (s Severity) String() string { return severityNames[s] }

// ParseSeverity reads a severity's name; one unknown is Info, so that it is seen, and false.
func ParseSeverity(s string) (Severity, bool) {
	for i, n := range severityNames[1:] {
		if s == n {
			return Severity(i + 1), true
		}
	}
	return Info, false
}
