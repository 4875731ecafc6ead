package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/simulators/video"
	"panormus/stream/privacy/privacytest"
)

// TestSimulatedCamerasAreRead has the decoders read half an hour of what cameras of every make say,
// and finds what the simulator's books say, camera by camera and kind by kind.
func TestSimulatedCamerasAreRead(t *testing.T) {
	cameras := video.New(video.Config{Seed: 12, Cameras: 40})
	sizes := vdsConfig{Frames: cameras.Frames()}
	decoders, _, err := sizes.decoders()
	if err != nil {
		t.Fatal(err)
	}
	l, r := ingesttest.NewLog(), ingesttest.NewRegistry()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) {
		c.Fingerprints = 1 << 20
		c.Registry, c.Video, c.Privacy, c.Routes = r, decoders, privacytest.Guard(), ingest.VideoRoutes()
	})
	for _, d := range cameras.Devices() {
		if err := r.PutDevice(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
	s := p.Session("test", "cameras", nil, nil)
	evening := time.Date(2025, time.November, 25, 17, 0, 0, 0, time.UTC)
	sent := 0
	err = cameras.Play(evening, evening.Add(25*time.Minute), func(m video.Message) error {
		sent++
		return s.Handle(&ingest.Envelope{Topic: []byte(m.Topic), Payload: m.Payload, Received: evening.Add(time.Hour).UnixMilli(), Token: uint64(sent), PacketID: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]int64{}
	for _, row := range l.Detections() {
		if found[row.Camera] == nil {
			found[row.Camera] = map[string]int64{}
		}
		found[row.Camera][row.What]++
		if row.What == "object" && !(row.BoxLeft >= 0 && row.BoxLeft < row.BoxRight && row.BoxRight <= 1 && row.BoxTop >= 0 && row.BoxTop < row.BoxBottom && row.BoxBottom <= 1) {
			t.Fatalf("%s: an object in no box of the picture: %+v", row.Camera, row)
		}
	}
	reasons := map[string]int64{}
	for _, row := range l.Rejected() {
		reasons[row.Reason]++
	}
	var want struct{ purpose, garbage, repeated int64 }
	for _, b := range cameras.Stats().Books {
		want.purpose += b.NoPurpose
		want.garbage += b.Garbage
		want.repeated += b.Repeated
		if !maps.Equal(found[b.Camera], b.Rows) && len(found[b.Camera])+len(b.Rows) > 0 {
			t.Errorf("%s, %s %s: %v, want %v", b.Camera, b.Format, b.Fault, found[b.Camera], b.Rows)
		}
		delete(found, b.Camera)
	}
	if len(found) > 0 {
		t.Errorf("rows of cameras that nobody knows: %v", slices.Collect(maps.Keys(found)))
	}
	refused := int64(0)
	for _, n := range reasons {
		refused += n
	}
	if reasons["no_purpose"] != want.purpose || refused != want.purpose+want.garbage || want.purpose == 0 || want.garbage == 0 {
		t.Errorf("refused %v; want %d no_purpose and %d garbage", reasons, want.purpose, want.garbage)
	}
	if st := p.Stats(); int64(st.Duplicates) != want.repeated {
		t.Errorf("%d duplicates, want the %d states told again", st.Duplicates, want.repeated)
	}
}

// TestSimulatedCameras runs cameras of every make at a rush hour into a whole Panormus and finds in
// the database what their books say. What they tell of people is nowhere in it, nor in what the
// process says of itself.
func TestSimulatedCameras(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	cameras := video.New(video.Config{Seed: 21, Cameras: 60, Rate: 4, Hour: 18.2})
	c.put(http.MethodPost, "/api/v1/devices", map[string][]devices.Device{"devices": cameras.Devices()})
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	done := make(chan error)
	go func() {
		done <- cameras.Run(ctx, video.Options{Broker: c.info.MQTT, Push: "http://" + c.info.HTTP, Drain: time.Minute})
	}()
	for tick := time.NewTicker(20 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		var garbage, plates, crossed, messages int64
		for _, b := range cameras.Stats().Books {
			garbage, plates, crossed, messages = garbage+b.Garbage, plates+b.Plates, crossed+b.Rows["line_crossed"], messages+b.Messages
		}
		if cameras.Stats().Pushed > 5 && garbage > 2 && plates > 20 && crossed > 20 && messages > 3000 {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	books := cameras.Stats()
	if books.Pushed == 0 || books.Errors != 0 || books.Acked != books.Published {
		t.Errorf("%d pushed, %d published, %d acknowledged, %d errors; want some, all and none", books.Pushed, books.Published, books.Acked, books.Errors)
	}
	c.eventually("the books' rows", func() error {
		out, err := c.sql("SELECT camera, what, count() FROM detections GROUP BY 1, 2 FORMAT TSV")
		if err != nil {
			return err
		}
		found := map[string]map[string]int64{}
		for line := range strings.Lines(out) {
			f := strings.Split(strings.TrimSpace(line), "\t")
			n, err := strconv.ParseInt(f[2], 10, 64)
			if err != nil {
				return err
			}
			if found[f[0]] == nil {
				found[f[0]] = map[string]int64{}
			}
			found[f[0]][f[1]] = n
		}
		for _, b := range books.Books {
			if len(found[b.Camera])+len(b.Rows) > 0 && !maps.Equal(found[b.Camera], b.Rows) {
				return fmt.Errorf("%s, %s %s: %v, want %v", b.Camera, b.Format, b.Fault, found[b.Camera], b.Rows)
			}
		}
		return nil
	})
	c.eventually("the books' refusals", func() error {
		var want int64
		for _, b := range books.Books {
			want += b.NoPurpose + b.Garbage
		}
		got, err := c.sqlInt("SELECT count() FROM rejected WHERE payload = ''")
		if err == nil && got != want {
			err = fmt.Errorf("%d, want %d", got, want)
		}
		return err
	})
	if out, err := c.sql("SELECT count() FROM detections WHERE plate_hash != ''"); err != nil || out == "0" {
		t.Errorf("%s rows have a plate's hash, %v; want some", out, err)
	}
	secrets := append(cameras.Plates(), cameras.Names()...)
	if len(secrets) < 40 {
		t.Fatalf("%d plates and names were sent, want 40", len(secrets))
	}
	all := c.everything()
	if n := strings.Count(all["table detections_log"], "plate_hash"); n < 1000 || !strings.Contains(all["table rejected"], "no_purpose") {
		t.Fatalf("%d rows were searched; want 1000 and refusals", n)
	}
	for where, text := range all {
		text = strings.ToLower(text)
		for _, secret := range secrets {
			if i := strings.Index(text, strings.ToLower(secret)); i >= 0 {
				t.Errorf("%s has %q: …%.120s", where, secret, text[max(i-60, 0):])
				break
			}
		}
	}
}

// everything is what a Panormus stores and says, by where.
func (c *instance) everything() map[string]string {
	c.t.Helper()
	all := map[string]string{"its log": c.out.String()}
	tables, err := c.sql("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine NOT LIKE '%View' FORMAT TSV")
	if err != nil || tables == "" {
		c.t.Fatalf("tables %q, %v", tables, err)
	}
	for table := range strings.Lines(tables) {
		table = strings.TrimSpace(table)
		if all["table "+table], err = c.sql("SELECT * FROM " + table + " LIMIT 200000 FORMAT JSONEachRow"); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, path := range []string{
		"/metrics", "/api/v1/stats", "/api/v1/events?limit=1000", "/api/v1/alarms?limit=1000", "/api/v1/state?limit=1000",
		"/api/v1/export?table=detections&format=jsonl", "/api/v1/export?table=rejected&format=jsonl",
		"/api/v1/export?table=tracks&format=jsonl", "/api/v1/export?table=vds_counts_1m&format=csv", "/api/v1/export?table=events&format=jsonl",
		"/api/v1/cameras?limit=200", "/api/v1/audit", "/status",
	} {
		b, err := c.get(path)
		if err != nil {
			c.t.Fatal(err)
		}
		all[path] = string(b)
	}
	return all
}
