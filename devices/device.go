package devices

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Status says how a device came to be in the registry.
type Status string

const (
	// Claimed is a device an operator entered or imported.
	Claimed Status = "claimed"
	// Unclaimed is a device that was registered because it published.
	Unclaimed Status = "unclaimed"
	// Disabled is a device whose credentials do not count, until it is claimed again.
	Disabled Status = "disabled"
)

// A Device is one asset of the city: a lamp, a loop, a bus, a camera. The JSON form is the one of
// the HTTP API and of the store.
type Device struct {
	ID      string            `json:"id"`
	Domain  string            `json:"domain"`
	Profile string            `json:"profile,omitempty"`
	Zone    string            `json:"zone,omitempty"`
	Name    string            `json:"name,omitempty"`
	Lat     *float64          `json:"lat,omitempty"` // degrees north, WGS 84; nil where unknown
	Lon     *float64          `json:"lon,omitempty"` // degrees east, WGS 84; nil where unknown
	Tags    map[string]string `json:"tags,omitempty"`
	Status  Status            `json:"status,omitempty"`
	Secret  string            `json:"secret,omitempty"` // write only: the registry keeps a hash
	// Certificate is the SHA-256 of the client certificate that alone lets the device in, in hexadecimal; ""
	// where any that names the device does.
	Certificate string   `json:"certificate,omitempty"`
	LoRaWAN     *LoRaWAN `json:"lorawan,omitempty"`
	Camera      *Camera  `json:"camera,omitempty"`
	// Rules is what the device has in place of its zone's, its profile's and the rules' own values, by the
	// rule's id.
	Rules map[string]RuleOverride `json:"rules,omitempty"`
}

// LoRaWAN is what a device is on the radio. Identifiers and keys are hexadecimal, most significant
// byte first. Keys are write only.
type LoRaWAN struct {
	DevEUI         string `json:"dev_eui,omitempty"`     // 8 bytes
	DevAddr        string `json:"dev_addr,omitempty"`    // 4 bytes
	MACVersion     string `json:"mac_version,omitempty"` // "1.0.3", "1.1.0"…
	NwkSKey        string `json:"nwk_s_key,omitempty"`
	AppSKey        string `json:"app_s_key,omitempty"`
	FNwkSIntKey    string `json:"f_nwk_s_int_key,omitempty"`
	SNwkSIntKey    string `json:"s_nwk_s_int_key,omitempty"`
	NwkSEncryption string `json:"nwk_s_enc_key,omitempty"`
}

// check reports what is no identifier, version or key. What is empty is not given.
func (l *LoRaWAN) check() error {
	for _, f := range []struct {
		name, value string
		digits      int
		secret      bool
	}{
		{"dev_eui", l.DevEUI, 16, false}, {"dev_addr", l.DevAddr, 8, false},
		{"nwk_s_key", l.NwkSKey, 32, true}, {"app_s_key", l.AppSKey, 32, true}, {"f_nwk_s_int_key", l.FNwkSIntKey, 32, true},
		{"s_nwk_s_int_key", l.SNwkSIntKey, 32, true}, {"nwk_s_enc_key", l.NwkSEncryption, 32, true},
	} {
		if _, err := hex.DecodeString(f.value); f.value == "" || err == nil && len(f.value) == f.digits {
			continue
		}
		found := fmt.Sprintf("%.40q", f.value)
		if f.secret {
			found = fmt.Sprintf("found %d characters", len(f.value)) // a key that is nearly one is told to nobody
		}
		return fmt.Errorf("%s: %s, want %d hexadecimal digits", f.name, found, f.digits)
	}
	if v := l.MACVersion; v != "" && v != "1.0" && v != "1.1" && !strings.HasPrefix(v, "1.0.") && !strings.HasPrefix(v, "1.1.") {
		return fmt.Errorf("mac_version: %.40q, want one such as 1.0.3 or 1.1.0", v)
	}
	return nil
}

// Public is the device without what may only be written: the secret and the radio keys.
func (d Device) Public() Device {
	d.Secret = ""
	if d.LoRaWAN != nil {
		d.LoRaWAN = &LoRaWAN{DevEUI: d.LoRaWAN.DevEUI, DevAddr: d.LoRaWAN.DevAddr, MACVersion: d.LoRaWAN.MACVersion}
	}
	return d
}

