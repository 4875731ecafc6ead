package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func loadWith(t *testing.T, file string, env map[string]string, args ...string) (config, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append([]string{"--config", path}, args...)
	}
	return loadConfig("run", args, func(k string) (string, bool) { v, ok := env[k]; return v, ok }, io.Discard)
}

func TestFlagBeforeEnvironmentBeforeFile(t *testing.T) {
	file := "http: from-file:1\nmqtt: from-file:2\nlorawan_udp: from-file:3\nstream:\n  max_bytes: 2GiB\n  sync: always\n  max_age: 24h\n"
	env := map[string]string{"PANORMUS_MQTT": "from-env:2", "PANORMUS_LORAWAN_UDP": "from-env:3", "PANORMUS_INSECURE": "true"}
	c, err := loadWith(t, file, env, "--lorawan-udp", "from-flag:3", "--insecure=false")
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP != "from-file:1" || c.MQTT != "from-env:2" || c.LoRaWANUDP != "from-flag:3" || c.Insecure || c.Data != "./data" {
		t.Errorf("%+v", c)
	}
	if c.Stream.MaxBytes != 2<<30 || c.Stream.Sync != 0 || c.Stream.MaxAge != 24*time.Hour || c.Stream.Partitions != 16 {
		t.Errorf("stream: %+v", c.Stream)
	}
}

func TestEveryFlagIsAKeyAndAVariable(t *testing.T) {
	for _, s := range settings {
		value := "none"
		switch s.key {
		case "insecure":
			value = "true"
		case "role":
			value = "all"
		case "log_level":
			value = "warn"
		}
		for name, c := range map[string]func() (config, error){
			"flag": func() (config, error) { return loadWith(t, "", nil, "--"+s.flag()+"="+value) },
			"key":  func() (config, error) { return loadWith(t, s.key+": "+value, nil) },
			"env":  func() (config, error) { return loadWith(t, "", map[string]string{s.env(): value}) },
		} {
			got, err := c()
			if err != nil {
				t.Errorf("%s as %s: %v", s.key, name, err)
				continue
			}
			if s.text != nil && *s.text(&got) != value || s.yes != nil && !*s.yes(&got) {
				t.Errorf("%s as %s was not taken", s.key, name)
			}
		}
	}
}

// TestHelpTellsNoSecret: what the environment says is no default that help may print, and who asks for help
// makes no data folder.
func TestHelpTellsNoSecret(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("PANORMUS_TOKEN", "the-secret")
	t.Setenv("PANORMUS_CLICKHOUSE", "clickhouse://u:the-secret@x")
	t.Setenv("PANORMUS_NATS", "nats://u:the-secret@x")
	for _, c := range commands {
		for _, verb := range []string{"", "import", "export", "claims", "claims make", "check", "test", "backtest", "verify", "add", "list", "replay-rejected"} {
			if c.name == "version" {
				continue
			}
			var out bytes.Buffer
			args := append(append([]string{c.name}, strings.Fields(verb)...), "--help")
			dispatch(t.Context(), args, &out, &out)
			if text := out.String(); strings.Contains(text, "the-secret") {
				t.Errorf("%v: %s", args, text)
			}
			if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
				t.Fatalf("%v left %v, %v", args, left, err)
			}
		}
	}
	if c, err := (&apiFlags{set: new(flag.FlagSet), url: "http://x"}).client(); err != nil || c.token != "the-secret" {
		t.Errorf("%+v, %v: the token of the environment is not used", c, err)
	}
	if c, err := (&apiFlags{set: new(flag.FlagSet), url: "http://x", token: "another"}).client(); err != nil || c.token != "another" {
		t.Errorf("%+v, %v: the token of the flag is not used", c, err)
	}
}

func TestBrokenConfig(t *testing.T) {
	for _, tc := range []struct {
		name, file, want string
		args             []string
	}{
		{name: "unknown key", file: "http: a\nhtpp: b\n", want: `settings.yaml:2: unknown key "htpp"`},
		{name: "unknown nested key", file: "stream:\n  maxbytes: 1\n", want: `:2: unknown key "maxbytes"`},
		{name: "not YAML", file: "http: [", want: "line 1"},
		{name: "size", file: "stream: {max_bytes: lots}", want: "want bytes such as 10GiB"},
		{name: "too small", file: "stream: {max_bytes: 1MiB}", want: "at least 64MiB"},
		{name: "sync", file: "stream: {sync: never}", want: "want always or an interval"},
		{name: "role", args: []string{"--role", "writer,cook"}, want: `"cook"`},
		{name: "lonely role", args: []string{"--role", "ingest,writer,controlroom"}, want: "leaves out rules"},
		{name: "control room of an empty database", args: []string{"--role", "controlroom", "--nats", "nats://10.0.0.1"}, want: "nobody would write to"},
		{name: "share", file: "nats: nats://x:4222\nrules: {share: 3/2}", want: `rules.share: "3/2", want all, keys`},
		{name: "lonely share", file: "rules: {share: 1/2}", want: "no process with another part can reach"},
		{name: "city", args: []string{"--simulate", "roma"}, want: `"roma", want palermo or none`},
		{name: "level", args: []string{"--log-level", "loud"}, want: `"loud"`},
		{name: "linger", file: "ingest: {linger: 2s}", want: "at most 50ms"},
		{name: "region", file: "lorawan: {region: EU999}", want: `"EU999", want one of AS923`},
		{name: "region of stations", file: "lorawan: {region: us915, station: 127.0.0.1:3001}", want: "networks of US915 listen to different channels"},
		{name: "picture", file: "vds: {frames: {molo: big}}", want: `settings.yaml: vds.frames: molo: "big", want width and height in pixels`},
		{name: "Frigate's speed", file: "vds: {frigate_speed: knots}", want: `vds.frigate_speed: "knots", want km/h or mph`},
		{name: "key of a mapping", file: "vds:\n  mappings:\n    - nmae: a\n", want: `settings.yaml:3: unknown key "nmae"`},
		{name: "mapping", file: "vds: {mappings: [{name: acme, topic: a/+, format: json, what: object, fields: {speeed: v}}]}",
			want: `settings.yaml: vds.mappings: 1, "acme": fields: "speeed", want some of time, track`},
		{name: "topic of a mapping", file: "vds: {mappings: [{name: acme, topic: a/b+, camera: c, format: json, what: object, fields: {track: v}}]}",
			want: `vds.mappings: 1, "acme": topic: route 1, "a/b+"`},
		{name: "two mappings", file: "vds: {mappings: [&m {name: acme, topic: a/+, format: json, what: object, fields: {track: v}}, *m]}",
			want: `vds.mappings: 2, "acme": name: another mapping has it`},
		{name: "no file", args: []string{"--config", "/nowhere/p.yaml"}, want: "/nowhere/p.yaml"},
		{name: "argument", args: []string{"now"}, want: `"now"`},
	} {
		if _, err := loadWith(t, tc.file, nil, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}
