package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/stream/audit"
)

// A Refused is a message that was rejected. Payload is its beginning, of Bytes in all.
type Refused struct {
	Received                      time.Time
	Source, Topic, Reason, Detail string
	Payload                       string
	Bytes                         uint64
}

type refusedQuery struct {
	ID       string `path:"id" maxLength:"128"`
	To       string `query:"to" format:"date-time" doc:"RFC 3339, not included; default now"`
	Limit    int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Payloads bool   `query:"payloads" doc:"also what the messages said, which may be anything: for those who may export and see tracks, and noted in the audit log"`
}

type refusedItem struct {
	Received live.Stamp `json:"received"`
	Reason   string     `json:"reason"`
	Bytes    uint64     `json:"bytes" doc:"length of the message"`
	// What devices wrote is told to those who may export it.
	Source  string  `json:"source,omitempty" doc:"as topic and detail for those only who may export"`
	Topic   string  `json:"topic,omitempty"`
	Detail  string  `json:"detail,omitempty" doc:"what was wrong with it"`
	Payload *string `json:"payload,omitempty" doc:"the first 4096 bytes; what is no UTF-8 of it is replaced by �"`
}

type refusedBody struct {
	Body struct {
		Device  string        `json:"device"`
		From    live.Stamp    `json:"from" doc:"nothing older was looked for"`
		Refused []refusedItem `json:"refused"`
	}
}

// refused are messages of a device that were rejected: those whose topic names it, or its DevEUI.
func (a *api) refused() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/devices/{id}/refused", Summary: "Messages of a device that were rejected, and why", Tags: []string{historyTag}, Errors: []int{404, 422, 501, 503},
		Description: "Newest first, of a day at most: those whose topic names the device, or its LoRaWAN EUI, by the routes of the settings. Of cameras, whose messages are about people, for those only who may see tracks."},
		func(c *call, in *refusedQuery) (*refusedBody, error) {
			if a.System == nil {
				return nil, missing("what was rejected")
			}
			if !c.seesDevice(in.ID) {
				return nil, noSuch("device", in.ID)
			}
			p := auth.Of(c.ctx)
			if in.Payloads && !(p.May(auth.Export) && p.May(auth.TracksRead)) {
				return nil, problem.New(http.StatusForbidden, "payloads need the permissions %s and %s, which role %s has not got", auth.Export, auth.TracksRead, p.Role)
			}
			to, err := instant("to", in.To)
			if err != nil {
				return nil, err
			}
			if to.IsZero() {
				to = time.Now().UTC().Add(time.Second)
			}
			names, d := []string{in.ID}, a.lookup(in.ID)
			if d != nil && d.Camera != nil && !p.May(auth.TracksRead) {
				return nil, problem.New(http.StatusForbidden, "what a camera said needs the permission %s, which role %s has not got", auth.TracksRead, p.Role)
			}
			if d != nil {
				names = inTopics(d)
			}
			if in.Payloads && a.Audit != nil {
				if err := a.Audit.Append(c.ctx, audit.Entry{Actor: actorOf(p), Action: "rejected.read", Object: in.ID, Detail: map[string]string{"role": string(p.Role), "request": problem.Request(c.ctx)}}); err != nil {
					return nil, c.away("audit log", err)
				}
			}
			found, err := a.System.Refused(c.ctx, names, to.Add(-readingsSpan), to, in.Limit)
			if err != nil {
				return nil, c.away("what was rejected", err)
			}
			out := &refusedBody{}
			b := &out.Body
			b.Device, b.From, b.Refused = in.ID, live.Stamp{Time: to.Add(-readingsSpan)}, make([]refusedItem, len(found))
			for i, r := range found {
				it := refusedItem{Received: live.Stamp{Time: r.Received}, Reason: r.Reason, Bytes: r.Bytes}
				if p.May(auth.Export) {
					it.Source, it.Topic, it.Detail = r.Source, clipped(r.Topic), clipped(r.Detail)
				}
				if in.Payloads {
					text := strings.ToValidUTF8(r.Payload, "\uFFFD")
					it.Payload = &text
				}
				b.Refused[i] = it
			}
			return out, nil
		})
}
