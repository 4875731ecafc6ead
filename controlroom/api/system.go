package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
)

// System answers what the system itself holds.
type System interface {
	// Tables returns what each table of the database holds.
	Tables(ctx context.Context) ([]Table, error)
	// DeadLetters returns what was rejected since a time, by reason, the most first; with in, of what those devices
	// sent.
	DeadLetters(ctx context.Context, since time.Time, in *Within) ([]DeadLetters, error)
	// Refused returns what was rejected in from <= received < to of a device that topics name by one of names, newest
	// first, at most limit.
	Refused(ctx context.Context, names []string, from, to time.Time, limit int) ([]Refused, error)
}

// A Table is one of the database's, in bytes on disk.
type Table struct {
	Name  string `json:"name"`
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes" doc:"on disk"`
}

// DeadLetters are messages that were rejected for one reason. Source, Topic and Detail are of the newest.
type DeadLetters struct {
	Reason                string
	Count                 uint64
	Last                  time.Time
	Source, Topic, Detail string
}

// A Process is one of the city's, as it describes itself.
type Process struct {
	ID      string     `json:"id" doc:"the same after a restart"`
	Host    string     `json:"host"`
	Version string     `json:"version"`
	Roles   []string   `json:"roles" doc:"ingest, writer, rules, controlroom"`
	Started live.Stamp `json:"started"`
	Heard   live.Stamp `json:"heard" doc:"when it last said that it is there, by its own clock; each does every 10 s"`
	Quiet   bool       `json:"quiet" doc:"it has said nothing for longer than one that runs does"`
	// What of the rules is its.
	Share      string           `json:"share,omitempty" doc:"part of the rules, as rules.share has it"`
	Partitions []int            `json:"partitions,omitempty" doc:"of the log, that its share has; all where there are none and the share is all"`
	Holds      bool             `json:"holds" doc:"it evaluates its share; another with the same waits for it"`
	Lag        map[string]int64 `json:"lag" doc:"batches that wait, by what reads them; -1 where it could not say"`
}

// deadSpan is how far dead letters are looked back for.
const deadSpan = 24 * time.Hour

type deadItem struct {
	Reason string     `json:"reason"`
	Count  uint64     `json:"count"`
	Last   live.Stamp `json:"last"`
	// The newest one tells what devices wrote, so it is shown to those who may export it.
	Source string `json:"source,omitempty" doc:"of the newest; for those only who may export"`
	Topic  string `json:"topic,omitempty"`
	Detail string `json:"detail,omitempty" doc:"what was wrong with it"`
}

type systemBody struct {
	Body struct {
		Version     string     `json:"version"`
		Started     live.Stamp `json:"started"`
		Processes   []Process  `json:"processes" doc:"of the city; one that stopped with a word is gone, one that was killed stays a day"`
		Tables      []Table    `json:"tables" doc:"none for those who see a part of the city"`
		DeadLetters []deadItem `json:"dead_letters" doc:"of the last 24 hours, the most first; of the part of the city that is seen"`
	}
}

// system is the operation behind the page about the system.
func (a *api) system() {
	started := time.Now().UTC()
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/system", Summary: "What the system holds, and what it could not take", Tags: []string{"ingest"}, Errors: []int{501, 503},
		Description: "Sizes of the database's tables, and what was rejected in the last 24 hours by reason. Whoever sees a part of the city is told of what its devices sent, cameras but for those who may see tracks, and not what the tables hold. Rates, lags and counters are at /metrics and /api/v1/stats."},
		func(c *call, _ *struct{}) (*systemBody, error) {
			if a.System == nil {
				return nil, missing("system")
			}
			scope, tables := c.scope(), []Table{}
			var in *Within
			var err error
			if scope.Whole() {
				if tables, err = a.System.Tables(c.ctx); err != nil {
					return nil, c.away("system", err)
				}
			} else {
				in = c.senders(scope)
			}
			dead, err := a.System.DeadLetters(c.ctx, time.Now().Add(-deadSpan), in)
			if err != nil {
				return nil, c.away("system", err)
			}
			out := &systemBody{}
			b := &out.Body
			b.Version, b.Started.Time, b.Tables, b.DeadLetters = a.Version, started, tables, make([]deadItem, len(dead))
			b.Processes = []Process{}
			if a.Processes != nil {
				b.Processes = append(b.Processes, a.Processes()...)
			}
			samples := auth.Of(c.ctx).May(auth.Export)
			for i, d := range dead {
				b.DeadLetters[i] = deadItem{Reason: d.Reason, Count: d.Count, Last: live.Stamp{Time: d.Last}}
				if samples {
					b.DeadLetters[i].Source, b.DeadLetters[i].Topic, b.DeadLetters[i].Detail = d.Source, clipped(d.Topic), clipped(d.Detail)
				}
			}
			return out, nil
		})
}
