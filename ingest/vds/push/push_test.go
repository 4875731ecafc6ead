package push_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/ingest/vds"
	"panormus/ingest/vds/push"
	"panormus/stream/batch"
	"panormus/stream/privacy/privacytest"
)

const (
	anpr = `<?xml version="1.0" encoding="utf-8"?><EventNotificationAlert xmlns="http://www.hikvision.com/ver20/XMLSchema"><dateTime>2026-11-23T09:00:00Z</dateTime><eventType>ANPR</eventType><eventState>active</eventState>` +
		`<ANPR><licensePlate>AB123CD</licensePlate><confidenceLevel>97</confidenceLevel></ANPR></EventNotificationAlert>`
	motion  = `<EventNotificationAlert><dateTime>2026-11-23T09:00:01Z</dateTime><eventType>VMD</eventType><eventState>active</eventState></EventNotificationAlert>`
	picture = "\xff\xd8\xff\xe0 AB123CD \xff\xd9"
)

// A stand is a handler on a server, a pump and its log.
type stand struct {
	log     *ingesttest.Log
	pump    *ingest.Pump
	url     string
	open    string      // as url, but for this machine alone
	hasty   string      // as url, but waits 20 ms for the log
	decoded chan string // formats, as their decoders are called
	ended   chan struct{}
	reg     *prometheus.Registry
}

func newStand(t *testing.T) *stand {
	s := &stand{log: ingesttest.NewLog(), decoded: make(chan string, 100), ended: make(chan struct{}, 100), reg: prometheus.NewRegistry()}
	registry := ingesttest.NewRegistry()
	for id, secret := range map[string]string{"cam-1": "s3cret", "cam-2": "other", "cam-3": ""} {
		if err := registry.PutDevice(context.Background(), devices.Device{ID: id, Domain: "safety", Secret: secret, Camera: privacytest.Camera("traffic")}); err != nil {
			t.Fatal(err)
		}
	}
	decoders := map[string]ingest.Decoder{}
	for name, d := range vds.Decoders(vds.Options{}) {
		decoders[name] = func(in *ingest.Input, out *ingest.Decoded) error {
			s.decoded <- name
			return d(in, out)
		}
	}
	s.pump = ingesttest.NewPump(t, s.log, func(c *ingest.Config) {
		c.Registry, c.Video, c.Privacy, c.Routes = registry, decoders, privacytest.Guard(), ingest.VideoRoutes()
	})
	cfg := push.Config{Pump: s.pump, Lookup: registry.Lookup, Metrics: s.reg}
	h, err := push.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { s.ended <- struct{}{} }()
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	local := httptest.NewServer(h.Open())
	t.Cleanup(local.Close)
	s.url, s.open = srv.URL, local.URL
	cfg.Wait, cfg.Metrics = 20*time.Millisecond, nil
	hasty, err := push.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	quick := httptest.NewServer(hasty)
	t.Cleanup(quick.Close)
	s.hasty = quick.URL
	return s
}

// post sends a body as cam-1 and returns the answer.
func (s *stand) post(t *testing.T, path, contentType string, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("cam-1", "s3cret")
	r.Header.Set("Content-Type", contentType)
	return do(t, r)
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), "AB123CD") || strings.Contains(string(b), "s3cret") {
		t.Errorf("the answer repeats what was sent: %s", b)
	}
	if resp.StatusCode != 200 {
		var p struct {
			Status   int
			Detail   string
			Instance string
		}
		if err := json.Unmarshal(b, &p); err != nil || p.Status != resp.StatusCode || p.Detail == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%d %s: %v, want a problem", resp.StatusCode, b, err)
		}
	}
	return resp, string(b)
}

// whats are the kinds of rows on the log, in order of their times.
func (s *stand) whats() []string {
	rows := s.log.Detections()
	slices.SortStableFunc(rows, func(a, b batch.Detection) int { return int(a.Time - b.Time) })
	var out []string
	for _, r := range rows {
		out = append(out, r.What)
	}
	return out
}

func (s *stand) reasons() []string {
	var out []string
	for _, r := range s.log.Rejected() {
		out = append(out, r.Reason)
		if strings.Contains(r.Detail, "AB123CD") || len(r.Payload) > 0 {
			panic(fmt.Sprintf("%+v: want nothing of the message", r))
		}
	}
	slices.Sort(out)
	return out
}

func multi(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString("--frontier\r\n" + p + "\r\n")
	}
	return b.String() + "--frontier--\r\n"
}

func part(contentType, body string) string {
	return "Content-Disposition: form-data; name=\"x\"\r\nContent-Type: " + contentType + "\r\n\r\n" + body
}

