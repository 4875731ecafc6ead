package auth

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// people are one of each role, and those who see a part of the city.
func people() map[string]Principal {
	part := &Scope{Areas: []Place{{Domain: "lighting"}}}
	out := map[string]Principal{"nobody": {}, "scoped viewer": {Name: "v", Grant: Grant{Role: Viewer, Scope: part}}, "scoped supervisor": {Name: "s", Grant: Grant{Role: Supervisor, Scope: part}}}
	for _, role := range Roles() {
		g := Grant{Role: role}
		switch role {
		case DomainOperator:
			g.Scope = part
		case Agency:
			g.Scope, g.Expires = &Scope{Areas: part.Areas, Share: []string{"events", "cameras"}}, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if err := g.Check(); err != nil {
			panic(err)
		}
		out[string(role)] = Principal{Name: string(role), Grant: g}
	}
	return out
}

// TestRoleMatrix holds what every role may do of everything there is; what changes there is to be seen.
func TestRoleMatrix(t *testing.T) {
	everybody := people()
	columns := []string{"nobody", "agency", "viewer", "scoped viewer", "operator", "domain_operator", "supervisor", "scoped supervisor", "data_protection", "admin"}
	if len(columns) != len(everybody) {
		t.Fatalf("%d columns for %d kinds of people", len(columns), len(everybody))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# y: may; p: may, and sees a part of the city; -: may not\n# %s\n", strings.Join(columns, ", "))
	line := func(name string, r Rule) {
		fmt.Fprintf(&b, "%-44s %-20s", name, r.Need)
		for _, c := range columns {
			p, sign := everybody[c], "y"
			switch {
			case r.Lets(&p) != "":
				sign = "-"
			case r.Reach == Scoped && !p.Scope.Whole():
				sign = "p"
			}
			b.WriteString(" " + sign)
		}
		b.WriteByte('\n')
	}
	for _, name := range RouteNames() {
		r, _ := RouteRule(name)
		line(name, r)
	}
	for _, name := range TopicNames() {
		r, _ := TopicRule(name)
		line("feed "+name, r)
	}
	const golden = "testdata/roles.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the roles may something else than %s says (go test -update writes it anew):\n%s", golden, b.String())
	}
}

// TestPersonalReadsAreNoted: what tells of persons one by one is noted by the guard, but for what is on the list
// and why.
func TestPersonalReadsAreNoted(t *testing.T) {
	elsewhere := map[string]bool{
		"GET /api/v1/plates/reveals/{id}": true, // each look at a plate is noted with its case, before it is shown
	}
	n := 0
	for _, name := range RouteNames() {
		r, _ := RouteRule(name)
		if !strings.HasPrefix(name, "GET ") || !slices.Contains([]Permission{TracksRead, RevealsAsk, AuditRead, Export}, r.Need) {
			continue
		}
		if n++; (r.Note == "") != elsewhere[name] {
			t.Errorf("%s: noted as %q", name, r.Note)
		}
	}
	if n < 4 {
		t.Errorf("%d routes were looked at", n)
	}
}

func TestTwoPeopleAreNotTheAdmin(t *testing.T) {
	for p, roles := range map[Permission][]Role{
		RevealsApprove: {DataProtection, Supervisor}, AuditRead: {DataProtection, Supervisor}, AccessManage: {Admin}, ListsWrite: {Admin, Supervisor},
	} {
		var got []Role
		for _, role := range Roles() {
			if slices.Contains(grants[role], p) {
				got = append(got, role)
			}
		}
		if !slices.Equal(got, roles) {
			t.Errorf("%s: %v, want %v", p, got, roles)
		}
	}
	if open := Open; !open.May(AuditRead) || !open.May(RevealsApprove) {
		t.Error("where nobody has to say who they are, something is not allowed")
	}
}

