package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
	"panormus/stream/audit"
)

// router is a mux that knows what was registered with it.
type router struct {
	*http.ServeMux
	patterns []string
}

// HandleFunc registers a handler, as the mux does.
func (m *router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.patterns = append(m.patterns, pattern)
	m.ServeMux.HandleFunc(pattern, h)
}

// Handle registers a handler, as the mux does.
func (m *router) Handle(pattern string, h http.Handler) { m.HandleFunc(pattern, h.ServeHTTP) }

// ruleOf is the rule of what a request is for.
func (a *api) ruleOf(r *http.Request) auth.Rule {
	_, pattern := a.mux.Handler(r)
	if pattern == "" {
		pattern = auth.PageRoute // or a refusal that says what there is
	}
	rule, _ := auth.RouteRule(pattern)
	return rule
}

// noted writes an act into the audit log before it is done.
func (a *api) noted(r *http.Request, p *auth.Principal, action string) error {
	if a.Audit == nil {
		return nil
	}
	question := ""
	switch action {
	case auth.AgencyRead:
		question = p.Name + " " + r.URL.RequestURI()
	case auth.AuditOfAudit: // all pages are one reading: noted each, a log read entry by entry would have no end
		question = p.Name + " " + r.URL.Path + " " + r.URL.Query().Get("from")
	}
	if question != "" && !a.asked.fresh(question) {
		return nil
	}
	e := audit.Entry{Actor: actorOf(p), Action: action, Object: r.URL.Path, Detail: map[string]string{"role": string(p.Role), "request": problem.Request(r.Context())}}
	if r.URL.RawQuery != "" {
		e.Detail["query"] = clipped(r.URL.RawQuery)
	}
	err := a.Audit.Append(r.Context(), e)
	if err != nil {
		a.asked.forget(question)
		a.Log.Error("the audit log takes nothing", "action", action, "error", err)
	}
	return err
}

// clipped bounds what is written of a query.
func clipped(s string) string {
	if len(s) > 500 {
		return s[:500] + "…"
	}
	return s
}

// actorOf is who acts, for the audit log.
func actorOf(p *auth.Principal) string {
	if p.Name == "" {
		return "local"
	}
	return p.Name
}

// scope is the part of the city that whoever asks may see.
func (c *call) scope() *auth.Scope { return auth.ScopeOf(c.ctx) }

// sees reports whether a device of the registry may be seen.
func sees(s *auth.Scope, d *devices.Asset) bool {
	return s.Sees(auth.Thing{Domain: d.Domain, Zone: d.Zone, Device: d.ID, Camera: d.Camera != nil})
}

// asset is a device that whoever asks may see, or nil: what is kept from somebody is not told from what
// is not there.
func (c *call) asset(id string) *devices.Asset {
	if d := c.api.lookup(id); d != nil && sees(c.scope(), d) {
		return d
	}
	return nil
}

// seesDevice reports whether a device, which the registry may not know, may be seen.
func (c *call) seesDevice(id string) bool { return c.scope().Whole() || c.asset(id) != nil }

// thing is what a scope decides about an event or alarm by.
func (a *api) thing(rule, domain, zone, device string) auth.Thing {
	d := a.lookup(device)
	return auth.Thing{Rule: rule, Domain: domain, Zone: zone, Device: device, Camera: d != nil && d.Camera != nil}
}

// seesState is the scope as the live state asks it; nil for the whole city.
func seesState(s *auth.Scope) live.Sees {
	if s.Whole() {
		return nil
	}
	return func(id string, w live.Where) bool {
		return s.Sees(auth.Thing{Domain: w.Domain, Zone: w.Zone, Device: id, Camera: w.Camera})
	}
}

// A Within is the part of the city that a question to the database is about, in its own words; nil is
// the whole of it.
type Within struct {
	// Areas are pairs of domain and zone, an empty one being any; Rules are those that raised. Both bound
	// events; empty ones bound nothing.
	Areas [][2]string
	Rules []string
	// Only are the devices that events may be of, where not nil; Except are those that they may not.
	Only, Except []string
	// Devices bound what is kept by device, cameras included.
	Devices []string
}

// within puts a scope into the words of the database. devices says whether it is asked by device.
func (a *api) within(s *auth.Scope, devices bool) *Within {
	if s.Whole() {
		return nil
	}
	w := &Within{Rules: s.Rules, Devices: []string{}}
	for _, area := range s.Areas {
		w.Areas = append(w.Areas, [2]string{area.Domain, area.Zone})
	}
	if len(s.Cameras) > 0 && len(s.Areas) == 0 {
		w.Only = s.Cameras
	}
	if a.Registry == nil || !devices && (len(s.Cameras) == 0 || w.Only != nil) {
		return w
	}
	for _, d := range a.Registry.All() {
		switch {
		case devices && sees(s, d):
			w.Devices = append(w.Devices, d.ID)
		case d.Camera != nil && len(s.Cameras) > 0 && !slices.Contains(s.Cameras, d.ID):
			w.Except = append(w.Except, d.ID)
		}
	}
	return w
}

// senders are whose rejected messages are told of to those who may see tracks of a part of the city, or none: devices
// of the scope, and cameras, whose messages are about people, for the former alone.
func (c *call) senders(s *auth.Scope) *Within {
	w := &Within{Devices: []string{}}
	if c.api.Registry == nil {
		return w
	}
	people := auth.Of(c.ctx).May(auth.TracksRead)
	for _, d := range c.api.Registry.All() {
		if !sees(s, d) || d.Camera != nil && !people {
			continue
		}
		w.Devices = append(w.Devices, inTopics(d)...)
	}
	return w
}

// inTopics are the names by which topics name a device: LoRaWAN devices are also named by their identifiers.
func inTopics(d *devices.Asset) []string {
	if d.LoRaWAN == nil || d.LoRaWAN.DevEUI == "" {
		return []string{d.ID}
	}
	return []string{d.ID, strings.ToLower(d.LoRaWAN.DevEUI)}
}

type meBody struct {
	Body struct {
		Name        string            `json:"name" doc:"empty where nobody has to say who they are"`
		Role        auth.Role         `json:"role"`
		Scope       *auth.Scope       `json:"scope" doc:"null for the whole city"`
		Expires     *live.Stamp       `json:"expires" doc:"when it ends; null for never"`
		Via         string            `json:"via" enum:"open,token,session" doc:"open: nobody has to say who they are"`
		Permissions []auth.Permission `json:"permissions"`
	}
}

// me is the operation that tells who asks.
func (a *api) me() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/me", Summary: "Who asks, and what they may do", Tags: []string{accessTag}},
		func(c *call, _ *struct{}) (*meBody, error) {
			p := auth.Of(c.ctx)
			out := &meBody{}
			b := &out.Body
			b.Name, b.Role, b.Scope, b.Via, b.Permissions = p.Name, p.Role, p.Scope, p.Via, p.Permissions()
			if !p.Expires.IsZero() {
				b.Expires = &live.Stamp{Time: p.Expires}
			}
			return out, nil
		})
}

const accessTag = "access"