// keepSecrets fills what d leaves blank of the radio keys with what the registry holds, so
// that an exported device can be put back without losing its keys.
func (d Device) keepSecrets(old Device) Device {
	if d.LoRaWAN == nil || old.LoRaWAN == nil || d.LoRaWAN.DevEUI != old.LoRaWAN.DevEUI {
		return d
	}
	l := *d.LoRaWAN
	for _, f := range []struct{ have, held *string }{
		{&l.NwkSKey, &old.LoRaWAN.NwkSKey}, {&l.AppSKey, &old.LoRaWAN.AppSKey},
		{&l.FNwkSIntKey, &old.LoRaWAN.FNwkSIntKey}, {&l.SNwkSIntKey, &old.LoRaWAN.SNwkSIntKey},
		{&l.NwkSEncryption, &old.LoRaWAN.NwkSEncryption},
	} {
		if *f.have == "" {
			*f.have = *f.held
		}
	}
	d.LoRaWAN = &l
	return d
}

// Check reports what of d is not acceptable, naming the field, what was found and what is allowed.
func (d Device) Check() error {
	if err := CheckID(d.ID); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	if err := CheckDomain(d.Domain); err != nil {
		return fmt.Errorf("device %q: domain: %w", d.ID, err)
	}
	if (d.Lat == nil) != (d.Lon == nil) {
		return fmt.Errorf("device %q: lat and lon: have one, want both or neither", d.ID)
	}
	if d.Lat != nil && !(*d.Lat >= -90 && *d.Lat <= 90) {
		return fmt.Errorf("device %q: lat: %v degrees, want -90 to 90", d.ID, *d.Lat)
	}
	if d.Lon != nil && !(*d.Lon >= -180 && *d.Lon <= 180) {
		return fmt.Errorf("device %q: lon: %v degrees, want -180 to 180", d.ID, *d.Lon)
	}
	if len(d.Tags) > 64 {
		return fmt.Errorf("device %q: tags: %d, want at most 64", d.ID, len(d.Tags))
	}
	for _, f := range []struct{ name, value string }{{"profile", d.Profile}, {"zone", d.Zone}, {"name", d.Name}} {
		if len(f.value) > 256 {
			return fmt.Errorf("device %q: %s: %d bytes, want at most 256", d.ID, f.name, len(f.value))
		}
	}
	if d.Status != "" && d.Status != Claimed && d.Status != Unclaimed && d.Status != Disabled {
		return fmt.Errorf("device %q: status: %q, want claimed, unclaimed or disabled", d.ID, d.Status)
	}
	if len(d.Secret) > maxSecret {
		return fmt.Errorf("device %q: secret: %d bytes, want at most %d", d.ID, len(d.Secret), maxSecret)
	}
	if d.Certificate != "" {
		if _, err := fingerprint(d.Certificate); err != nil {
			return fmt.Errorf("device %q: certificate: %w", d.ID, err)
		}
	}
	if d.LoRaWAN != nil {
		if err := d.LoRaWAN.check(); err != nil {
			return fmt.Errorf("device %q: lorawan.%w", d.ID, err)
		}
	}
	if d.Camera != nil {
		if err := d.Camera.check(); err != nil {
			return fmt.Errorf("device %q: camera.%w", d.ID, err)
		}
	}
	if err := checkOverrides(d.Rules); err != nil {
		return fmt.Errorf("device %q: %w", d.ID, err)
	}
	return nil
}

// CheckID reports why id cannot name a device: 1 to 128 bytes of valid UTF-8 without spaces,
// control characters or what MQTT keeps for itself (/, +, #).
func CheckID(id string) error {
	if len(id) == 0 || len(id) > 128 {
		return fmt.Errorf("%d bytes, want 1 to 128", len(id))
	}
	if !utf8.ValidString(id) {
		return errors.New("not valid UTF-8")
	}
	for _, r := range id {
		if unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' || r == '+' || r == '#' {
			return fmt.Errorf("%q in %q, want no spaces, control characters, /, + or #", r, id)
		}
	}
	return nil
}

// CheckDomain reports why domain is none: 1 to 32 of a-z, 0-9, _ and -.
func CheckDomain(domain string) error {
	if len(domain) == 0 || len(domain) > 32 {
		return fmt.Errorf("%d bytes, want 1 to 32", len(domain))
	}
	for i := range len(domain) {
		c := domain[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return fmt.Errorf("%q in %q, want a-z, 0-9, _ or -", c, domain)
		}
	}
	return nil
}

