package api

import (
	"context"
	"hash/maphash"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"panormus/controlroom/api/openapi"
	"panormus/controlroom/auth"
	"panormus/controlroom/basemap"
	"panormus/controlroom/claims"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/controlroom/rate"
	"panormus/devices"
	"panormus/stream/notify/cap"
	"panormus/stream/privacy"
	"panormus/stream/rules"
)

// Config is what the API shows and where it has it from.
type Config struct {
	Version  string
	State    *live.State
	Registry *devices.Registry
	Stats    func() Stats
	// Ready reports why the process is not ready, nil once it is.
	Ready func() error

	Series Series   // nil: 501
	Events Events   // nil: 501
	Export Exporter // nil: 501
	// Rollups are what domains came to; nil: 501 where it is asked for.
	Rollups Rollups
	Changes Changes // nil: 501
	Rules   Rules   // nil: 501
	// Backtest evaluates a rule over the past of a part of the city, nil for the whole; nil: 501. RuleStats is what rules have done; nil: nothing.
	Backtest  func(ctx context.Context, rule *rules.Rule, from, to time.Time, in *Within) (*rules.BacktestResult, error)
	RuleStats func() []rules.RuleStats

	Replay Replay // nil: 501
	// Alarms are nil: 501; AlarmLog is what happened to them, nil: 501.
	Alarms   Alarms
	AlarmLog AlarmLog
	System   System // nil: 501
	Radio    Radio  // nil: 501
	Video    Video  // nil: 501
	// K is the least number of objects that a statistic of a purpose may tell of; nil: the default of all.
	K func(purpose string) int

	Purposes   Purposes   // nil: 501
	Audit      Audit      // nil: 501, and nothing is noted
	Reveals    Reveals    // nil: 501
	PlateLists PlateLists // nil: 501
	Notify     Notify     // nil: 501
	// Warnings are the alarms of the CAP feed, and CAP who gives it; nil: 501.
	Warnings func() []cap.Alarm
	CAP      cap.Issuer

	Feed     http.Handler        // at /ws/v1/feed
	Page     http.Handler        // at every other path; nil: none
	Base     *basemap.Map        // under /map/; nil: none
	Gatherer prometheus.Gatherer // at /metrics

	// Hosts are names the server answers to beside loopback ones; Who knows those who are let in; nil:
	// everybody may do everything.
	Hosts []string
	Who   auth.Authenticator
	// Accounts are the local users, tokens and sessions; nil: 501. Routes are further ones, such as those of
	// the page to log in at, and LoginPage is where people are sent to log in; see auth.Guard.
	Accounts  Accounts
	Routes    map[string]http.Handler
	LoginPage func() string
	Claims    *claims.Desk // codes by which devices are let in; nil: 501

	// Processes are those of the city; nil: none are known.
	Processes func() []Process
	// Unchanged, where not nil, returns a context with which nothing is changed that somebody has changed since,
	// in whatever process: log.ErrChanged is then the answer. What was changed before is known here.
	Unchanged func(context.Context) (context.Context, error)

	// Limits bound what each may ask. Origins are those of pages elsewhere that may read, with a token.
	Limits  Limits
	Origins []string
	// Contact and Terms are told in the description of the API: whom to ask, and the address of the terms
	// of service.
	Contact openapi.Contact
	Terms   string

	Log *slog.Logger
}

// Stats counts messages (received, decoded, rejected, duplicates, ignored) and observations (logged,
// stored) since start; lag counts batches of the log that wait for a consumer.
type Stats struct {
	Received   int64 `json:"received"`
	Decoded    int64 `json:"decoded"`
	Rejected   int64 `json:"rejected"`
	Duplicates int64 `json:"duplicates"`
	Ignored    int64 `json:"ignored"`
	Logged     int64 `json:"logged"`
	Stored     int64 `json:"stored"`
	Detections int64 `json:"detections"` // stored, which Stored does not count
	Events     int64 `json:"events"`
	Devices    int64 `json:"devices"`
	Lag        Lag   `json:"lag"`
}

