// Package cap writes alarms as CAP 1.2 (Common Alerting Protocol, OASIS), each in Italian and English, and
// the list of them as an Atom feed. It is pure: no network, no clock.
package cap

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Statuses are those of an alert.
var Statuses = []string{"Actual", "Exercise", "System", "Test", "Draft"}

// Namespace is that of CAP 1.2.
const Namespace = "urn:oasis:names:tc:emergency:cap:1.2"

// MediaType is that of an alert.
const MediaType = "application/cap+xml"

// An Issuer is who warns.
type Issuer struct {
	Sender string // unique among those who warn; no blanks, commas, < and &
	Name   string // for people
	Status string // one of Statuses
}

// An Alarm is what is open.
type Alarm struct {
	ID       string
	Rule     string
	Titles   map[string]string // of the rule, by language: it, en
	Severity string            // info, warning, major or critical
	Raised   time.Time
	Changed  time.Time // last; zero: it is as it was raised
	Cleared  time.Time // zero while it is open; then the alert is a Cancel
	Domain   string
	Device   string
	Place    string // the device's name
	Zone     string
	Text     string
	Lat, Lon *float64 // degrees, WGS 84; nil where not known
}

// radiusKM is of the circle around a device: what it measures is near it.
const radiusKM = 0.1

// The elements in the order that the schema wants.
type alert struct {
	XMLName    xml.Name `xml:"urn:oasis:names:tc:emergency:cap:1.2 alert"`
	Identifier string   `xml:"identifier"`
	Sender     string   `xml:"sender"`
	Sent       string   `xml:"sent"`
	Status     string   `xml:"status"`
	MsgType    string   `xml:"msgType"`
	Scope      string   `xml:"scope"`
	References string   `xml:"references,omitempty"`
	Info       []info   `xml:"info"`
}

type info struct {
	Language    string  `xml:"language"`
	Category    string  `xml:"category"`
	Event       string  `xml:"event"`
	Response    string  `xml:"responseType,omitempty"`
	Urgency     string  `xml:"urgency"`
	Severity    string  `xml:"severity"`
	Certainty   string  `xml:"certainty"`
	EventCode   []value `xml:"eventCode"`
	Onset       string  `xml:"onset"`
	SenderName  string  `xml:"senderName,omitempty"`
	Headline    string  `xml:"headline"`
	Description string  `xml:"description"`
	Parameter   []value `xml:"parameter"`
	Area        *area   `xml:"area"`
}

type value struct {
	Name  string `xml:"valueName"`
	Value string `xml:"value"`
}

type area struct {
	Desc    string  `xml:"areaDesc"`
	Circle  string  `xml:"circle,omitempty"`
	Geocode []value `xml:"geocode"`
}

// categories are the protocol's, by domain; of others it is Infra.
var categories = map[string]string{
	"mobility": "Transport", "parking": "Transport", "environment": "Env", "waste": "Env", "water": "Met", "safety": "Safety", "building": "Infra",
}

var severities = map[string]string{"critical": "Extreme", "major": "Severe", "warning": "Moderate", "info": "Minor"}

var urgencies = map[string]string{"critical": "Immediate", "major": "Immediate", "warning": "Expected", "info": "Future"}

// words are what the two languages say of an alarm.
var words = map[string]map[string]string{
	"it": {"critical": "critico", "major": "grave", "warning": "avviso", "info": "informazione", "in": "presso", "city": "tutta la città", "over": "Cessato"},
	"en": {"critical": "critical", "major": "major", "warning": "warning", "info": "information", "in": "at", "city": "the whole city", "over": "Over"},
}

// stamp is a time as CAP wants it: with an offset in digits, never Z.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") + "-00:00" }

// Identifier names the alarm as it is now: another for each occurrence and after each change, for a reader
// drops what it knows.
func Identifier(a *Alarm) string {
	id := first(a)
	switch {
	case !a.Cleared.IsZero():
		id += ".end." + strconv.FormatInt(a.Cleared.UnixMilli(), 10)
	case a.Changed.After(a.Raised):
		id += "." + strconv.FormatInt(a.Changed.UnixMilli(), 10)
	}
	return id
}

// Newest is when the alarm became what it is.
func (a *Alarm) Newest() time.Time {
	switch {
	case !a.Cleared.IsZero():
		return a.Cleared
	case a.Changed.After(a.Raised):
		return a.Changed
	}
	return a.Raised
}

// first is the identifier that the alarm had when it was raised.
func first(a *Alarm) string { return safe(a.ID) + "." + strconv.FormatInt(a.Raised.UnixMilli(), 10) }

// safe is id without what an identifier may not hold.
func safe(id string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == ',' || r == '<' || r == '&' || r == 0x7f {
			return '_'
		}
		return r
	}, id)
}

