package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"panormus/cmd/panormus/certs"
	"panormus/controlroom/api/openapi"
	"panormus/ingest/broker"
	"panormus/stream/log"
	"panormus/stream/privacy"
)

// config is everything a run can be told. Each top-level scalar is also a flag and an environment
// variable; flag comes before environment, environment before file, file before default.
type config struct {
	Data       string `yaml:"data"`
	HTTP       string `yaml:"http"`
	MQTT       string `yaml:"mqtt"`
	LoRaWANUDP string `yaml:"lorawan_udp"`
	ClickHouse string `yaml:"clickhouse"`
	NATS       string `yaml:"nats"`
	Simulate   string `yaml:"simulate"`
	Map        string `yaml:"map"`
	Role       string `yaml:"role"`
	Insecure   bool   `yaml:"insecure"`
	LogLevel   string `yaml:"log_level"`
	file       string // the settings file, which there may not be

	Web        webConfig        `yaml:"web"`
	Broker     brokerConfig     `yaml:"broker"`
	Brokers    []remoteBroker   `yaml:"brokers"`
	Ingest     ingestConfig     `yaml:"ingest"`
	LoRaWAN    lorawanConfig    `yaml:"lorawan"`
	Stream     streamConfig     `yaml:"stream"`
	Storage    storageConfig    `yaml:"storage"`
	Rules      rulesConfig      `yaml:"rules"`
	Alarms     alarmsConfig     `yaml:"alarms"`
	Privacy    privacyConfig    `yaml:"privacy"`
	VDS        vdsConfig        `yaml:"vds"`
	Notify     notifyConfig     `yaml:"notify"`
	Simulation simulationConfig `yaml:"simulation"`
}

type webConfig struct {
	TLS    certs.Files `yaml:"tls"`
	Hosts  []string    `yaml:"hosts"`  // names the server answers to, beside loopback ones
	Tokens string      `yaml:"tokens"` // file of hashed tokens; who has none is refused

	RequireLogin   bool          `yaml:"require_login"`   // also on this machine, and before there are users
	SessionIdle    time.Duration `yaml:"session_idle"`    // how long a session lasts that nobody uses
	SessionLongest time.Duration `yaml:"session_longest"` // how long any does
	OIDC           oidcConfig    `yaml:"oidc"`
	Feed           feedConfig    `yaml:"feed"`

	Limits  limitsConfig    `yaml:"limits"`
	Origins []string        `yaml:"origins"` // of pages elsewhere that may read the API, with a token
	Contact openapi.Contact `yaml:"contact"` // whom to ask about the API, told in its description
	Terms   string          `yaml:"terms"`   // address of its terms of service
}

// limitsConfig is how many requests a minute are let in of each who asks; 0 for any number.
type limitsConfig struct {
	PerMinute int `yaml:"per_minute"`
	Local     int `yaml:"local"` // of those on this machine
}

type brokerConfig struct {
	TLS       certs.Files `yaml:"tls"`
	Passwords string      `yaml:"passwords"` // file of user:hash lines
	// Auth is required where everybody has to say who he is, also on this machine. It is so too with
	// passwords, accounts or a CA for client certificates.
	Auth         string           `yaml:"auth"`
	Accounts     []broker.Account `yaml:"accounts"`     // what users may do that are no devices
	Public       string           `yaml:"public"`       // host:port where devices outside find it; empty: the host that was asked
	Certificates string           `yaml:"certificates"` // required, or optional: those without have a password
}

// closed reports whether clients of the embedded broker have to say who they are.
func (c *brokerConfig) closed() bool {
	return c.Auth == "required" || c.Passwords != "" || c.TLS.CA != "" || len(c.Accounts) > 0
}

func (c *brokerConfig) check() error {
	if c.Auth != "" && c.Auth != "required" {
		return fmt.Errorf("broker.auth: %q, want required, or nothing", c.Auth)
	}
	if c.Certificates != "" && c.Certificates != "required" && c.Certificates != "optional" {
		return fmt.Errorf("broker.certificates: %q, want required or optional", c.Certificates)
	}
	if c.Public != "" {
		if _, port, err := net.SplitHostPort(c.Public); err != nil || port == "" {
			return fmt.Errorf("broker.public: %.300q, want host:port", c.Public)
		}
	}
	if c.TLS.CA != "" && c.TLS.Cert == "" {
		return errors.New("broker.tls.ca: client certificates are asked for over TLS, and broker.tls.cert names no certificate of the broker's own")
	}
	if c.Certificates != "" && c.TLS.CA == "" {
		return fmt.Errorf("broker.certificates: %s, but broker.tls.ca names nobody who signs them", c.Certificates)
	}
	return nil
}

