package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"panormus/controlroom/api"
	"panormus/ingest"
)

// ingestCommand takes rejected messages in again, through the API of the running process.
func ingestCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "replay-rejected" {
		return fmt.Errorf("want ingest replay-rejected: %w", errUsage)
	}
	fs := flag.NewFlagSet("panormus ingest replay-rejected", flag.ContinueOnError)
	fs.SetOutput(out)
	at := runningAPI(fs)
	since := fs.Duration("since", 0, "only what was received in this time before now; 0 for all")
	reasons := fs.String("reasons", "", "only these reasons, a comma list")
	topic := fs.String("topic", "", "only topics that match this MQTT filter")
	dry := fs.Bool("dry-run", false, "decode, and store nothing")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	c, err := at.client()
	if err != nil {
		return err
	}
	q := map[string]any{"topic": *topic, "dry_run": *dry}
	if *since > 0 {
		q["from"] = time.Now().Add(-*since).UTC().Format(time.RFC3339)
	}
	if *reasons != "" {
		q["reasons"] = strings.Split(*reasons, ",")
	}
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	answer, err := c.do(ctx, http.MethodPost, "/api/v1/rejected/replay", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	var r api.Replayed
	if err := json.Unmarshal(answer, &r); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d read, %d decoded, %d stored before, %d kept only in part\n", r.Read, r.Decoded, r.Duplicates, r.Skipped)
	for reason, n := range r.Rejected {
		if n > 0 {
			fmt.Fprintf(out, "%d rejected again: %s\n", n, reason)
		}
	}
	return nil
}

// replayRejected is what the API asks of the pump.
func (n *node) replayRejected(ctx context.Context, q api.ReplayQuery) (api.Replayed, error) {
	in := ingest.Replay{Since: q.From, Until: q.To, Topic: q.Topic, DryRun: q.DryRun}
	for _, r := range q.Reasons {
		in.Reasons = append(in.Reasons, ingest.Reason(r))
	}
	got, err := ingest.ReplayRejected(ctx, n.parts.pump, n.stream, in)
	out := api.Replayed{
		Read: int64(got.Read), Decoded: int64(got.Decoded), Duplicates: int64(got.Duplicates), Skipped: int64(got.Skipped),
		Rejected: map[string]int64{},
	}
	for reason, n := range got.Rejected {
		out.Rejected[string(reason)] = int64(n)
	}
	return out, err
}
