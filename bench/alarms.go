package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"panormus/simulators/load"
)

// alarmRule makes an alarm of every device of the load.
const alarmRule = `{"id":"bench","title":{"en":"Lamp is on"},"domain":"lighting","severity":"warning","on":"observations",
	"when":"power_w > -1","key":"device","text":"{device} is on"}`

// manyAlarms raises 100,000 alarms and asks for them and acts on them over HTTP.
func manyAlarms(ctx context.Context, quick bool, w io.Writer) error {
	n := 100_000
	if quick {
		n = 20_000
	}
	s, stop, err := startFresh(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.ask(ctx, http.MethodPut, "/api/v1/rules/bench", []byte(alarmRule), nil); err != nil {
		return err
	}
	type page struct {
		Alarms []struct{ ID string }
		Total  int
		Next   string
	}
	list := func(query string) (page, error) {
		var p page
		b, err := s.get("/api/v1/alarms" + query)
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		return p, err
	}
	for began := time.Now(); ; {
		if _, err := load.Run(ctx, load.Options{
			Broker: s.info.MQTT, Connections: 20, InFlight: 100, QoS: 1, Rate: 20_000, Duration: time.Duration(n/20_000+1) * time.Second,
			Devices: n, Metrics: 5, Seed: 1, Domain: "lighting", Prefix: "bench",
		}); err != nil {
			return err
		}
		p, err := list("?limit=1")
		if err != nil {
			return err
		}
		if p.Total >= n {
			break
		}
		if time.Since(began) > 3*time.Minute {
			return fmt.Errorf("%d open alarms after 3 minutes, want %d", p.Total, n)
		}
	}
	var ids []string
	next := ""
	for len(ids) < 12_000 {
		p, err := list("?limit=1000&cursor=" + next)
		if err != nil {
			return err
		}
		for _, a := range p.Alarms {
			ids = append(ids, a.ID)
		}
		next = p.Next
	}
	fmt.Fprintf(w, "\n## Alarms\n%d open alarms, asked for and acted on over HTTP; 5 of each, durable in the log when answered.\n\n| request | median | worst | wanted |\n|---|---|---|---|\n", n)
	row := func(name, wanted string, ask func(i int) error) error {
		var took []time.Duration
		for i := range 5 {
			began := time.Now()
			if err := ask(i); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		fmt.Fprintf(w, "| %s | %d ms | %d ms | %s |\n", name, took[2].Milliseconds(), took[4].Milliseconds(), wanted)
		return nil
	}
	act := func(body map[string]any, want int) error {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		var got struct{ Done int }
		if err := s.ask(ctx, http.MethodPost, "/api/v1/alarms/actions", b, &got); err != nil {
			return err
		}
		if got.Done != want {
			return fmt.Errorf("%d done, want %d", got.Done, want)
		}
		return nil
	}
	turn := func(i int) string { return []string{"ack", "unack"}[i%2] }
	for _, r := range []struct {
		name, wanted string
		ask          func(i int) error
	}{
		{"list, 100 of all", "200 ms", func(int) error { _, err := list("?limit=100"); return err }},
		{"list, 1,000 of a severity", "200 ms", func(int) error { _, err := list("?limit=1000&severity=warning"); return err }},
		{"act on 1,000 by id", "200 ms", func(i int) error {
			return act(map[string]any{"action": turn(i), "ids": ids[10_000:11_000]}, 1000)
		}},
		{"act on 10,000 by id", "200 ms", func(i int) error {
			return act(map[string]any{"action": turn(i), "ids": ids[:10_000]}, 10_000)
		}},
		{"act on the 11,000 that a filter matches", "200 ms", func(int) error {
			return act(map[string]any{"action": "comment", "note": "seen", "filter": map[string]any{"state": []string{"acked"}}}, 11_000)
		}},
		{fmt.Sprintf("act on all %d by a filter", n), "200 ms", func(int) error {
			return act(map[string]any{"action": "comment", "note": "seen", "filter": map[string]any{}}, n)
		}},
		{"how the alarm system does", "", func(int) error { _, err := s.get("/api/v1/alarms/health"); return err }},
	} {
		if err := row(r.name, r.wanted, r.ask); err != nil {
			return err
		}
	}
	most, err := s.most()
	if err == nil {
		fmt.Fprintf(w, "\nThe process took %d MB at most, with what raised the alarms: messages of %d devices, 20,000/s. The collector is left half as much room again as is in use.\n", most>>20, n)
	}
	return err
}