type remoteBroker struct {
	URL      string      `yaml:"url"` // tcp://host:1883, ssl://host:8883, ws://…
	ClientID string      `yaml:"client_id"`
	Share    string      `yaml:"share"` // group of the shared subscription; empty for a subscription of our own
	Username string      `yaml:"username"`
	Password string      `yaml:"password"`
	TLS      certs.Files `yaml:"tls"`
	// ServerName is the name that its certificate is for, where it is not the URL's.
	ServerName string `yaml:"server_name"`
}

type ingestConfig struct {
	Routes         []routeConfig `yaml:"routes"`          // before the default ones
	UnknownDevices string        `yaml:"unknown_devices"` // register or refuse
	Linger         time.Duration `yaml:"linger"`          // longest a message waits for company
}

type routeConfig struct {
	Topic   string `yaml:"topic"`   // an MQTT filter
	Decoder string `yaml:"decoder"` // json, senml, senml-cbor, chirpstack…
	Domain  string `yaml:"domain"`  // of devices whose topics have none
}

type streamConfig struct {
	MaxBytes   byteSize      `yaml:"max_bytes"`
	MaxAge     time.Duration `yaml:"max_age"`
	VideoAge   time.Duration `yaml:"max_age_video"`
	Sync       syncPolicy    `yaml:"sync"`
	Partitions int           `yaml:"partitions"`
	Replicas   int           `yaml:"replicas"`
	MinFree    byteSize      `yaml:"min_free"`
}

type storageConfig struct {
	TTL map[string]time.Duration `yaml:"ttl"` // by table; 0 keeps for ever
}

type rulesConfig struct {
	Dir   string `yaml:"dir"`   // of YAML files, watched; beside the rules put through the API
	Share string `yaml:"share"` // of the work, where several processes have the role: see shareOf
}

// rulesLease is how long another process with the same share waits until it takes over from one that is silent.
const rulesLease = 15 * time.Second

// shareOf reads "all", "keys", which is the rules whose keys span devices, or "2/3", the second of three
// parts of the others: every third partition.
func shareOf(share string, partitions int) (own []int, spanning bool, err error) {
	switch share {
	case "all":
		return nil, false, nil
	case "keys":
		return nil, true, nil
	}
	part, of, ok := strings.Cut(share, "/")
	i, err1 := strconv.Atoi(part)
	n, err2 := strconv.Atoi(of)
	if !ok || err1 != nil || err2 != nil || i < 1 || i > n || n > partitions {
		return nil, false, fmt.Errorf("rules.share: %q, want all, keys, or a part such as 2/3, of at most %d", share, partitions)
	}
	for p := i - 1; p < partitions; p += n {
		own = append(own, p)
	}
	return own, false, nil
}

type privacyConfig struct {
	KeyFile   string        `yaml:"key_file"`     // master key; empty: keys/master.key of the data folder, made at the first start
	Anchor    string        `yaml:"audit_anchor"` // where the newest entry of the audit log is noted; empty: audit.anchor of the data folder
	LostKey   bool          `yaml:"lost_key"`     // start although keys are not of the master key
	RevealFor time.Duration `yaml:"reveal_for"`   // how long a plate can be looked at once approved
}

type simulationConfig struct {
	Devices int     `yaml:"devices"`
	Rate    float64 `yaml:"rate"` // messages/s; 0 for each device's own pace
	Seed    uint64  `yaml:"seed"`
}

func defaults() config {
	return config{
		Data: "./data", HTTP: "127.0.0.1:8080", MQTT: "127.0.0.1:1883", LoRaWANUDP: "127.0.0.1:1700",
		ClickHouse: "embedded", NATS: "embedded", Simulate: "none", Map: "none", Role: "all", LogLevel: "info", Rules: rulesConfig{Share: "all"},
		Ingest:  ingestConfig{UnknownDevices: "register"},
		LoRaWAN: lorawanConfig{Region: "EU868", Station: "none"},
		VDS:     vdsConfig{vdsPush: vdsPush{Listen: "none"}},
		Stream: streamConfig{
			MaxBytes: log.DefaultMaxBytes, MaxAge: log.DefaultMaxAge, VideoAge: log.DefaultVideoAge, Sync: syncPolicy(log.DefaultSync),
			Partitions: log.DefaultPartitions, Replicas: 1,
		},
		Web:        webConfig{SessionIdle: time.Hour, SessionLongest: 12 * time.Hour, Feed: feedConfig{Clients: 4096, UserClients: 100, UserSubscriptions: 1000, AddressClients: 500}, Limits: limitsConfig{PerMinute: 6000, Local: 60_000}},
		Privacy:    privacyConfig{RevealFor: privacy.DefaultRevealFor},
		Simulation: simulationConfig{Seed: 1},
	}
}

