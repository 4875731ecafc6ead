package auth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Place is a domain, a zone, or a domain in a zone; an empty field is any.
type Place struct {
	Domain string `json:"domain,omitempty" yaml:"domain"`
	Zone   string `json:"zone,omitempty" yaml:"zone"`
}

// String is the form of files and flags: lighting, lighting@centro or *@centro.
func (a Place) String() string {
	s := a.Domain
	if s == "" {
		s = "*"
	}
	if a.Zone != "" {
		s += "@" + a.Zone
	}
	return s
}

// ParsePlace reads what String writes.
func ParsePlace(s string) (Place, error) {
	domain, zone, zoned := strings.Cut(s, "@")
	if domain == "*" {
		domain = ""
	}
	if zoned == (zone == "") || domain == "" && zone == "" {
		return Place{}, fmt.Errorf("area %.60q, want a domain, domain@zone or *@zone", s)
	}
	return Place{domain, zone}, nil
}

// A Scope is the part of the city that somebody sees. Nil is the whole of it. It is not changed once it
// is in use. Where Rules is empty, those of all rules are meant; where Cameras is, all
// cameras of the areas; where Areas is, the cameras alone, or everywhere if none is named.
type Scope struct {
	Areas   []Place  `json:"areas,omitempty" yaml:"areas"`
	Rules   []string `json:"rules,omitempty" yaml:"rules"`     // whose events and alarms are seen
	Cameras []string `json:"cameras,omitempty" yaml:"cameras"` // those of the areas' that are seen
	Share   []string `json:"share,omitempty" yaml:"share"`     // of an agency: events, alarms, cameras
}

// Bounds of a scope.
const (
	maxAreas = 200
	maxNamed = 1000
)

// A Thing is what a scope decides about. Fields that it has not got are empty.
type Thing struct {
	Domain, Zone string
	Device       string
	Camera       bool // the device is one
	Rule         string
}

// Whole reports whether nothing is kept from whoever has s.
func (s *Scope) Whole() bool { return s == nil }

// Sees reports whether t lies in the scope.
func (s *Scope) Sees(t Thing) bool {
	if s == nil {
		return true
	}
	if len(s.Areas) > 0 && !slices.ContainsFunc(s.Areas, func(a Place) bool {
		return (a.Domain == "" || a.Domain == t.Domain) && (a.Zone == "" || a.Zone == t.Zone)
	}) {
		return false
	}
	// Cameras without areas are all that is meant.
	if len(s.Cameras) > 0 && (t.Camera || len(s.Areas) == 0) && !slices.Contains(s.Cameras, t.Device) {
		return false
	}
	return t.Rule == "" || len(s.Rules) == 0 || slices.Contains(s.Rules, t.Rule)
}

// Key is the same for scopes that see the same.
func (s *Scope) Key() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("%q%q%q", s.Areas, s.Rules, s.Cameras)
}

// Check reports what of the scope is not acceptable.
func (s *Scope) Check() error {
	if s == nil {
		return nil
	}
	if len(s.Areas) > maxAreas {
		return fmt.Errorf("areas: %d, want at most %d", len(s.Areas), maxAreas)
	}
	for i, a := range s.Areas {
		if a == (Place{}) || len(a.Domain) > 32 || len(a.Zone) > 128 {
			return fmt.Errorf("areas[%d]: %.60q in %.60q, want a domain, a zone or both", i, a.Domain, a.Zone)
		}
	}
	for name, list := range map[string][]string{"rules": s.Rules, "cameras": s.Cameras} {
		if len(list) > maxNamed {
			return fmt.Errorf("%s: %d, want at most %d", name, len(list), maxNamed)
		}
		for i, v := range list {
			if v == "" || len(v) > 128 {
				return fmt.Errorf("%s[%d]: %d bytes, want 1 to 128", name, i, len(v))
			}
		}
	}
	for _, v := range s.Share {
		if _, ok := shares[v]; !ok {
			return fmt.Errorf("share: %.40q, want %s", v, strings.Join(slices.Sorted(maps.Keys(shares)), ", "))
		}
	}
	return nil
}

// empty reports whether the scope keeps nothing back.
func (s *Scope) empty() bool {
	return s == nil || len(s.Areas)+len(s.Rules)+len(s.Cameras) == 0
}

// A Grant is what somebody is let do, where, and until when.
type Grant struct {
	Role    Role      `json:"role" yaml:"role"`
	Scope   *Scope    `json:"scope,omitempty" yaml:"scope"`
	Expires time.Time `json:"expires,omitzero" yaml:"expires"` // zero: never
}

// Check reports what of the grant is not acceptable.
func (g Grant) Check() error {
	if _, ok := grants[g.Role]; !ok {
		return fmt.Errorf("role: %.40q, want one of %s", g.Role, roleNames())
	}
	if err := g.Scope.Check(); err != nil {
		return fmt.Errorf("scope: %w", err)
	}
	share := g.Scope != nil && len(g.Scope.Share) > 0
	switch {
	case g.Role == DomainOperator && (g.Scope == nil || len(g.Scope.Areas) == 0):
		return errors.New("scope: none, and a domain_operator has the areas of one")
	case g.Role == Agency && (g.Scope.empty() || !share):
		return errors.New("scope: an agency has areas, rules or cameras, and a share of events, alarms or cameras")
	case g.Role == Agency && g.Expires.IsZero():
		return errors.New("expires: none, and an agency is let in until a time")
	case g.Role != Agency && share:
		return fmt.Errorf("scope.share: it is for agencies, not for role %s", g.Role)
	case g.Scope != nil && g.Scope.empty():
		return errors.New("scope: an empty one; leave it out for the whole city")
	case g.Scope != nil && (g.Role == Admin || g.Role == DataProtection):
		return fmt.Errorf("scope: role %s is of the whole city; viewers, operators, supervisors and agencies have scopes", g.Role)
	}
	return nil
}

func roleNames() string {
	names := make([]string, 0, len(grants))
	for _, r := range Roles() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// Valid reports whether the grant counts at a time.
func (g Grant) Valid(now time.Time) bool { return g.Expires.IsZero() || now.Before(g.Expires) }

// Equal reports whether two grants are the same.
func (g Grant) Equal(o Grant) bool {
	return g.Role == o.Role && g.Expires.Equal(o.Expires) && (g.Scope == nil) == (o.Scope == nil) && g.Scope.Key() == o.Scope.Key() && slices.Equal(g.share(), o.share())
}

func (g Grant) share() []string {
	if g.Scope == nil {
		return nil
	}
	return g.Scope.Share
}