func sized(contentType, body string) string {
	return fmt.Sprintf("Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
}

const frontier = "multipart/form-data; boundary=frontier"

func TestCredentials(t *testing.T) {
	s := newStand(t)
	open := &stand{url: s.open}
	for _, tc := range []struct {
		name   string
		stand  *stand
		path   string
		set    func(*http.Request)
		status int
	}{
		{"basic", s, "cam-1", func(r *http.Request) { r.SetBasicAuth("cam-1", "s3cret") }, 200},
		{"bearer", s, "cam-1", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") }, 200},
		{"key", s, "cam-1?key=s3cret", nil, 200},
		{"none", s, "cam-1", nil, 401},
		{"wrong", s, "cam-1", func(r *http.Request) { r.SetBasicAuth("cam-1", "s3cre") }, 401},
		{"another's name", s, "cam-1", func(r *http.Request) { r.SetBasicAuth("cam-2", "s3cret") }, 401},
		{"another's secret", s, "cam-1", func(r *http.Request) { r.SetBasicAuth("cam-1", "other") }, 401},
		{"another camera", s, "cam-2", func(r *http.Request) { r.SetBasicAuth("cam-1", "s3cret") }, 401},
		{"empty", s, "cam-1?key=", nil, 401},
		{"camera without a secret", s, "cam-3?key=", nil, 401},
		{"unknown camera", s, "cam-9?key=s3cret", nil, 401},
		{"camera without a secret, loopback only", open, "cam-3", nil, 200},
		{"camera with a secret, loopback only", open, "cam-1", nil, 401},
		{"no camera", s, "", nil, 404},
		{"unknown format", s, "cam-1/jpeg?key=s3cret", nil, 404},
		{"format", s, "cam-1/hikvision?key=s3cret", nil, 200},
		{"too long a path", s, "cam-1/hikvision/x?key=s3cret", nil, 404},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPost, tc.stand.url+"/vds/push/"+tc.path, strings.NewReader(motion))
			if err != nil {
				t.Fatal(err)
			}
			if tc.set != nil {
				tc.set(r)
			}
			if resp, b := do(t, r); resp.StatusCode != tc.status {
				t.Errorf("%d, want %d: %s", resp.StatusCode, tc.status, b)
			}
		})
	}
	slowed := false
	for i := 0; i < 100 && !slowed; i++ {
		r, _ := http.NewRequest(http.MethodPost, s.url+"/vds/push/cam-2?key=guess", strings.NewReader(motion))
		resp, _ := do(t, r)
		slowed = resp.StatusCode == 429 && resp.Header.Get("Retry-After") != ""
	}
	if !slowed {
		t.Error("nobody slows down who guesses a hundred times")
	}
	r, _ := http.NewRequest(http.MethodGet, s.url+"/vds/push/cam-1", nil)
	if resp, _ := do(t, r); resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %d, want 405", resp.StatusCode)
	}
}

func TestFormats(t *testing.T) {
	for _, tc := range []struct {
		name, contentType, body, format string
		status                          int
	}{
		{"hikvision", "application/xml", "\r\n" + anpr, "hikvision", 200},
		{"hikvision among pictures", frontier, multi(part("image/jpeg", picture), part("application/xml", anpr), part("image/jpeg", picture)), "hikvision", 200},
		{"hikvision, no types", frontier, multi(part("application/octet-stream", picture), part("application/octet-stream", anpr)), "hikvision", 200},
		{"hikvision without the last boundary", frontier, strings.TrimSuffix(multi(part("application/xml", anpr)), "\r\n--frontier--\r\n"), "hikvision", 200},
		{"onvif", "text/xml", "\xef\xbb\xbf" + `<tt:MetadataStream xmlns:tt="x"/>`, "onvif-xml", 200},
		{"onvif frame", "application/json", `{"Frame":[{"@UtcTime":"2026-11-23T09:00:00Z"}]}`, "onvif-frame", 200},
		{"onvif event", "application/json", `{"Topic":"VideoSource/MotionAlarm","UtcTime":"2026-11-23T09:00:00Z","Data":{"State":true}}`, "onvif-event", 200},
		{"axis", "application/json", `{"channel_id":1,"detections":[],"timestamp":"2026-07-29T11:55:30.369150Z"}`, "axis-scene", 200},
		{"rekor", "application/json", `{"data_type":"alpr_group","epoch_start":1790000000000,"best_plate_number":"AB123CD","best_confidence":91.5}`, "rekor", 200},
		{"plate recognizer", "multipart/form-data; boundary=frontier", multi("Content-Disposition: form-data; name=\"json\"\r\n\r\n"+`{"hook":{},"data":{"camera_id":"cam-1","timestamp":"2026-11-23T09:00:00Z","results":[{"plate":"ab123cd","score":0.9}]}}`,
			"Content-Disposition: form-data; name=\"upload\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"+picture), "platerecognizer", 200},
		{"deepstream", "application/json", `{"version":"4.0","id":"1","@timestamp":"2026-11-23T09:00:00Z","sensorId":"cam-1","objects":[]}`, "deepstream", 200},
		{"dahua", "text/plain", `Code=VideoMotion;action=Start;index=0;data={"UTC":1620477656}`, "dahua", 200},
		{"what nobody knows", "application/json", `{"plate":"AB123CD"}`, "", 415},
		{"a picture", "image/jpeg", picture, "", 415},
		{"nothing", "application/xml", "", "", 415},
		{"pictures alone", frontier, multi(part("image/jpeg", picture)), "", 200},
		{"no boundary", "multipart/form-data", anpr, "", 400},
		{"no part", frontier, "AB123CD", "", 400},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStand(t)
			resp, b := s.post(t, "/vds/push/cam-1", tc.contentType, strings.NewReader(tc.body))
			if resp.StatusCode != tc.status {
				t.Errorf("%d, want %d: %s", resp.StatusCode, tc.status, b)
			}
			format := ""
			if len(s.decoded) > 0 {
				format = <-s.decoded
			}
			if format != tc.format {
				t.Errorf("format %q, want %q", format, tc.format)
			}
		})
	}
}

