package push

import (
	"bytes"

	"panormus/ingest/jsonscan"
	"panormus/ingest/xmlscan"
)

// trimmed is a message without what may stand before it.
func trimmed(b []byte) []byte {
	return bytes.TrimLeft(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), " \t\r\n")
}

// isText reports whether what a part holds may be metadata, of whatever type it says it is.
func isText(b []byte) bool {
	b = trimmed(b)
	return len(b) > 0 && (b[0] == '<' || b[0] == '{' || b[0] == '[' || bytes.HasPrefix(b, []byte("Code=")))
}

// sniff finds the format of a message, "" where it is none that is known.
func sniff(b []byte) string {
	t := trimmed(b)
	switch {
	case len(t) == 0:
		return ""
	case t[0] == '<':
		return sniffXML(t)
	case t[0] == '{':
		return sniffJSON(t)
	case bytes.HasPrefix(t, []byte("Code=")):
		return "dahua"
	}
	return ""
}

func sniffXML(b []byte) string {
	var s xmlscan.Scanner
	// What is broken behind its root is for the decoder to refuse.
	if err := s.Reset(b); err != nil && len(s.Name()) == 0 {
		return "onvif-xml"
	}
	if string(s.Name()) == "EventNotificationAlert" {
		return "hikvision"
	}
	return "onvif-xml"
}

// members of messages that only one format has, in the order in which they count.
var members = []struct{ name, format string }{
	{"Frame", "onvif-frame"}, {"MetadataStream", "onvif-frame"}, {"UtcTime", "onvif-event"},
	{"sensorId", "deepstream"}, {"results", "platerecognizer"}, {"hook", "platerecognizer"},
	{"detections", "axis-scene"}, {"channel_id", "axis-scene"}, {"start_time", "axis-track"}, {"frame", "axis-scene"},
}

// sniffJSON looks at the names of a message's own members.
func sniffJSON(b []byte) string {
	var s jsonscan.Scanner
	s.Reset(b)
	if s.Open('{') != nil {
		return ""
	}
	best := len(members)
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil || !more {
			break
		}
		if string(name) == "data_type" {
			if s.Peek() != '"' {
				return ""
			}
			if v, err := s.String(); err == nil && bytes.HasPrefix(v, []byte("alpr_")) {
				return "rekor"
			}
			continue
		}
		for i, m := range members[:best] {
			if string(bytes.TrimPrefix(name, []byte("@"))) == m.name {
				best = i
			}
		}
		// Plate Recognizer's has its results one level below.
		if string(name) == "data" && s.Peek() == '{' && sniffJSONResults(&s) && best == len(members) {
			return "platerecognizer"
		} else if s.Skip() != nil {
			break
		}
	}
	if best == len(members) {
		return ""
	}
	return members[best].format
}

// sniffJSONResults reports whether the object that comes has a member results; it leaves s where it
// was.
func sniffJSONResults(s *jsonscan.Scanner) bool {
	ahead := *s
	if ahead.Open('{') != nil {
		return false
	}
	for first := true; ; first = false {
		name, more, err := ahead.Member(first)
		if err != nil || !more {
			return false
		}
		if string(name) == "results" {
			return true
		}
		if ahead.Skip() != nil {
			return false
		}
	}
}