// setting is one top-level scalar, by its name as a key: flag and variable follow from it.
type setting struct {
	key, help string
	text      func(*config) *string
	yes       func(*config) *bool
}

func (s setting) flag() string { return strings.ReplaceAll(s.key, "_", "-") }
func (s setting) env() string  { return "PANORMUS_" + strings.ToUpper(s.key) }

func (s setting) set(c *config, v string) error {
	if s.text != nil {
		*s.text(c) = v
		return nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("%q, want true or false", v)
	}
	*s.yes(c) = b
	return nil
}

var settings = []setting{
	{key: "data", help: "folder of everything that is kept", text: func(c *config) *string { return &c.Data }},
	{key: "http", help: "address of page, API and feed; none for none", text: func(c *config) *string { return &c.HTTP }},
	{key: "mqtt", help: "address of the embedded broker; none for none", text: func(c *config) *string { return &c.MQTT }},
	{key: "lorawan_udp", help: "address for LoRaWAN packet forwarders; none for none", text: func(c *config) *string { return &c.LoRaWANUDP }},
	{key: "clickhouse", help: "embedded, or the DSN of a server", text: func(c *config) *string { return &c.ClickHouse }},
	{key: "nats", help: "embedded, or the URL of a server with JetStream", text: func(c *config) *string { return &c.NATS }},
	{key: "simulate", help: "palermo, or none", text: func(c *config) *string { return &c.Simulate }},
	{key: "map", help: "base map of the page, FILE.pmtiles or FILE.geojson; none for none", text: func(c *config) *string { return &c.Map }},
	{key: "role", help: "all, or a comma list of ingest, writer, rules, controlroom", text: func(c *config) *string { return &c.Role }},
	{key: "insecure", help: "listen beyond this machine without TLS and authentication", yes: func(c *config) *bool { return &c.Insecure }},
	{key: "log_level", help: "debug, info, warn or error", text: func(c *config) *string { return &c.LogLevel }},
}

// defaultConfigFile is read where --config names none, if it is there.
const defaultConfigFile = "panormus.yaml"

