package auth

import (
	"maps"
	"slices"
)

// A Permission is one kind of thing that can be done.
type Permission string

// The permissions. What a name does not say stands beside it.
const (
	Public         Permission = "public" // needs nobody's name
	Self           Permission = "self"   // of everybody who is let in: the page, the documents, one's own account
	MapRead        Permission = "map.read"
	StateRead      Permission = "state.read" // last values, series, counters of the process
	RegistryRead   Permission = "registry.read"
	RegistryWrite  Permission = "registry.write"
	ClaimsWrite    Permission = "claims.write" // codes by which devices are let in
	EventsRead     Permission = "events.read"
	AlarmsRead     Permission = "alarms.read"
	AlarmsAct      Permission = "alarms.act"
	MaintainWrite  Permission = "maintenance.write"
	RulesRead      Permission = "rules.read"
	RulesTry       Permission = "rules.try" // checks and backtests: nothing stays
	RulesWrite     Permission = "rules.write"
	CamerasRead    Permission = "cameras.read" // health and counts: nobody's data
	TracksRead     Permission = "tracks.read"  // ways and places of single objects: personal data
	RadioRead      Permission = "radio.read"
	Export         Permission = "export"
	NotifyRead     Permission = "notify.read"
	NotifyWrite    Permission = "notify.write"
	PurposesRead   Permission = "purposes.read"
	PurposesWrite  Permission = "purposes.write"
	RevealsAsk     Permission = "reveals.ask"
	RevealsApprove Permission = "reveals.approve"
	ListsRead      Permission = "plate_lists.read"
	ListsWrite     Permission = "plate_lists.write"
	AuditRead      Permission = "audit.read"
	MetricsRead    Permission = "metrics.read"
	Replay         Permission = "ingest.replay"
	AccessManage   Permission = "access.manage" // users, tokens, what agencies are shown
)

// A Role is what somebody is in the control room.
type Role string

// The roles.
const (
	Viewer         Role = "viewer"
	Operator       Role = "operator"
	DomainOperator Role = "domain_operator" // an operator who must have a scope
	Supervisor     Role = "supervisor"
	DataProtection Role = "data_protection"
	Admin          Role = "admin"
	Agency         Role = "agency" // a partner: what its scope shares with it, until a day
)

var (
	viewing = []Permission{Self, MapRead, StateRead, RegistryRead, EventsRead, AlarmsRead, RulesRead, CamerasRead, RadioRead, MetricsRead}
	acting  = append(viewing[:len(viewing):len(viewing)], AlarmsAct, RulesTry, Export, PurposesRead, RevealsAsk)
	leading = append(acting[:len(acting):len(acting)], ClaimsWrite, MaintainWrite, RulesWrite, NotifyRead, NotifyWrite, TracksRead, RevealsApprove, ListsRead,
		ListsWrite, AuditRead)
)

// grants says what each role may do. An admin may do everything but what two people have to do and what
// tells of the admin: approve a look at a plate, read the audit log.
var grants = map[Role][]Permission{
	Viewer: viewing, Operator: acting, DomainOperator: acting, Supervisor: leading,
	DataProtection: append(viewing[:len(viewing):len(viewing)], Export, PurposesRead, PurposesWrite, TracksRead, RevealsAsk, RevealsApprove, ListsRead, AuditRead),
	Admin: append(acting[:len(acting):len(acting)], ClaimsWrite, MaintainWrite, RulesWrite, NotifyRead, NotifyWrite, TracksRead, RegistryWrite, PurposesWrite,
		ListsRead, ListsWrite, Replay, AccessManage),
	Agency: {Self, MapRead},
}

// shares are what an agency can be shown.
var shares = map[string]Permission{"events": EventsRead, "alarms": AlarmsRead, "cameras": CamerasRead}

// Roles are all roles, in order of their names.
func Roles() []Role { return slices.Sorted(maps.Keys(grants)) }