// Lag is how far consumers are behind the log, in batches.
type Lag struct {
	Writer int64 `json:"writer"`
	Rules  int64 `json:"rules"`
	Tracks int64 `json:"tracks"` // of cameras' metadata
}

// Bounds of a request's body.
const (
	maxBody     = 1 << 20
	maxImport   = 64 << 20
	unavailable = "5" // seconds to wait before asking again
)

type api struct {
	Config
	backtesting chan struct{} // one element a backtest that runs
	huma        huma.API
	mux         *router
	asked       questions       // what agencies, and readers of the audit log, were shown lately
	kept        map[string]bool // patterns of which answers may be kept
	locks       locks
	rate        rate.Limiter
	pace        pace // of bodies
	exceeded    exceeded
}

// setLibrary makes the library's refusals ours.
var setLibrary = sync.OnceFunc(func() {
	// The library keeps these in variables; nothing else of this process uses it.
	huma.NewError = newProblem
	huma.DefaultArrayNullable = false // our lists are empty, not null
})

// New is the handler of everything the control room serves over HTTP. All of it stands behind one guard,
// which knows the rule of every route; see package auth.
func New(cfg Config) http.Handler {
	a := newAPI(cfg)
	guard := auth.Guard{Hosts: cfg.Hosts, Who: cfg.Who, Rule: a.ruleOf, Note: a.noted, Admit: a.admit, LoginPage: cfg.LoginPage}
	return a.outermost(guard.Wrap(http.HandlerFunc(a.route)))
}

func newAPI(cfg Config) *api {
	setLibrary()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Ready == nil {
		cfg.Ready = func() error { return nil }
	}
	if cfg.Stats == nil {
		cfg.Stats = func() Stats { return Stats{} }
	}
	if cfg.K == nil {
		cfg.K = func(string) int { return privacy.DefaultK }
	}
	a := &api{Config: cfg, mux: &router{ServeMux: http.NewServeMux()}, backtesting: make(chan struct{}, maxBacktests),
		kept: map[string]bool{}, locks: locks{seed: maphash.MakeSeed()}, pace: bodyPace}
	c := huma.DefaultConfig("Panormus", cfg.Version)
	c.Info.Description = "Telemetry and control room of a city. Times are RFC 3339 in UTC to the millisecond, lists page by cursor, refusals are problem+json. " +
		"Every answer names its request in X-Request-Id, with the caller's id where it is 1 to 64 letters, digits, dots, hyphens and underscores."
	c.CreateHooks = nil                                   // they would add a $schema member to every answer
	c.DocsPath, c.SchemasPath, c.OpenAPIPath = "", "", "" // ours are finished first
	c.Formats = map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat}
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{func(ctx huma.Context, _ string, v any) (any, error) {
		if p, ok := v.(*problem.Problem); ok {
			u := ctx.URL()
			p.Instance, p.Request = u.Path, problem.Request(ctx.Context())
		}
		return v, nil
	}}
	a.huma = humago.New(a.mux, c)
	a.huma.UseMiddleware(once)
	a.status()
	a.system()
	a.me()
	a.accounts()
	a.claims()
	a.devices()
	a.profiles()
	a.zones()
	a.live()
	a.domains()
	a.exceedances()
	a.changes()
	a.camerasAt()
	a.readings()
	a.refused()
	a.history()
	a.alarms()
	a.alarmHealth()
	a.maintenance()
	a.rules()
	a.replay()
	a.radio()
	a.video()
	a.purposes()
	a.audit()
	a.reveals()
	a.plateLists()
	a.notify()
	a.cap()
	a.describe()
	a.description()
	a.docs()
	if cfg.Gatherer != nil {
		a.mux.Handle("GET /metrics", promhttp.HandlerFor(cfg.Gatherer, promhttp.HandlerOpts{}))
	}
	if cfg.Feed != nil {
		a.mux.Handle("GET /ws/v1/feed", cfg.Feed)
	}
	a.mux.HandleFunc("GET /map/base.json", cfg.Base.ServeInfo)
	a.mux.HandleFunc("GET /map/basemap.geojson", cfg.Base.ServeGeoJSON)
	a.mux.HandleFunc("GET /map/base.pmtiles", cfg.Base.ServeTiles)
	for pattern, h := range cfg.Routes {
		a.mux.Handle(pattern, h)
	}
	return a
}

