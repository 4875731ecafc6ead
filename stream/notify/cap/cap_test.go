package cap

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// schema is the order of elements in CAP 1.2 (OASIS, section 3.2 and its XML schema); * may repeat, + must
// be there once or more, ! once, ? at most once.
var schema = map[string]string{
	"alert": "identifier! sender! sent! status! msgType! source? scope! restriction? addresses? code* note? references? incidents? info*",
	"info": "language? category+ event! responseType* urgency! severity! certainty! audience? eventCode* effective? onset? expires? " +
		"senderName? headline? description? instruction? web? contact? parameter* resource* area*",
	"area":      "areaDesc! polygon* circle* geocode* altitude? ceiling?",
	"eventCode": "valueName! value!", "parameter": "valueName! value!", "geocode": "valueName! value!",
}

var allowed = map[string]string{
	"status": "Actual Exercise System Test Draft", "msgType": "Alert Update Cancel Ack Error", "scope": "Public Restricted Private",
	"category": "Geo Met Safety Security Rescue Fire Health Env Transport Infra CBRNE Other",
	"urgency":  "Immediate Expected Future Past Unknown", "severity": "Extreme Severe Moderate Minor Unknown",
	"certainty": "Observed Likely Possible Unlikely Unknown",
}

var formats = map[string]*regexp.Regexp{
	"identifier": regexp.MustCompile(`^[^\s,<&]+$`), "sender": regexp.MustCompile(`^[^\s,<&]+$`),
	"sent": regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d$`), "onset": regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d$`),
	"circle":   regexp.MustCompile(`^-?\d+(\.\d+)?,-?\d+(\.\d+)? \d+(\.\d+)?$`),
	"language": regexp.MustCompile(`^[a-z]{2}(-[A-Z]{2})?$`), "references": regexp.MustCompile(`^[^\s,]+,[^\s,]+,\S+$`),
}

// validate reads a document against the schema above and returns what it holds, by element.
func validate(t *testing.T, doc []byte) map[string][]string {
	t.Helper()
	type frame struct {
		name     string
		children []string
		text     strings.Builder
	}
	found := map[string][]string{}
	var stack []*frame
	dec := xml.NewDecoder(bytes.NewReader(doc))
	for {
		tok, err := dec.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatalf("not XML: %v in %s", err, doc)
		}
		switch x := tok.(type) {
		case xml.StartElement:
			if x.Name.Space != Namespace {
				t.Errorf("element %s of namespace %q, want %s", x.Name.Local, x.Name.Space, Namespace)
			}
			if n := len(stack); n > 0 {
				stack[n-1].children = append(stack[n-1].children, x.Name.Local)
			}
			stack = append(stack, &frame{name: x.Name.Local})
		case xml.CharData:
			if n := len(stack); n > 0 {
				stack[n-1].text.Write(x)
			}
		case xml.EndElement:
			f := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			v := f.text.String()
			found[f.name] = append(found[f.name], v)
			if order, ok := schema[f.name]; ok {
				checkOrder(t, f.name, f.children, order)
				continue
			}
			if strings.TrimSpace(v) == "" {
				t.Errorf("%s is empty", f.name)
			}
			if list, ok := allowed[f.name]; ok && !slices.Contains(strings.Fields(list), v) {
				t.Errorf("%s %q, want one of %s", f.name, v, list)
			}
			if re, ok := formats[f.name]; ok && !re.MatchString(v) {
				t.Errorf("%s %q, want %s", f.name, v, re)
			}
		}
	}
}

func checkOrder(t *testing.T, name string, children []string, order string) {
	t.Helper()
	for _, el := range strings.Fields(order) {
		want, times := el[:len(el)-1], el[len(el)-1]
		n := 0
		for len(children) > 0 && children[0] == want {
			children, n = children[1:], n+1
		}
		if n == 0 && (times == '!' || times == '+') || n > 1 && (times == '!' || times == '?') {
			t.Errorf("%s: %d of %s, want %c", name, n, want, times)
		}
	}
	if len(children) > 0 {
		t.Errorf("%s: %v out of order or unknown; want %s", name, children, order)
	}
}

