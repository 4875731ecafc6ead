package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/simulators/lorawan"
)

// TestSimulatedLoRaWAN sends frames in every way the simulator knows, with all that is wrong with
// them, and finds in the database what its books say, device by device.
func TestSimulatedLoRaWAN(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	radio := lorawan.New(lorawan.Config{Seed: 11, Nodes: 40, Rate: 160})
	api, err := newAPIClient("http://"+c.info.HTTP, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(method, path string, v any) {
		t.Helper()
		b, err := json.Marshal(v)
		if err == nil {
			_, err = api.do(t.Context(), method, path, "application/json", bytes.NewReader(b))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range radio.Profiles() {
		put(http.MethodPut, "/api/v1/profiles/"+p.ID, p)
	}
	put(http.MethodPost, "/api/v1/devices", map[string][]devices.Device{"devices": radio.Devices()})

	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	done := make(chan error)
	go func() {
		done <- radio.Run(ctx, lorawan.Options{UDP: c.info.LoRaWANUDP, Broker: c.info.MQTT, Status: time.Second, Drain: time.Minute})
	}()
	// Nodes restart their counters once in 64 uplinks, so that takes some seconds.
	for tick := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-tick.C {
		if s := radio.Stats(); s.Sent >= 1000 && s.Resets > 0 {
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	books := radio.Stats()
	if books.Errors != 0 || books.Acked != books.Datagrams || books.PublishAcks != books.Published {
		t.Errorf("%+v; want no errors and all acknowledged", books)
	}
	if books.Resets == 0 || books.Refused == 0 || books.Uplinks == 0 {
		t.Errorf("%+v; want some of everything", books.Book)
	}
	count := func(table, device string) map[string]int64 {
		out, err := c.sql("SELECT " + device + ", count() FROM " + table + " GROUP BY 1 FORMAT TSV")
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int64{}
		for line := range strings.Lines(out) {
			name, n, _ := strings.Cut(strings.TrimSpace(line), "\t")
			counts[name], _ = strconv.ParseInt(n, 10, 64)
		}
		return counts
	}
	// A copy that came too late on a busy machine is dropped.
	c.eventually("the books' observations and receptions", func() error {
		observations, receptions := count("observations", "device"), count("uplinks", "device")
		wrong := []string{}
		for _, b := range books.Books {
			if observations[b.Device] != b.Observations || receptions[b.Device] < b.Uplinks || receptions[b.Device] > b.Receptions {
				wrong = append(wrong, fmt.Sprintf("%d observations, %d receptions of %+v", observations[b.Device], receptions[b.Device], b))
			}
		}
		if len(wrong) > 0 {
			return fmt.Errorf("%d devices: %s", len(wrong), strings.Join(wrong[:min(len(wrong), 8)], "\n"))
		}
		return nil
	})
	// Who cannot be read is kept, with the reason, and so is a replay that is not known as one. The
	// dead letter is stored on its own, so it may arrive after the rest.
	c.eventually("the books' refusals", func() error {
		reasons := count("rejected", "reason")
		if got, want := reasons["mic"]+reasons["unknown_dev_addr"]+reasons["frame_counter"], books.Refused+books.Resets; got < want || got > want+books.Replays {
			return fmt.Errorf("rejected %v, %d of them frames; want %d and up to %d replays", reasons, got, want, books.Replays)
		}
		return nil
	})
}