// loadConfig reads flags, environment and file. It returns flag.ErrHelp when help was asked for.
func loadConfig(name string, args []string, environ func(string) (string, bool), out io.Writer) (config, error) {
	c := defaults()
	fs := flag.NewFlagSet("panormus "+name, flag.ContinueOnError)
	fs.SetOutput(out)
	file := fs.String("config", "", "settings file (default "+defaultConfigFile+", if there is one)")
	type given struct {
		s setting
		v string
	}
	var fromFlags []given
	for _, s := range settings {
		take := func(v string) error {
			fromFlags = append(fromFlags, given{s, v})
			return s.set(new(config), v)
		}
		if s.yes != nil {
			fs.BoolFunc(s.flag(), s.help, take)
		} else {
			fs.Func(s.flag(), fmt.Sprintf("%s (default %q)", s.help, *s.text(&c)), take)
		}
	}
	if err := fs.Parse(args); err != nil {
		return c, err
	}
	if fs.NArg() > 0 {
		return c, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if err := readConfigFile(&c, *file, environ); err != nil {
		return c, err
	}
	for _, s := range settings {
		if v, ok := environ(s.env()); ok {
			if err := s.set(&c, v); err != nil {
				return c, fmt.Errorf("%s: %w", s.env(), err)
			}
		}
	}
	for _, g := range fromFlags {
		if err := g.s.set(&c, g.v); err != nil {
			return c, fmt.Errorf("--%s: %w", g.s.flag(), err)
		}
	}
	return c, c.check()
}

func readConfigFile(c *config, file string, environ func(string) (string, bool)) error {
	wanted := file != ""
	if !wanted {
		if file, wanted = environ("PANORMUS_CONFIG"); !wanted {
			file = defaultConfigFile
		}
	}
	c.file = file
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && !wanted {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	return parseConfig(c, file, b)
}

var unknownField = regexp.MustCompile(`line (\d+): field (\S+) not found in type \w+\.(\S+)`)

func parseConfig(c *config, file string, b []byte) error {
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	dec.KnownFields(true)
	err := dec.Decode(c)
	if err == nil || errors.Is(err, io.EOF) { // an empty file says nothing
		if _, _, err := c.VDS.decoders(); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s:%s: unknown key %q", file, m[1], m[2])
	}
	return fmt.Errorf("%s: %s", file, strings.TrimPrefix(err.Error(), "yaml: "))
}

var roles = []string{"ingest", "writer", "rules", "controlroom"}

// has reports whether the run plays the role.
func (c *config) has(role string) bool {
	list := strings.Split(c.Role, ",")
	return slices.Contains(list, "all") || slices.Contains(list, role)
}

// leads reports whether the run does what one process of the role rules does for all: it has all of the
// work, or the keys, and with them the rules about rows, tracks, alarms and notifications.
func (c *config) leads() bool {
	return c.has("rules") && (c.Rules.Share == "all" || c.Rules.Share == "keys")
}

func (c *config) check() error {
	for _, r := range strings.Split(c.Role, ",") {
		if r != "all" && !slices.Contains(roles, r) {
			return fmt.Errorf("role: %q, want all or a comma list of %s", r, strings.Join(roles, ", "))
		}
	}
	if c.Role != "all" && c.NATS == "embedded" {
		for _, r := range roles {
			if !c.has(r) {
				return fmt.Errorf("role: %q with the embedded log leaves out %s, and no other process can reach it: name a NATS server (--nats) or take all roles", c.Role, r)
			}
		}
	}
	if c.has("controlroom") && !c.has("writer") && c.ClickHouse == "embedded" {
		return fmt.Errorf("role: %q with the embedded database, which nobody would write to: name the database that the process with the role writer writes to (--clickhouse), or take that role, too", c.Role)
	}
	if c.Simulate != "palermo" && c.Simulate != "none" {
		return fmt.Errorf("simulate: %q, want palermo or none", c.Simulate)
	}
	if c.Ingest.UnknownDevices != "register" && c.Ingest.UnknownDevices != "refuse" {
		return fmt.Errorf("ingest.unknown_devices: %q, want register or refuse", c.Ingest.UnknownDevices)
	}
	if c.Ingest.Linger < 0 || c.Ingest.Linger > 50*time.Millisecond {
		return fmt.Errorf("ingest.linger: %v, want at most 50ms", c.Ingest.Linger)
	}
	if err := c.LoRaWAN.check(); err != nil {
		return err
	}
	if c.Stream.Partitions < 1 || c.Stream.Partitions > 1024 {
		return fmt.Errorf("stream.partitions: %d, want 1 to 1024", c.Stream.Partitions)
	}
	if c.Stream.MaxBytes < 64<<20 {
		return fmt.Errorf("stream.max_bytes: %d, want at least 64MiB", int64(c.Stream.MaxBytes))
	}
	if _, _, err := shareOf(c.Rules.Share, c.Stream.Partitions); err != nil {
		return err
	}
	if c.Rules.Share != "all" && c.NATS == "embedded" {
		return fmt.Errorf("rules.share: %q with the embedded log, which no process with another part can reach: name a NATS server (--nats) or take all", c.Rules.Share)
	}
	if d := c.Privacy.RevealFor; d < time.Minute || d > privacy.MaxRevealFor {
		return fmt.Errorf("privacy.reveal_for: %v, want 1m to %v", d, privacy.MaxRevealFor)
	}
	if err := c.Alarms.check(); err != nil {
		return err
	}
	if err := c.Notify.Check(); err != nil {
		return err
	}
	if err := c.Web.check(); err != nil {
		return err
	}
	if err := c.Broker.check(); err != nil {
		return err
	}
	if err := c.Notify.CAP.check(); err != nil {
		return err
	}
	if _, err := c.level(); err != nil {
		return err
	}
	return nil
}

func (c *config) level() (slog.Level, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return l, fmt.Errorf("log_level: %q, want debug, info, warn or error", c.LogLevel)
	}
	return l, nil
}

// byteSize is a number of bytes, in YAML a number or one with B, KiB, MiB, GiB or TiB behind it.
type byteSize int64

// UnmarshalYAML reads "10GiB" or 10737418240.
func (s *byteSize) UnmarshalYAML(n *yaml.Node) error {
	text, factor := strings.TrimSpace(n.Value), 1.0
	for _, u := range []struct {
		suffix string
		factor float64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v < 0 || v*factor > 1<<62 {
		return fmt.Errorf("line %d: %q, want bytes such as 10GiB", n.Line, n.Value)
	}
	*s = byteSize(v * factor)
	return nil
}

// syncPolicy is how often the log is flushed to the disk: "always" (0) or a duration.
type syncPolicy time.Duration

// UnmarshalYAML reads "always" or "1s".
func (s *syncPolicy) UnmarshalYAML(n *yaml.Node) error {
	if n.Value == "always" {
		*s = 0
		return nil
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil || d <= 0 {
		return fmt.Errorf("line %d: %q, want always or an interval such as 1s", n.Line, n.Value)
	}
	*s = syncPolicy(d)
	return nil
}