// ours are the paths whose refusals are problems; all others are the page's.
func ours(path string) bool {
	for _, p := range []string{"/api/", "/ws/", "/map/", "/openapi", "/docs", "/status", "/metrics"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return path == "/api" || path == "/ws"
}

// route gives the request to the API, or to the page, or says that there is nothing.
func (a *api) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := a.mux.Handler(r)
	switch {
	case a.kept[pattern]:
		a.serveKept(w, r)
	case a.isChange(r.Method, pattern):
		a.serveChange(w, r)
	case pattern != "":
		a.mux.ServeHTTP(w, r)
	case ours(r.URL.Path):
		// The mux knows whether the path is there with other methods.
		probe := &probe{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			allow := probe.header.Get("Allow") + ", OPTIONS"
			w.Header().Set("Allow", allow)
			if r.Method == http.MethodOptions {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			problem.New(http.StatusMethodNotAllowed, "method %s, want %s", r.Method, allow).Write(w, r)
			return
		}
		problem.New(http.StatusNotFound, "nothing at %.200q; /openapi.json lists what there is", r.URL.Path).Write(w, r)
	case a.Page == nil:
		problem.New(http.StatusNotFound, "nothing at %.200q", r.URL.Path).Write(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		problem.New(http.StatusMethodNotAllowed, "method %s, want GET or HEAD", r.Method).Write(w, r)
	default:
		a.Page.ServeHTTP(w, r)
	}
}

// isChange reports whether a pattern is for changing what can be asked for, and kept, at the same path.
func (a *api) isChange(method, pattern string) bool {
	path, ok := strings.CutPrefix(pattern, method+" ")
	return ok && (method == http.MethodPut || method == http.MethodDelete) && a.kept["GET "+path]
}

// probe takes an answer's status and headers and drops the rest.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) WriteHeader(status int)      { p.status = status }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// register adds an operation: its method and path, a summary, and the refusals it may answer with.
func register[I, O any](a *api, op huma.Operation, handle func(*call, *I) (*O, error)) {
	op.BodyReadTimeout = -1 // it has its pace
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = maxBody
	}
	// A body that is described is read by its handler, which can say where it is wrong.
	op.SkipValidateBody = op.RequestBody != nil
	if op.OperationID == "" {
		op.OperationID = operationID(op.Method, op.Path)
	}
	rule, _ := auth.RouteRule(op.Method + " " + op.Path)
	if rule.Need != auth.Public {
		op.Errors = append(slices.Clone(op.Errors), http.StatusUnauthorized, http.StatusForbidden)
		op.Extensions = map[string]any{"x-permission": string(rule.Need)}
	} else {
		op.Security = []map[string][]string{{}}
	}
	if op.RequestBody != nil {
		if !slices.Contains(op.Errors, http.StatusUnsupportedMediaType) {
			op.Errors = append(slices.Clone(op.Errors), http.StatusUnsupportedMediaType)
		}
		op.Middlewares = append(op.Middlewares, takes(slices.Sorted(maps.Keys(op.RequestBody.Content))))
	}
	if mayKeep(&op, rule) {
		a.kept[op.Method+" "+op.Path] = true
		op.Extensions[openapi.Kept] = true
	}
	huma.Register(a.huma, op, func(ctx ctxt, in *I) (*O, error) { return handle(&call{ctx, a}, in) })
}
