package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// A ReplayQuery says which rejected messages to take in again: received in From <= time < To, for
// one of Reasons, on a topic that matches the MQTT filter Topic. Zero fields select all.
type ReplayQuery struct {
	From, To time.Time
	Reasons  []string
	Topic    string
	DryRun   bool // decode, and store nothing
}

// Replayed is what came of a replay, in messages.
type Replayed struct {
	Read       int64            `json:"read" doc:"selected"`
	Decoded    int64            `json:"decoded" doc:"stored now; in a dry run, that could be"`
	Duplicates int64            `json:"duplicates" doc:"stored before"`
	Skipped    int64            `json:"skipped" doc:"kept only in part"`
	Rejected   map[string]int64 `json:"rejected" doc:"again, by reason"`
}

// Replay takes rejected messages in again; nil where this process takes nothing in.
type Replay func(ctx context.Context, q ReplayQuery) (Replayed, error)

type replayInput struct {
	Body struct {
		From    string   `json:"from,omitempty" format:"date-time"`
		To      string   `json:"to,omitempty" format:"date-time"`
		Reasons []string `json:"reasons,omitempty" maxItems:"32"`
		Topic   string   `json:"topic,omitempty" maxLength:"1024" doc:"an MQTT topic filter"`
		DryRun  bool     `json:"dry_run,omitempty"`
	}
}

type replayBody struct{ Body Replayed }

func (a *api) replay() {
	register(a, huma.Operation{
		Method: http.MethodPost, Path: "/api/v1/rejected/replay", Summary: "Take rejected messages in again",
		Description: "After a mend of what made them be rejected. Doing it twice stores nothing twice.",
		Tags:        []string{"ingest"}, Errors: []int{400, 422, 501, 503},
	}, func(c *call, in *replayInput) (*replayBody, error) {
		if a.Replay == nil {
			return nil, missing("replay")
		}
		q := ReplayQuery{Reasons: in.Body.Reasons, Topic: in.Body.Topic, DryRun: in.Body.DryRun}
		var err error
		if q.From, q.To, err = span(in.Body.From, in.Body.To); err != nil {
			return nil, err
		}
		out, err := a.Replay(c.ctx, q)
		if err != nil {
			return nil, c.away("replay", err)
		}
		return &replayBody{out}, nil
	})
}