// A Profile is what devices of one kind measure and how often.
type Profile struct {
	ID             string            `json:"id"`
	Domain         string            `json:"domain,omitempty"`
	Codec          json.RawMessage   `json:"codec,omitempty"` // JavaScript source, "cayenne_lpp" or {"layout":[…]}
	ExpectedPeriod Duration          `json:"expected_period,omitempty"`
	Metrics        map[string]Metric `json:"metrics,omitempty"`
	LoRaWAN        *RadioPolicy      `json:"lorawan,omitempty"`
	// Rules is what devices of the profile have in place of the rules' own values, by the rule's id.
	Rules map[string]RuleOverride `json:"rules,omitempty"`
}

// A RadioPolicy is how the devices of a profile are treated whose raw LoRaWAN frames are read here.
type RadioPolicy struct {
	// CounterPolicy is what is done about frames whose counter went back: "refuse" (also ""),
	// "flag" or "accept".
	CounterPolicy string `json:"counter_policy,omitempty"`
	// FreshRuntime gives the profile's script a new runtime for each uplink, for scripts that keep
	// state between calls.
	FreshRuntime bool `json:"fresh_runtime,omitempty"`
}

// A Metric is one quantity of a profile.
type Metric struct {
	Unit  string            `json:"unit,omitempty"` // UCUM code: W, Cel, ug/m3, dB[A]…
	Min   *float64          `json:"min,omitempty"`  // least credible value, in Unit; nil: no bound
	Max   *float64          `json:"max,omitempty"`  // greatest credible value, in Unit; nil: no bound
	Label map[string]string `json:"label,omitempty"`
}

// InRange reports whether v is a credible value of m.
func (m Metric) InRange(v float64) bool {
	return (m.Min == nil || v >= *m.Min) && (m.Max == nil || v <= *m.Max)
}

// Check reports what of p is not acceptable.
func (p Profile) Check() error {
	if err := CheckID(p.ID); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	if p.Domain != "" {
		if err := CheckDomain(p.Domain); err != nil {
			return fmt.Errorf("profile %q: domain: %w", p.ID, err)
		}
	}
	if p.ExpectedPeriod < 0 {
		return fmt.Errorf("profile %q: expected_period: %v, want none or a positive duration", p.ID, time.Duration(p.ExpectedPeriod))
	}
	if l := p.LoRaWAN; l != nil && l.CounterPolicy != "" && l.CounterPolicy != "refuse" && l.CounterPolicy != "flag" && l.CounterPolicy != "accept" {
		return fmt.Errorf("profile %q: lorawan.counter_policy: %.40q, want refuse, flag or accept", p.ID, l.CounterPolicy)
	}
	if len(p.Metrics) > 1024 {
		return fmt.Errorf("profile %q: metrics: %d, want at most 1024", p.ID, len(p.Metrics))
	}
	for name, m := range p.Metrics {
		if name == "" || strings.ContainsFunc(name, unicode.IsSpace) {
			return fmt.Errorf("profile %q: metrics: name %q, want one without spaces", p.ID, name)
		}
		if m.Min != nil && m.Max != nil && *m.Min > *m.Max {
			return fmt.Errorf("profile %q: metrics.%s: min %v above max %v", p.ID, name, *m.Min, *m.Max)
		}
	}
	if err := checkOverrides(p.Rules); err != nil {
		return fmt.Errorf("profile %q: %w", p.ID, err)
	}
	return nil
}

// Duration is a time.Duration that JSON writes as Go does ("15m0s") and reads as Go or in seconds.
type Duration time.Duration

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON reads "15m" or a number of seconds.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var seconds float64
	if err := json.Unmarshal(b, &seconds); err == nil {
		*d = Duration(seconds * float64(time.Second))
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("duration %s, want a string such as \"15m\" or seconds", b)
	}
	if s == "" {
		*d = 0
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("duration %q, want one such as \"15m\"", s)
	}
	*d = Duration(v)
	return nil
}

// UnmarshalYAML reads what UnmarshalJSON does, without its quotes.
func (d *Duration) UnmarshalYAML(unmarshal func(any) error) error {
	var s string
	if err := unmarshal(&s); err != nil {
		return err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return d.UnmarshalJSON(b)
}