func TestAnswersWhenTheLogHasIt(t *testing.T) {
	s := newStand(t)
	resp, b := s.post(t, "/vds/push/cam-1", frontier, strings.NewReader(multi(part("application/xml", anpr), part("image/jpeg", picture), part("application/xml", motion))))
	if resp.StatusCode != 200 || b != "{\"taken\":2}\n" {
		t.Fatalf("%d %s, want two taken", resp.StatusCode, b)
	}
	if got := s.whats(); !slices.Equal(got, []string{"plate", "motion"}) { // at once: no flush
		t.Errorf("%v on the log, want a plate and motion", got)
	}
	if r := s.log.Detections()[0]; r.Camera != "cam-1" || r.Purpose != "traffic" || r.What == "plate" && len(r.PlateHash) != 64 {
		t.Errorf("%+v, want it under the camera's purpose", r)
	}
	s.log.Block()
	later := strings.Replace(motion, "09:00", "10:00", 1)
	r, _ := http.NewRequest(http.MethodPost, s.hasty+"/vds/push/cam-1?key=s3cret", strings.NewReader(later))
	resp, _ = do(t, r)
	s.log.Unblock()
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d with the log away, want 503 and when to try again", resp.StatusCode)
	}
	// What was not answered for is on the log all the same, and is known when it comes again.
	resp, _ = s.post(t, "/vds/push/cam-1", "application/xml", strings.NewReader(later))
	if got := s.whats(); resp.StatusCode != 200 || len(got) != 3 {
		t.Errorf("%d, %v on the log; want 200 and three", resp.StatusCode, got)
	}
	if n := testutil.ToFloat64(counter(t, s.reg, "panormus_ingest_push_requests_total", "status", "200")); n != 2 {
		t.Errorf("%v requests with 200 counted, want 2", n)
	}
}

// counter finds a metric as one that testutil can read.
func counter(t *testing.T, reg *prometheus.Registry, name, label, value string) prometheus.Collector {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "x"})
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetName() == label && m.GetLabel()[0].GetValue() == value {
				g.Set(m.GetCounter().GetValue())
			}
		}
	}
	return g
}

func TestRefusedByItsDecoderIsNotSentAgain(t *testing.T) {
	s := newStand(t)
	resp, _ := s.post(t, "/vds/push/cam-1/hikvision", "application/xml", strings.NewReader(anpr[:len(anpr)-40]))
	if got := s.reasons(); resp.StatusCode != 200 || !slices.Equal(got, []string{"xml"}) {
		t.Errorf("%d, %v; want 200 and one in the dead letter", resp.StatusCode, got)
	}
}