func TestScope(t *testing.T) {
	lamps := Thing{Domain: "lighting", Zone: "centro", Device: "lamp", Rule: "hot"}
	camera := Thing{Domain: "safety", Zone: "centro", Device: "cam-1", Camera: true, Rule: "crowd"}
	for _, tc := range []struct {
		name          string
		scope         *Scope
		lamps, camera bool
	}{
		{"the whole city", nil, true, true},
		{"a domain", &Scope{Areas: []Place{{Domain: "lighting"}}}, true, false},
		{"a zone", &Scope{Areas: []Place{{Zone: "centro"}}}, true, true},
		{"another zone", &Scope{Areas: []Place{{Domain: "lighting", Zone: "mondello"}}}, false, false},
		{"two areas", &Scope{Areas: []Place{{Domain: "waste"}, {Domain: "safety", Zone: "centro"}}}, false, true},
		{"a rule", &Scope{Rules: []string{"hot"}}, true, false},
		{"cameras alone", &Scope{Cameras: []string{"cam-1"}}, false, true},
		{"another camera", &Scope{Cameras: []string{"cam-2"}}, false, false},
		{"a zone, and of its cameras one", &Scope{Areas: []Place{{Zone: "centro"}}, Cameras: []string{"cam-2"}}, true, false},
		{"rules of cameras", &Scope{Cameras: []string{"cam-1"}, Rules: []string{"hot"}}, false, false},
	} {
		if got := tc.scope.Sees(lamps); got != tc.lamps {
			t.Errorf("%s: the lamp %v, want %v", tc.name, got, tc.lamps)
		}
		if got := tc.scope.Sees(camera); got != tc.camera {
			t.Errorf("%s: the camera %v, want %v", tc.name, got, tc.camera)
		}
	}
}

func TestParseGrant(t *testing.T) {
	for _, tc := range []struct{ in, wrong string }{
		{"role=viewer", ""}, {"role=operator areas=lighting,waste@centro,*@kalsa", ""}, {"role=admin expires=2027-01-31", ""},
		{"role=agency areas=safety share=events,cameras expires=2027-01-31T10:00:00Z", ""},
		{"role=king", "want one of admin, agency"}, {"", `role: ""`}, {"role=domain_operator", "has the areas"}, {"role=agency share=events expires=2027-01-31", "has areas"},
		{"role=agency areas=a share=events", "until a time"}, {"role=viewer share=events", "it is for agencies"}, {"role=agency areas=a share=plates expires=2027-01-31", "want alarms, cameras, events"},
		{"role=admin areas=lighting", "of the whole city"}, {"role=viewer areas=*", `area "*"`}, {"role=viewer areas=a@", `area "a@"`}, {"role=viewer expires=soon", "want a day"},
		{"role", "want role="}, {"colour=red", "want role="}, {"role=viewer rules=", "and a value"},
	} {
		_, err := ParseGrant(strings.Fields(tc.in))
		if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) {
			t.Errorf("%s: %v, want %q", tc.in, err, tc.wrong)
		}
	}
}

func TestTokensEnd(t *testing.T) {
	token, line, _ := NewToken("police")
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	for day, want := range map[string]bool{"2020-01-01": false, "2999-01-01": true} {
		tokens, err := ReadTokens(strings.NewReader(line + " role=viewer expires=" + day))
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := tokens.Authenticate(r); ok != want || ok && p.Role != Viewer {
			t.Errorf("until %s: %+v, %v", day, p, ok)
		}
	}
}

// TestForgottenScope has a handler that does not ask what may be seen.
func TestForgottenScope(t *testing.T) {
	part, line, _ := NewToken("part")
	whole, wholeLine, _ := NewToken("whole")
	tokens, err := ReadTokens(strings.NewReader(line + " role=viewer areas=lighting\n" + wholeLine + " role=viewer"))
	if err != nil {
		t.Fatal(err)
	}
	g := Guard{Who: tokens, Rule: func(*http.Request) Rule { return Rule{Need: StateRead, Reach: Scoped} }}
	for _, tc := range []struct {
		token string
		asks  bool
		want  int
	}{{part, false, 500}, {part, true, 200}, {whole, false, 200}} {
		h := g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if tc.asks {
				ScopeOf(r.Context())
			}
			_, _ = w.Write([]byte("the whole city"))
		}))
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+tc.token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.want || tc.want == 500 && strings.Contains(w.Body.String(), "the whole city") {
			t.Errorf("%+v: %d %s", tc, w.Code, w.Body)
		}
	}
	// Without a guard before it nothing is seen.
	if s := ScopeOf(t.Context()); s.Sees(Thing{Domain: "lighting"}) || Of(t.Context()).May(Self) {
		t.Error("somebody sees something without having been let in")
	}
}
