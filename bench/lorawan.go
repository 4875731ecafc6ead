package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"panormus/devices"
	"panormus/simulators/lorawan"
)

// radio sends encrypted LoRaWAN frames over the packet forwarder's UDP protocol: each is checked,
// decrypted, merged with its copies, decoded by its profile's layout and stored.
func radio(ctx context.Context, quick bool, w io.Writer) error {
	data, err := os.MkdirTemp("", "panormus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	s, _, err := startSystem(ctx, data)
	if err != nil {
		return err
	}
	defer s.stop()
	const seed, nodes = 1, 10_000
	profile := lorawan.LoadProfile()
	if err := s.send(ctx, http.MethodPut, "/api/v1/profiles/"+profile.ID, profile); err != nil {
		return err
	}
	all := lorawan.LoadDevices(seed, nodes)
	if err := s.send(ctx, http.MethodPost, "/api/v1/devices", map[string][]devices.Device{"devices": all}); err != nil {
		return err
	}
	duration := 30 * time.Second
	if quick {
		duration = 8 * time.Second
	}
	before := s.usage()
	report, err := lorawan.Load(ctx, lorawan.LoadOptions{UDP: s.info.LoRaWANUDP, Seed: seed, Nodes: nodes, Duration: duration})
	if err != nil {
		return err
	}
	var stored float64
	for end := time.Now().Add(2 * time.Minute); ; {
		if stored, err = s.sqlFloat("SELECT count() FROM (SELECT DISTINCT dev_eui, f_cnt FROM uplinks)"); err != nil {
			return err
		}
		if int64(stored) >= report.Acked {
			break
		}
		if time.Now().After(end) {
			return errors.New("the uplinks acknowledged are not all stored after 2 minutes")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
	after := s.usage()
	fmt.Fprintf(w, "\n## LoRaWAN over UDP\n%d nodes, 100 gateways, 8 frames a datagram, %.0f s, as fast as acknowledged: check, decrypt, layout codec, log, ClickHouse.\n\n"+
		"| figure | reached | wanted |\n|---|---|---|\n| uplinks acknowledged a second | %.0f | 150,000 |\n| stored of %d acknowledged | %.0f | all |\n",
		nodes, report.Elapsed, report.AckedRate, report.Acked, stored)
	fmt.Fprintf(w, "\nCPU, us an uplink: generator %.2f", report.CPUPerUplink)
	for name, u := range after {
		fmt.Fprintf(w, ", %s %.2f", name, float64((u.cpu-before[name].cpu).Microseconds())/float64(report.Acked))
	}
	fmt.Fprintln(w, ".")
	return nil
}

// send asks the API to take v.
func (s *system) send(ctx context.Context, method, path string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.info.HTTP+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		answer, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return nil
}
