package codec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write puts files below a new folder: name, content, name, content…
func write(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		name := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const gaugeScript = `
var calls = 0;
function decodeUplink(input) {
  calls++;
  if (input.fPort !== 5) return { errors: ['port ' + input.fPort] };
  return { data: { level: input.bytes[0] / 4, calls: calls, at: input.recvTime, spare: undefined }, warnings: input.bytes[0] > 200 ? ['high'] : [] };
}
function normalizeUplink(input) { return { data: { water: { temperature: { current: input.data.level } } } }; }
function encodeDownlink(input) { return { fPort: 5, bytes: [input.data.minutes] }; }
function decodeDownlink(input) { return { data: { minutes: input.bytes[0] } }; }
`

const gaugeCodec = `
uplinkDecoder:
  fileName: gauge.js
  examples:
    - description: A calm river
      input: {fPort: 5, bytes: [0x0A], recvTime: '2026-01-25T02:31:40.123456789Z'}
      output:
        data: {level: 2.5, calls: 1, at: '2026-01-25T02:31:40.123456789Z', spare: null}
      normalizedOutput:
        data: {water: {temperature: {current: 2.5}}}
    - description: A flood
      input: {fPort: 5, bytes: [201]}
      output: {data: {level: 50.25, calls: 1}, warnings: [high], errors: []}
    - description: Another port
      input: {fPort: 6, bytes: [1]}
      output: {errors: [port 6]}
    - description: A wrong example
      input: {fPort: 5, bytes: [4]}
      output: {data: {level: 2, calls: 1, more: [1]}}
downlinkEncoder:
  fileName: gauge.js
  examples:
    - description: Every ten minutes
      input: {data: {minutes: 10}}
      output: {fPort: 5, bytes: [10]}
downlinkDecoder:
  fileName: gauge.js
  examples:
    - description: Every ten minutes
      input: {fPort: 5, bytes: [10]}
      output: {data: {minutes: 10}}
`

func TestPublishedExamples(t *testing.T) {
	dir := write(t, "gauge.js", gaugeScript, "gauge-codec.yaml", gaugeCodec,
		"broken-codec.yaml", strings.ReplaceAll(gaugeCodec, "gauge.js", "broken.js"), "broken.js", "function decodeUplink(",
		"outside-codec.yaml", strings.ReplaceAll(gaugeCodec, "gauge.js", "../gauge.js"))
	var out strings.Builder
	passed, failed, err := Test(&out, filepath.Join(dir, "gauge-codec.yaml"))
	if passed != 5 || failed != 1 || err != nil {
		t.Errorf("%d passed, %d failed, %v; want 5 and 1", passed, failed, err)
	}
	const want = `pass decodeUplink 1: A calm river
pass decodeUplink 2: A flood
pass decodeUplink 3: Another port
FAIL decodeUplink 4: A wrong example
     data.level: 1, want 2
     data.more: missing, want [1]
pass encodeDownlink 1: Every ten minutes
pass decodeDownlink 1: Every ten minutes
5 passed, 1 failed
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	for _, name := range []string{"broken", "outside"} {
		if passed, failed, err := Test(&out, filepath.Join(dir, name+"-codec.yaml")); passed != 0 || failed != 6 || err != nil {
			t.Errorf("%s: %d passed, %d failed, %v; want all 6 failed", name, passed, failed, err)
		}
	}
	if _, _, err := Test(&out, filepath.Join(dir, "none.yaml")); err == nil {
		t.Error("a file that is not there was tested")
	}
}

func TestImport(t *testing.T) {
	const device = `
firmwareVersions:
  - version: '1.0'
    profiles: {EU863-870: {id: eu, codec: old-codec}}
  - version: '1.1 beta/2'
    profiles: {EU863-870: {id: eu, codec: old-codec}}
  - version: '2.0'
    profiles: {EU863-870: {id: eu, codec: gauge-codec}, US902-928: {id: us, codec: gauge-codec}}
`
	dir := write(t,
		"vendor/index.yaml", "vendors:\n  - {id: acqua, name: Acqua, vendorID: 7}\n  - {id: absent, name: No folder}\n  - {id: ../up, name: Out}\n",
		"vendor/acqua/index.yaml", "endDevices: [gauge, plain, broken, missing, ../../x]\n",
		"vendor/acqua/gauge.yaml", device,
		"vendor/acqua/gauge-codec.yaml", gaugeCodec, "vendor/acqua/gauge.js", gaugeScript,
		"vendor/acqua/old-codec.yaml", "uplinkDecoder: {fileName: old.js}\n", "vendor/acqua/old.js", "function Decoder(bytes, port) { return { level: bytes[0] } }",
		"vendor/acqua/plain.yaml", "firmwareVersions: [{version: '1', profiles: {EU863-870: {id: eu}}}]\n",
		"vendor/acqua/broken.yaml", "firmwareVersions: [{version: '1', profiles: {EU863-870: {id: eu, codec: broken-codec}}}]\n",
		"vendor/acqua/broken-codec.yaml", "uplinkDecoder: {fileName: broken.js}\n", "vendor/acqua/broken.js", "function decodeUplink(")
	for _, from := range []string{dir, filepath.Join(dir, "vendor"), filepath.Join(dir, "vendor", "acqua")} {
		profiles, problems, err := Import(from)
		if err != nil || len(profiles) != 2 || profiles[0].ID != "acqua-gauge" || profiles[1].ID != "acqua-gauge-1.1_beta_2" {
			t.Fatalf("%s: %+v, %v, %v; want the gauge and its old firmware", from, profiles, problems, err)
		}
		c, err := Compile(profiles[0].Codec)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := c.Decode(Uplink{FPort: 5, Bytes: []byte{10}}); err != nil || out.Values[0].Number != 2.5 {
			t.Errorf("%+v, %v; want the level", out, err)
		}
		var told []string
		for _, p := range problems {
			told = append(told, filepath.Base(p.File)+" "+p.Detail)
		}
		all := strings.Join(told, "\n")
		for _, want := range []string{"broken.js script:", "missing.yaml", `device "../../x"`} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: problems\n%s\nwant %q", from, all, want)
			}
		}
		if from == dir && !strings.Contains(all, `vendor "../up"`) {
			t.Errorf("problems\n%s\nwant the vendor outside", all)
		}
	}
	if _, _, err := Import(filepath.Join(dir, "nowhere")); err == nil {
		t.Error("a folder that is not there was imported")
	}
}