// Alert is the alarm as one CAP 1.2 message: an Alert as it was raised, an Update of that once it has
// changed, and its Cancel when it has ended.
func (i Issuer) Alert(a *Alarm) ([]byte, error) {
	m := alert{Identifier: Identifier(a), Sender: i.Sender, Sent: stamp(a.Newest()), Status: i.Status, MsgType: "Alert", Scope: "Public"}
	if m.Identifier != first(a) {
		m.MsgType = "Update"
		if !a.Cleared.IsZero() {
			m.MsgType = "Cancel"
		}
		m.References = i.Sender + "," + first(a) + "," + stamp(a.Raised)
	}
	for _, lang := range []string{"it", "en"} {
		m.Info = append(m.Info, i.info(a, lang))
	}
	return document(m)
}

func (i Issuer) info(a *Alarm, lang string) info {
	w := words[lang]
	where := cmp.Or(a.Place, a.Device, a.Zone)
	in := info{
		Language: map[string]string{"it": "it-IT", "en": "en-GB"}[lang], Category: cmp.Or(categories[a.Domain], "Infra"),
		Event:   text(cmp.Or(a.Titles[lang], a.Titles["en"], a.Titles["it"], a.Rule)),
		Urgency: cmp.Or(urgencies[a.Severity], "Unknown"), Severity: cmp.Or(severities[a.Severity], "Unknown"),
		Certainty: "Observed", // a device measured it
		EventCode: []value{{"panormus:rule", text(a.Rule)}}, Onset: stamp(a.Raised), SenderName: text(i.Name),
	}
	for _, p := range []value{{"panormus:severity", a.Severity}, {"panormus:domain", a.Domain}, {"panormus:device", a.Device}} {
		if p.Value != "" {
			in.Parameter = append(in.Parameter, value{p.Name, text(p.Value)})
		}
	}
	in.Headline = fmt.Sprintf("%s (%s)", in.Event, cmp.Or(w[a.Severity], a.Severity))
	if where != "" {
		in.Headline = fmt.Sprintf("%s %s %s (%s)", in.Event, w["in"], text(where), cmp.Or(w[a.Severity], a.Severity))
	}
	in.Description = cmp.Or(text(a.Text), in.Headline)
	if !a.Cleared.IsZero() {
		in.Response, in.Urgency = "AllClear", "Past"
		in.Headline = w["over"] + ": " + in.Headline
	}
	in.Area = &area{Desc: cmp.Or(text(where), w["city"])}
	if a.Lat != nil && a.Lon != nil {
		in.Area.Circle = fmt.Sprintf("%.6f,%.6f %.1f", *a.Lat, *a.Lon, radiusKM)
	}
	if a.Zone != "" {
		in.Area.Geocode = []value{{"panormus:zone", text(a.Zone)}}
	}
	return in
}

// text is s without what XML 1.0 cannot hold.
func text(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' || r == 0xfffe || r == 0xffff || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

type feed struct {
	XMLName xml.Name `xml:"http://www.w3.org/2005/Atom feed"`
	ID      string   `xml:"id"`
	Title   string   `xml:"title"`
	Updated string   `xml:"updated"`
	Author  string   `xml:"author>name"`
	Link    link     `xml:"link"`
	Entries []entry  `xml:"entry"`
}

type entry struct {
	ID      string `xml:"id"`
	Title   string `xml:"title"`
	Updated string `xml:"updated"`
	Summary string `xml:"summary"`
	Link    link   `xml:"link"`
}

type link struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr,omitempty"`
	Href string `xml:"href,attr"`
}

// Feed is the list of alarms as an Atom feed at path, each linked at its href. The feed is as new as its newest
// alarm, or as now where it is empty.
func (i Issuer) Feed(alarms []Alarm, path string, now time.Time, href func(id string) string) ([]byte, error) {
	f := feed{ID: "urn:panormus:cap:" + i.Sender, Title: text(i.Name) + ": CAP", Author: text(i.Name), Link: link{Rel: "self", Href: path}}
	var newest time.Time
	for n := range alarms {
		a := &alarms[n]
		changed := a.Newest()
		if changed.After(newest) {
			newest = changed
		}
		it := i.info(a, "it")
		f.Entries = append(f.Entries, entry{
			ID: "urn:panormus:cap:" + i.Sender + ":" + Identifier(a), Title: it.Headline, Updated: changed.UTC().Format(time.RFC3339), Summary: it.Description,
			Link: link{Rel: "alternate", Type: MediaType, Href: href(a.ID)},
		})
	}
	if newest.IsZero() {
		newest = now
	}
	f.Updated = newest.UTC().Format(time.RFC3339)
	return document(f)
}

func document(v any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(v); err != nil {
		return nil, fmt.Errorf("write XML: %w", err)
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}
