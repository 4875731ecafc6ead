package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport draws the architecture: a folder may import itself, what stands here, and nothing
// else of this module. cmd may import everything and nothing imports cmd.
var mayImport = map[string][]string{
	"devices":     {},
	"stream":      {"devices"},
	"ingest":      {"stream", "devices"},
	"storage":     {"stream", "devices"},
	"controlroom": {"stream", "devices"},
	"simulators":  {"devices"},
	"cmd":         {"devices", "stream", "ingest", "storage", "controlroom", "simulators"},
	"bench":       {"devices", "stream", "ingest", "storage", "controlroom", "simulators"},
}

// adaptors are the only folders that may import a client library.
var adaptors = map[string][]string{
	"github.com/nats-io/":                 {"panormus/stream/log"},
	"github.com/apache/arrow/":            {"panormus/stream/batch", "panormus/storage"},
	"github.com/mochi-mqtt/":              {"panormus/ingest/broker"},
	"github.com/eclipse/paho.mqtt.golang": {"panormus/ingest/mqtt", "panormus/simulators", "panormus/stream/notify"},
	"github.com/wneessen/go-mail":         {"panormus/stream/notify"},
	"github.com/emersion/":                {"panormus/stream/notify"},
	"github.com/ClickHouse/":              {"panormus/storage", "panormus/cmd/chdbd"},
	"github.com/gorilla/websocket":        {"panormus/controlroom/feed", "panormus/ingest/station", "panormus/bench"},
	"github.com/danielgtaylor/huma":       {"panormus/controlroom/api"},
	"github.com/coreos/go-oidc":           {"panormus/controlroom/auth/login"},
	"golang.org/x/oauth2":                 {"panormus/controlroom/auth/login"},
	"github.com/pquerna/otp":              {"panormus/controlroom/auth/accounts"},
	"github.com/boombuler/barcode":        {"panormus/cmd/panormus/qr"},
	"golang.org/x/crypto/argon2":          {"panormus/controlroom/auth/accounts"},
	"cel.dev/cel-go":                      {"panormus/stream/rules", "panormus/bench"},
	"github.com/brocaar/lorawan":          {"panormus/ingest/lorawan", "panormus/simulators"},
	"github.com/ebitengine/purego":        {"panormus/cmd/chdbd"},
}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", "panormus/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pkg, imports := words[0], words[1:]
		top := topFolder(pkg)
		allowed, known := mayImport[top]
		if !known {
			t.Errorf("%s: no such top-level folder in the design", pkg)
			continue
		}
		seen[top] = true
		for _, imp := range imports {
			if strings.HasPrefix(imp, "panormus/") {
				if to := topFolder(imp); to != top && !slices.Contains(allowed, to) {
					t.Errorf("%s imports %s: %s may import %v", pkg, imp, top, allowed)
				}
				continue
			}
			for library, folders := range adaptors {
				if strings.HasPrefix(imp, library) && !inAny(pkg, folders) {
					t.Errorf("%s imports %s: only %v may", pkg, imp, folders)
				}
			}
		}
	}
	for top := range mayImport {
		if !seen[top] {
			t.Errorf("no package in %s: the test looked at nothing there", top)
		}
	}
}

func topFolder(pkg string) string {
	rest := strings.TrimPrefix(pkg, "panormus/")
	top, _, _ := strings.Cut(rest, "/")
	return top
}

func inAny(pkg string, folders []string) bool {
	for _, f := range folders {
		if pkg == f || strings.HasPrefix(pkg, f+"/") {
			return true
		}
	}
	return false
}
