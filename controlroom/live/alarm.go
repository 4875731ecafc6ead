package live

import (
	"time"

	"panormus/stream/alarms"
)

// An Alarm is an alarms.Record with the names and times of the outside.
type Alarm struct {
	ID           string `json:"id" doc:"the same for every time that the rule is raised for the key"`
	Rule         string `json:"rule"`
	Key          string `json:"key"`
	Severity     string `json:"severity" enum:"info,warning,major,critical" doc:"the rule's, or what it escalated to"`
	State        string `json:"state" enum:"unacked,acked,returned,normal,shelved,suppressed,out_of_service"`
	Raised       Stamp  `json:"raised" doc:"first since it was normal"`
	Cleared      *Stamp `json:"cleared" doc:"null while the condition holds"`
	Count        int    `json:"count" doc:"raises since it was normal"`
	AckedBy      string `json:"acked_by"`
	AckedAt      *Stamp `json:"acked_at"`
	AssignedTo   string `json:"assigned_to"`
	ShelvedUntil *Stamp `json:"shelved_until"`
	ShelvedBy    string `json:"shelved_by"`
	Note         string `json:"note" doc:"the newest"`
	Rev          uint64 `json:"rev" doc:"changes with every change; name it in an action to be told when the alarm is not as you saw it"`
	Domain       string `json:"domain"`
	Device       string `json:"device"`
	Zone         string `json:"zone"`
	Text         string `json:"text"`
	Active       bool   `json:"active" doc:"the rule's condition holds"`
	Since        Stamp  `json:"since" doc:"of the state"`
	Changed      Stamp  `json:"changed"`
	Escalated    bool   `json:"escalated" doc:"nobody acknowledged it in time"`
	Chattering   bool   `json:"chattering" doc:"raised too often lately"`
	HeldBy       string `json:"held_by" doc:"what suppresses it or took it out of service"`
	BaseSeverity string `json:"base_severity" doc:"the rule's"`
	LastAction   string `json:"last_action"`
	LastBy       string `json:"last_by" doc:"who did it; empty for the system"`
	Group        string `json:"group" doc:"what it has in common with the alarms of its incident, such as zone kalsa; empty where alarms.first_out does not group it"`
	FirstOut     string `json:"first_out" doc:"id of the alarm of the group that came first, its own where it did"`
	Event        string `json:"event" doc:"id of the newest event"`
}

// AlarmOf is r as the outside sees it.
func AlarmOf(r alarms.Record) Alarm {
	return Alarm{
		ID: r.ID, Rule: r.Rule, Key: r.Key, Severity: r.Severity, State: string(r.State()), Raised: Stamp{r.Raised}, Cleared: stampOrNil(r.Cleared),
		Count: r.Count, AckedBy: r.AckedBy, AckedAt: stampOrNil(r.AckedAt), AssignedTo: r.AssignedTo, ShelvedUntil: stampOrNil(r.ShelvedUntil),
		ShelvedBy: r.ShelvedBy, Note: r.Note, Rev: r.Rev, Domain: r.Domain, Device: r.Device, Zone: r.Zone, Text: r.Text, Active: r.Active,
		Since: Stamp{r.Since}, Changed: Stamp{r.Changed}, Escalated: r.Escalated, Chattering: r.Chattering, HeldBy: r.Hold.Why,
		BaseSeverity: r.Base, LastAction: r.Last.Action, LastBy: r.Last.By, Group: r.Group, FirstOut: r.FirstOut, Event: r.Event,
	}
}

func stampOrNil(t time.Time) *Stamp {
	if t.IsZero() {
		return nil
	}
	return &Stamp{t}
}
