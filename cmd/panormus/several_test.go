package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"panormus/simulators/load"
	"panormus/storage/storagetest"
)

// outsideNATS is a server that is nobody's child, with the bounds that it has by default.
type outsideNATS struct {
	t    *testing.T
	dir  string
	port int
	s    *server.Server
}

func (o *outsideNATS) start() {
	o.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: o.port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: o.dir})
	if err != nil {
		o.t.Fatal(err)
	}
	go s.Start()
	if o.s = s; !s.ReadyForConnections(patience) {
		o.t.Fatal("the NATS server does not start")
	}
}

func (o *outsideNATS) stop() {
	o.s.Shutdown()
	o.s.WaitForShutdown()
}

// outsideClickHouse is a database that is nobody's child: where it is read and where it is written.
func outsideClickHouse(t *testing.T) (readers, dsn string) {
	t.Helper()
	s := storagetest.NewServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer from.Close()
				to, err := s.Dial(context.Background())
				if err != nil {
					return
				}
				defer to.Close()
				go func() {
					_, _ = io.Copy(to, from)
					to.Close()
				}()
				_, _ = io.Copy(from, to)
			}()
		}
	}()
	return "http://" + s.Addr(), "http://default@" + l.Addr().String() + "/default"
}

// TestSeveralProcesses spreads the roles over processes that share a NATS server and a database of others, and
// starts them all at once, ends them, and the server, while devices publish: nothing is lost and nothing is there twice, what a process of
// rules leaves another takes over, and who is let in at one control room is let in, and put out, at the other.
func TestSeveralProcesses(t *testing.T) {
	t.Parallel()
	build(t)
	_, port, _ := net.SplitHostPort(freePort(t))
	n, _ := strconv.Atoi(port)
	nats := &outsideNATS{t: t, dir: t.TempDir(), port: n}
	nats.start()
	t.Cleanup(func() { nats.stop() })
	readers, dsn := outsideClickHouse(t)
	config := filepath.Join(t.TempDir(), "panormus.yaml")
	key := filepath.Join(filepath.Dir(config), "master.key")
	for file, text := range map[string]string{
		config: fmt.Sprintf("nats: nats://127.0.0.1:%d\nclickhouse: %s\nprivacy: {key_file: %s}\nstream: {max_bytes: 256MiB, partitions: 4}\n", n, dsn, key),
		key:    strings.Repeat("0a", 32) + "\n",
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	launch := func(role string) *instance {
		c := &instance{t: t, data: t.TempDir(), args: []string{"--config", config, "--role", role}}
		c.launch()
		t.Cleanup(func() {
			c.kill()
			if t.Failed() {
				said := c.out.String()
				t.Logf("what %s said last:\n%s", role, said[max(0, len(said)-4000):])
			}
		})
		return c
	}
	ready := func(c *instance) *instance {
		c.ready()
		c.info.ClickHouse = readers
		return c
	}
	// All at once: whoever comes first makes the tables, and the others wait for them.
	ingest, writer, rooms := launch("ingest"), launch("writer"), []*instance{launch("controlroom"), launch("controlroom")}
	for _, c := range append(rooms, writer, ingest) {
		ready(c)
	}
	room := rooms[0]
	odd := "false" // in every second ten of the counter n, up to most
	const most = 400
	for from := 10; from < most; from += 20 {
		odd += fmt.Sprintf(" || n >= %d && n < %d", from, from+10)
	}
	(person{room, ""}).must(200, "PUT", "/api/v1/rules/tens", `{"id":"tens","title":{"en":"Tens","it":"Decine"},"severity":"info","on":"observations","when":"`+odd+`","text":"{device}: {n}"}`)
	first := ready(launch("rules"))

	const prefix = "device LIKE 'many-%'"
	ctx, enough := context.WithTimeout(t.Context(), patience)
	defer enough()
	var ended atomic.Bool // all that is to be
	loaded := make(chan error, 1)
	var report load.Report
	go func() {
		var err error
		report, err = load.Run(ctx, load.Options{
			Broker: ingest.info.MQTT, Connections: 4, InFlight: 20, QoS: 1, Rate: 400, Devices: 40, Metrics: 2, Seed: 3, Domain: "lighting", Prefix: "many", Drain: patience,
			Progress: func(load.Progress) {
				if ended.Load() {
					enough()
				}
			},
		})
		loaded <- err
	}()
	more := func(what, table string) {
		t.Helper()
		query := "SELECT count() FROM " + table + " WHERE " + prefix
		before, err := room.sqlInt(query)
		if err != nil {
			t.Fatal(err)
		}
		room.eventually(what, func() error {
			now, err := room.sqlInt(query)
			if err == nil && now <= before {
				err = fmt.Errorf("still %d", now)
			}
			return err
		})
	}
	more("events", "events")
	ready(launch("rules")) // the second, which waits
	nats.stop()
	nats.start()
	more("events after NATS was away", "events")
	first.kill()
	ingest.kill()
	ingest.launch()
	ready(ingest)
	more("readings after ingest was killed", "observations")
	writer.kill()
	writer.launch()
	ready(writer)
	more("readings after the writer was killed", "observations")
	letIn(t, rooms)
	ended.Store(true)
	if err := <-loaded; err != nil {
		t.Fatalf("load: %v", err)
	}
	t.Log(report)
	if report.Unacked != 0 || report.Acked != report.Sent {
		t.Errorf("%v: want all acknowledged in the end", report)
	}
	for what, want := range map[string]string{
		"every reading stored once":         fmt.Sprintf("SELECT count() = %[1]d AND uniqExact(device, metric, value, time) = %[1]d FROM observations WHERE %[2]s", 2*report.Acked, prefix),
		"every message stored once":         fmt.Sprintf("SELECT count() = %[1]d AND uniqExact(device, value) = %[1]d FROM observations WHERE metric = 'n' AND %[2]s", report.Acked, prefix),
		"every reading in the rollups once": fmt.Sprintf("SELECT sum(count) = %d FROM observations_1m WHERE %s", 2*report.Acked, prefix),
		"every event once":                  "SELECT count() = uniqExact(id) FROM events WHERE rule = 'tens' AND " + prefix,
		"every episode raised and cleared":  tensCameTo(most, prefix),
	} {
		room.eventually(what, func() error {
			got, err := room.sql(want)
			if err == nil && got != "1" {
				rows, _ := room.sql("SELECT count() FROM observations WHERE " + prefix)
				events, _ := room.sql("SELECT count(), uniqExact(id) FROM events WHERE " + prefix)
				err = fmt.Errorf("%s: %s; %s rows and %s events of %d messages", want, got, rows, events, report.Acked)
			}
			return err
		})
	}
}

// tensCameTo asks whether what was said of each device is what its counter went through. A message that was sent again by
// a device whose ingest was killed may be late, and what it changes is told as corrections: an episode is what its newest
// event says.
func tensCameTo(most int, prefix string) string {
	return fmt.Sprintf(`WITH
		said AS (SELECT device, argMax(state, (nth, state = 'cleared')) AS last, argMax(never, nth) AS gone FROM (
			SELECT device, state, JSONExtractString(context, 'episode') AS episode, JSONExtractUInt(context, 'correction') AS nth, JSONExtractBool(context, 'withdrawn') AS never
			FROM events WHERE rule = 'tens' AND %[1]s) GROUP BY device, episode),
		came AS (SELECT device, sum(if(gone, 0, if(last = 'cleared', 2, 1))) AS n FROM said GROUP BY device),
		went AS (SELECT device, toUInt64(floor(least(max(value), %[2]d) / 10)) AS n FROM observations WHERE metric = 'n' AND %[1]s GROUP BY device)
		SELECT count() > 0 AND countIf(went.n != came.n) = 0 FROM went LEFT JOIN came ON went.device = came.device`, prefix, most)
}

// letIn makes a user and a token at one control room, who are let in at the other one, and puts them out there.
func letIn(t *testing.T, rooms []*instance) {
	t.Helper()
	here, there := rooms[0], rooms[1]
	// A control room that has not heard of the bucket since NATS was away answers 503.
	here.eventually("make a user", func() error {
		if status, body := (person{here, ""}).ask("PUT", "/api/v1/users/"+rosalia, `{"role":"admin","password":"`+password+`"}`); status != 200 {
			return fmt.Errorf("%d %v", status, body)
		}
		return nil
	})
	at := func(c *instance) browser { return (&fortress{instance: c}).at("127.0.0.1") }
	session := at(here).mustLogin(rosalia, password)
	status := func(c *instance, want int, header ...string) {
		t.Helper()
		c.eventually(fmt.Sprintf("answer %d", want), func() error {
			if r := at(c).ask("GET", "/api/v1/devices?limit=1", nil, header...); r.StatusCode != want {
				return fmt.Errorf("%d %.200s", r.StatusCode, r.body)
			}
			return nil
		})
	}
	status(there, 401)
	status(there, 200, "Cookie", session)
	req, err := http.NewRequest(http.MethodPut, "http://"+here.info.HTTP+"/api/v1/tokens/grafana", strings.NewReader(`{"role":"admin"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", session)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.Token == "" {
		t.Fatalf("a token: %s, %v", resp.Status, err)
	}
	token := made.Token
	status(there, 200, "Authorization", "Bearer "+token)
	(person{there, token}).must(204, "DELETE", "/api/v1/tokens/grafana", "")
	status(here, 401, "Authorization", "Bearer "+token)
	if r := at(there).ask("POST", "/logout", map[string][]string{}, "Cookie", session, "Sec-Fetch-Site", "same-origin"); r.StatusCode != 303 {
		t.Errorf("logout: %d %.200s", r.StatusCode, r.body)
	}
	status(here, 401, "Cookie", session)
}