func TestTooLarge(t *testing.T) {
	s := newStand(t)
	big := "<a>" + strings.Repeat("x", ingest.MaxPayload)
	resp, _ := s.post(t, "/vds/push/cam-1", "application/xml", strings.NewReader(big))
	if got := s.reasons(); resp.StatusCode != 413 || !slices.Equal(got, []string{"too_large"}) {
		t.Errorf("%d, %v; want 413 and one in the dead letter", resp.StatusCode, got)
	}
	resp, _ = s.post(t, "/vds/push/cam-1", frontier, strings.NewReader(multi(part("application/xml", big), part("image/jpeg", strings.Repeat("x", 3<<20)), part("application/xml", motion))))
	if got := s.reasons(); resp.StatusCode != 413 || len(got) != 2 || !slices.Equal(s.whats(), []string{"motion"}) {
		t.Errorf("%d, %v, %v; want 413, and what came behind it", resp.StatusCode, got, s.whats())
	}
	endless := io.MultiReader(strings.NewReader("--frontier\r\n"+part("image/jpeg", "")), io.LimitReader(zeros{}, 1<<30))
	r, _ := http.NewRequest(http.MethodPost, s.url+"/vds/push/cam-1?key=s3cret", endless)
	r.Header.Set("Content-Type", frontier)
	if resp, err := http.DefaultClient.Do(r); err == nil { // or the connection is closed before all is sent
		resp.Body.Close()
		if resp.StatusCode != 413 {
			t.Errorf("%d, want 413", resp.StatusCode)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A stream that never ends is taken in part by part, while it goes on.
func TestStreamsThatDoNotEnd(t *testing.T) {
	for name, form := range map[string]func(string, string) string{"sized": sized, "unsized": part} {
		t.Run(name, func(t *testing.T) {
			s := newStand(t)
			out, in := io.Pipe()
			r, _ := http.NewRequest(http.MethodPost, s.url+"/vds/push/cam-1?key=s3cret", out)
			r.Header.Set("Content-Type", "multipart/x-mixed-replace; boundary=frontier")
			answered := make(chan error, 1)
			go func() {
				resp, err := http.DefaultClient.Do(r)
				if err == nil {
					resp.Body.Close()
				}
				answered <- err
			}()
			for i := range 3 {
				io.WriteString(in, "--frontier\r\n"+form("application/xml", strings.Replace(motion, "09:00:01", fmt.Sprintf("09:00:0%d", i), 1))+"\r\n")
				if name == "unsized" {
					io.WriteString(in, "--frontier\r\n"+form("image/jpeg", picture)+"\r\n")
				}
				<-s.decoded
			}
			in.CloseWithError(io.ErrClosedPipe) // the camera is switched off
			<-answered
			<-s.ended
			if err := s.pump.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := s.whats(); len(got) != 3 {
				t.Errorf("%v on the log, want three", got)
			}
		})
	}
}

// What was whole of a body that breaks off is taken in; the rest is counted.
func TestCutBodies(t *testing.T) {
	whole := multi(part("application/xml", anpr), sized("application/xml", motion))
	for n := 1; n < len(whole); n++ {
		if n%13 != 0 && n != strings.Index(whole, "</EventNotificationAlert>")+30 && n < len(whole)-20 {
			continue
		}
		s := newStand(t)
		for _, length := range []int{len(whole), n} { // the connection breaks; the body itself is short
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "POST /vds/push/cam-1?key=s3cret HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", frontier, length, whole[:n])
			conn.(*net.TCPConn).CloseWrite()
			<-s.ended
			conn.Close()
		}
		if err := s.pump.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var want []string
		first, second := strings.Index(whole, "</EventNotificationAlert>")+len("</EventNotificationAlert>"), strings.LastIndex(whole, "\r\n--frontier--")
		if n >= first+len("\r\n--frontier") {
			want = append(want, "plate")
		}
		if n >= second {
			want = append(want, "motion")
		}
		got, reasons := s.whats(), s.reasons()
		// The last part of a short body may be whole without its boundary.
		if len(got) < len(want) || len(got) > len(want)+1 || len(got) == len(want)+1 && n < first {
			t.Errorf("cut at %d of %d: %v on the log and %v refused, want %v", n, len(whole), got, reasons, want)
		}
		if st := s.pump.Stats(); st.InFlight != 0 || st.Received != st.Decoded+st.Rejected+st.Ignored {
			t.Errorf("cut at %d: %+v, want a balance", n, st)
		}
		if n < first && n > strings.Index(whole, "<?xml") && len(reasons) != 2 {
			t.Errorf("cut at %d: %v refused, want both", n, reasons)
		}
	}
}

func FuzzBodies(f *testing.F) {
	for _, b := range []string{anpr, motion, multi(part("application/xml", anpr), sized("image/jpeg", picture), sized("application/json", `{"Frame":[]}`)), `{"data":{"results":[]}}`, `{"data_type":"alpr_group"}`, "Code=VideoMotion"} {
		f.Add(b, "multipart/form-data; boundary=frontier", true)
		f.Add(b, "application/xml", false)
	}
	log := ingesttest.NewLog()
	pump := ingesttest.NewPump(f, log, func(c *ingest.Config) {
		c.Video, c.Privacy = vds.Decoders(vds.Options{}), privacytest.Guard()
		c.Routes = ingest.VideoRoutes()
		c.Linger = time.Millisecond
	})
	h, err := push.New(push.Config{Pump: pump, Lookup: func(string) *devices.Asset { return nil }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body, contentType string, named bool) {
		path := "/vds/push/cam"
		if named {
			path += "/hikvision"
		}
		r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader([]byte(body)))
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		h.Open().ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 && w.Code != 413 && w.Code != 415 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	})
}
