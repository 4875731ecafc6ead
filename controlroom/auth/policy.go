package auth

import (
	"maps"
	"slices"
)

// Reach says how a route treats those who see a part of the city only.
type Reach uint8

// The reaches.
const (
	// Whole: it tells of the whole city, and is refused to those with a scope. It is the zero value, so
	// that a rule which says nothing opens nothing.
	Whole Reach = iota
	// Scoped: its handler asks ScopeOf and leaves out what is not seen.
	Scoped
	// Free: it tells of no device.
	Free
)

// A Rule is what a route asks of whoever uses it. Note names the act in the audit log, where the guard
// is to write it; handlers that write more themselves have none.
type Rule struct {
	Need  Permission
	Reach Reach
	Note  string
	// Else says what those with a scope can ask in place of what is Whole; "" for nothing.
	Else string
	// Lasts is of a connection that ends when what let it in does. Its handler answers for its scope itself.
	Lasts bool
}

// unruled is the rule of a route that has none: a test finds it, and until then it is the admin's.
var unruled = Rule{Need: AccessManage}

// PageRoute is the rule's name of every address that is not a route: the page's.
const PageRoute = "page"

// routes are the rules of all routes, by method and pattern. A new route gets a line here; the test
// TestEveryRouteHasARule of controlroom/api fails until it has.
var routes = map[string]Rule{
	PageRoute:                             {Need: Self, Reach: Free},
	"GET /status":                         {Need: Public, Reach: Free},
	"GET /metrics":                        {Need: MetricsRead, Else: "/api/v1/system and /api/v1/stats tell what can be told of a part"},
	"GET /openapi.json":                   {Need: Self, Reach: Free},
	"GET /openapi.yaml":                   {Need: Self, Reach: Free},
	"GET /openapi-3.0.json":               {Need: Self, Reach: Free},
	"GET /openapi-3.0.yaml":               {Need: Self, Reach: Free},
	"GET /docs":                           {Need: Self, Reach: Free},
	"GET /docs/docs.js":                   {Need: Self, Reach: Free},
	"GET /docs/docs.css":                  {Need: Self, Reach: Free},
	"GET /map/base.json":                  {Need: MapRead, Reach: Free},
	"GET /map/basemap.geojson":            {Need: MapRead, Reach: Free},
	"GET /map/base.pmtiles":               {Need: MapRead, Reach: Free},
	"GET /ws/v1/feed":                     {Need: Self, Reach: Scoped, Lasts: true}, // each subscription has a rule of its own
	"GET /api/v1/me":                      {Need: Self, Reach: Free},
	"GET /login":                          {Need: Public, Reach: Free},
	"POST /login":                         {Need: Public, Reach: Free}, // what came of it is noted by its handler
	"GET /login/oidc":                     {Need: Public, Reach: Free},
	"GET /login/callback":                 {Need: Public, Reach: Free},
	"POST /logout":                        {Need: Public, Reach: Free},
	"GET /api/v1/users":                   {Need: AccessManage, Reach: Free},
	"GET /api/v1/users/{name}":            {Need: AccessManage, Reach: Free},
	"PUT /api/v1/users/{name}":            {Need: AccessManage, Reach: Free}, // noted with the grant
	"DELETE /api/v1/users/{name}":         {Need: AccessManage, Reach: Free},
	"GET /api/v1/tokens":                  {Need: AccessManage, Reach: Free},
	"PUT /api/v1/tokens/{name}":           {Need: AccessManage, Reach: Free}, // noted with the grant
	"DELETE /api/v1/tokens/{name}":        {Need: AccessManage, Reach: Free},
	"DELETE /api/v1/sessions/{name}":      {Need: AccessManage, Reach: Free, Note: "sessions.ended"},
	"GET /claim":                          {Need: Public, Reach: Free},
	"POST /claim":                         {Need: Public, Reach: Free}, // noted with the device
	"GET /api/v1/claims":                  {Need: ClaimsWrite},
	"POST /api/v1/claims":                 {Need: ClaimsWrite}, // noted with their number
	"DELETE /api/v1/claims/{id}":          {Need: ClaimsWrite, Note: "claim.deleted"},
	"POST /api/v1/claims/redeem":          {Need: Public, Reach: Free}, // noted with the device
	"GET /api/v1/system":                  {Need: MetricsRead, Reach: Scoped},
	"GET /api/v1/stats":                   {Need: StateRead, Reach: Free},
	"GET /api/v1/state":                   {Need: StateRead, Reach: Scoped},
	"GET /api/v1/domains/{domain}/groups": {Need: StateRead, Reach: Scoped},
	"GET /api/v1/environment/indexes":     {Need: StateRead, Reach: Scoped},
	"GET /api/v1/environment/exceedances": {Need: StateRead, Reach: Scoped},
	"GET /api/v1/state/changes":           {Need: StateRead, Reach: Scoped},
	"GET /api/v1/state/cameras":           {Need: CamerasRead, Reach: Scoped},
	"GET /api/v1/series":                  {Need: StateRead, Reach: Scoped},
	"GET /api/v1/devices":                 {Need: RegistryRead, Reach: Scoped},
	"POST /api/v1/devices":                {Need: RegistryWrite, Note: "devices.put"},
	"GET /api/v1/devices/{id}/readings":   {Need: StateRead, Reach: Scoped},
	"GET /api/v1/devices/{id}/refused":    {Need: StateRead, Reach: Scoped}, // noted with what they said
	"GET /api/v1/devices/{id}":            {Need: RegistryRead, Reach: Scoped},
	"PUT /api/v1/devices/{id}":            {Need: RegistryWrite, Note: "device.put"},
	"GET /api/v1/profiles":                {Need: RegistryRead, Reach: Free},
	"GET /api/v1/profiles/{id}":           {Need: RegistryRead, Reach: Free},
	"GET /api/v1/zones":                   {Need: MapRead, Reach: Free},
	"GET /api/v1/zones/{id}":              {Need: MapRead, Reach: Free},
	"GET /api/v1/events":                  {Need: EventsRead, Reach: Scoped},
	"GET /api/v1/events/{id}":             {Need: EventsRead, Reach: Scoped},
	"GET /api/v1/export":                  {Need: Export, Reach: Scoped, Note: "export"},

	"DELETE /api/v1/devices/{id}":  {Need: RegistryWrite, Note: "device.deleted"},
	"PUT /api/v1/profiles/{id}":    {Need: RegistryWrite, Note: "profile.put"},
	"DELETE /api/v1/profiles/{id}": {Need: RegistryWrite, Note: "profile.deleted"},
	"PUT /api/v1/zones/{id}":       {Need: RegistryWrite, Note: "zone.put"},
	"DELETE /api/v1/zones/{id}":    {Need: RegistryWrite, Note: "zone.deleted"},
	"POST /api/v1/rejected/replay": {Need: Replay, Note: "rejected.replay"},

	"GET /api/v1/alarms":                {Need: AlarmsRead, Reach: Scoped},
	"GET /api/v1/alarms/{id}":           {Need: AlarmsRead, Reach: Scoped},
	"GET /api/v1/alarms/{id}/log":       {Need: AlarmsRead, Reach: Scoped},
	"GET /api/v1/alarms/health":         {Need: AlarmsRead, Reach: Scoped},
	"POST /api/v1/alarms/{id}/{action}": {Need: AlarmsAct, Reach: Scoped, Note: "alarm.act"},
	"POST /api/v1/alarms/actions":       {Need: AlarmsAct, Reach: Scoped, Note: "alarms.act"},
	"GET /api/v1/maintenance":           {Need: AlarmsRead, Reach: Scoped},
	"GET /api/v1/maintenance/{id}":      {Need: AlarmsRead, Reach: Scoped},
	"PUT /api/v1/maintenance/{id}":      {Need: MaintainWrite, Note: "maintenance.put"},
	"DELETE /api/v1/maintenance/{id}":   {Need: MaintainWrite, Note: "maintenance.deleted"},
	"GET /api/v1/cap":                   {Need: AlarmsRead, Reach: Scoped},
	"GET /api/v1/cap/{id}":              {Need: AlarmsRead, Reach: Scoped},

	"GET /api/v1/rules":                {Need: RulesRead, Reach: Free},
	"GET /api/v1/rules/{id}":           {Need: RulesRead, Reach: Free},
	"PUT /api/v1/rules/{id}":           {Need: RulesWrite, Note: "rule.put"},
	"DELETE /api/v1/rules/{id}":        {Need: RulesWrite, Note: "rule.deleted"},
	"POST /api/v1/rules/check":         {Need: RulesTry, Reach: Free},
	"POST /api/v1/rules/{id}/backtest": {Need: RulesTry, Reach: Scoped},
	"GET /api/v1/rule-stats":           {Need: RulesRead, Reach: Scoped},

	"GET /api/v1/gateways":           {Need: RadioRead, Reach: Scoped},
	"GET /api/v1/gateways/{id}":      {Need: RadioRead, Reach: Scoped},
	"GET /api/v1/radio/devices":      {Need: RadioRead, Reach: Scoped},
	"GET /api/v1/radio/devices/{id}": {Need: RadioRead, Reach: Scoped},

	"GET /api/v1/cameras":              {Need: CamerasRead, Reach: Scoped},
	"GET /api/v1/cameras/{id}":         {Need: CamerasRead, Reach: Scoped},
	"GET /api/v1/cameras/{id}/counts":  {Need: CamerasRead, Reach: Scoped},
	"GET /api/v1/cameras/{id}/zones":   {Need: CamerasRead, Reach: Scoped},
	"GET /api/v1/cameras/{id}/heatmap": {Need: CamerasRead, Reach: Scoped},
	"GET /api/v1/cameras/{id}/tracks":  {Need: TracksRead, Reach: Scoped, Note: "camera.tracks.read"},

	"GET /api/v1/purposes":         {Need: PurposesRead, Reach: Free},
	"GET /api/v1/purposes/{id}":    {Need: PurposesRead, Reach: Free},
	"PUT /api/v1/purposes/{id}":    {Need: PurposesWrite}, // noted with the whole policy
	"DELETE /api/v1/purposes/{id}": {Need: PurposesWrite},
	"GET /api/v1/audit":            {Need: AuditRead, Note: AuditOfAudit},

	"GET /api/v1/plates/reveals":               {Need: RevealsAsk, Note: "reveals.read"},
	"POST /api/v1/plates/reveals":              {Need: RevealsAsk}, // each step is noted with the case
	"GET /api/v1/plates/reveals/{id}":          {Need: RevealsAsk},
	"POST /api/v1/plates/reveals/{id}/approve": {Need: RevealsApprove},
	"POST /api/v1/plates/reveals/{id}/refuse":  {Need: RevealsApprove},
	"GET /api/v1/plates/lists":                 {Need: ListsRead},
	"GET /api/v1/plates/lists/{id}":            {Need: ListsRead},
	"PUT /api/v1/plates/lists/{id}":            {Need: ListsWrite}, // noted with its size
	"DELETE /api/v1/plates/lists/{id}":         {Need: ListsWrite},

	"GET /api/v1/notify/routes":            {Need: NotifyRead},
	"GET /api/v1/notify/routes/{id}":       {Need: NotifyRead},
	"PUT /api/v1/notify/routes/{id}":       {Need: NotifyWrite, Note: "route.put"},
	"DELETE /api/v1/notify/routes/{id}":    {Need: NotifyWrite, Note: "route.deleted"},
	"GET /api/v1/notify/receivers":         {Need: NotifyRead},
	"GET /api/v1/notify/dead":              {Need: NotifyRead},
	"POST /api/v1/notify/dead/{id}/replay": {Need: NotifyWrite, Note: "dead_letter.replay"},
	"DELETE /api/v1/notify/dead/{id}":      {Need: NotifyWrite, Note: "dead_letter.deleted"},
}