func TestAlertIsValid(t *testing.T) {
	lat, lon := 38.115700, 13.361500
	raised := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	issuer := Issuer{Sender: "panormus.example", Name: "Città di <Palermo>", Status: "Actual"}
	for _, tc := range []struct {
		name  string
		alarm Alarm
		want  map[string]string // element: all its values, in order
	}{
		{"critical, with a place", Alarm{ID: "ab12", Rule: "flood", Titles: map[string]string{"it": "Piena", "en": "Flood"}, Severity: "critical", Raised: raised, Domain: "water",
			Device: "gauge-1", Place: "Oreto", Zone: "centro", Text: "level 4 m & rising", Lat: &lat, Lon: &lon},
			map[string]string{"identifier": "ab12.1782900000000", "msgType": "Alert", "event": "Piena|Flood", "severity": "Extreme|Extreme", "urgency": "Immediate|Immediate",
				"language": "it-IT|en-GB", "category": "Met|Met", "circle": "38.115700,13.361500 0.1|38.115700,13.361500 0.1", "sent": "2026-07-01T10:00:00-00:00",
				"headline": "Piena presso Oreto (critico)|Flood at Oreto (critical)", "description": "level 4 m & rising|level 4 m & rising"}},
		{"changed since", Alarm{ID: "ab12", Rule: "dark", Severity: "warning", Raised: raised, Changed: raised.Add(time.Minute), Domain: "lighting", Device: "pole"},
			map[string]string{"identifier": "ab12.1782900000000.1782900060000", "msgType": "Update", "references": "panormus.example,ab12.1782900000000,2026-07-01T10:00:00-00:00",
				"severity": "Moderate|Moderate", "sent": "2026-07-01T10:01:00-00:00", "category": "Infra|Infra"}},
		{"over, and acknowledged since", Alarm{ID: "ab12", Rule: "dark", Titles: map[string]string{"it": "Buio", "en": "Dark"}, Severity: "warning", Raised: raised, Changed: raised.Add(time.Hour),
			Cleared: raised.Add(2 * time.Minute), Domain: "lighting", Device: "pole"},
			map[string]string{"identifier": "ab12.1782900000000.end.1782900120000", "msgType": "Cancel", "references": "panormus.example,ab12.1782900000000,2026-07-01T10:00:00-00:00",
				"sent": "2026-07-01T10:02:00-00:00", "urgency": "Past|Past", "responseType": "AllClear|AllClear", "headline": "Cessato: Buio presso pole (avviso)|Over: Dark at pole (warning)"}},
		{"nothing known, bytes that XML cannot hold", Alarm{ID: "a b,c<d&e", Rule: "r\x00\x1b", Severity: "odd", Raised: raised, Text: "\xff\x07"},
			map[string]string{"identifier": "a_b_c_d_e.1782900000000", "severity": "Unknown|Unknown", "areaDesc": "tutta la città|the whole city"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			doc, err := issuer.Alert(&tc.alarm)
			if err != nil {
				t.Fatal(err)
			}
			found := validate(t, doc)
			for el, want := range tc.want {
				if got := strings.Join(found[el], "|"); got != want {
					t.Errorf("%s: %q, want %q", el, got, want)
				}
			}
		})
	}
}

func TestFeedListsAlarms(t *testing.T) {
	raised := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	issuer := Issuer{Sender: "panormus.example", Name: "Palermo", Status: "Actual"}
	doc, err := issuer.Feed([]Alarm{{ID: "a", Rule: "r", Severity: "major", Raised: raised}}, "/api/v1/cap", raised.Add(time.Hour), func(id string) string { return "/api/v1/cap/" + id })
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Updated string `xml:"updated"`
		Entries []struct {
			ID   string `xml:"id"`
			Link struct {
				Href string `xml:"href,attr"`
				Type string `xml:"type,attr"`
			} `xml:"link"`
		} `xml:"entry"`
	}
	if err := xml.Unmarshal(doc, &f); err != nil {
		t.Fatal(err)
	}
	if f.Updated != "2026-07-01T10:00:00Z" || len(f.Entries) != 1 || f.Entries[0].Link.Href != "/api/v1/cap/a" || f.Entries[0].Link.Type != MediaType ||
		f.Entries[0].ID != "urn:panormus:cap:panormus.example:a.1782900000000" {
		t.Errorf("feed %+v, want the one alarm", f)
	}
}