// topics are the rules of the feed's topics. All of them are Scoped but stats, which tells of no device.
var topics = map[string]Rule{
	"state":  {Need: StateRead, Reach: Scoped},
	"events": {Need: EventsRead, Reach: Scoped},
	"alarms": {Need: AlarmsRead, Reach: Scoped},
	"stats":  {Need: StateRead, Reach: Free},
}

// RouteRule is the rule of a route, and false where it has none and the strictest is returned.
func RouteRule(pattern string) (Rule, bool) {
	r, ok := routes[pattern]
	if !ok {
		return unruled, false
	}
	return r, true
}

// TopicRule is the rule of a topic of the feed, and false where it has none.
func TopicRule(topic string) (Rule, bool) {
	r, ok := topics[topic]
	if !ok {
		return unruled, false
	}
	return r, true
}

// RouteNames are the routes that have rules, in order.
func RouteNames() []string { return slices.Sorted(maps.Keys(routes)) }

// TopicNames are the topics that have rules, in order.
func TopicNames() []string { return slices.Sorted(maps.Keys(topics)) }

// Lets reports why p may not use what has the rule; "" where it may.
func (r Rule) Lets(p *Principal) string {
	switch {
	case !p.May(r.Need):
		return "it needs the permission " + string(r.Need) + ", which role " + string(p.Role) + " has not got"
	case r.Reach == Whole && !p.Scope.Whole():
		why := "it tells of the whole city, or is done to it, and you see a part of it"
		if r.Else != "" {
			why += "; " + r.Else
		}
		return why
	}
	return ""
}
