package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"panormus/stream/alarms"
	"panormus/stream/batch"
	"panormus/stream/notify"
	"panormus/stream/notify/cap"
)

type notifyConfig struct {
	notify.Settings `yaml:",inline"`
	CAP             capConfig `yaml:"cap"`
}

type capConfig struct {
	Sender string `yaml:"sender"` // who warns, such as panormus.comune.example; default panormus
	Name   string `yaml:"name"`   // of who warns, for people
	Status string `yaml:"status"` // Actual, Exercise, System, Test or Draft; default Actual, of a simulated city Test
}

func (c capConfig) check() error {
	if strings.ContainsAny(c.Sender, " ,<&\t\n") || len(c.Sender) > 128 {
		return fmt.Errorf("notify.cap.sender: %.100q, want at most 128 bytes without blanks, comma, < and &", c.Sender)
	}
	if c.Status != "" && !slices.Contains(cap.Statuses, c.Status) {
		return fmt.Errorf("notify.cap.status: %.20q, want one of %s", c.Status, strings.Join(cap.Statuses, ", "))
	}
	return nil
}

// issuer is who gives the CAP feed.
func (n *node) issuer() cap.Issuer {
	c := n.cfg.Notify.CAP
	i := cap.Issuer{Sender: cmp.Or(c.Sender, "panormus"), Name: cmp.Or(c.Name, "Panormus"), Status: cmp.Or(c.Status, "Actual")}
	if n.cfg.Simulate != "none" && c.Status == "" {
		i.Status = "Test" // a simulated flood warns nobody
	}
	return i
}

// cancelFor is how long the CAP feed tells that an alarm is over.
const cancelFor = 24 * time.Hour

// warnings are the alarms that stand and are not put away, and those that were so and ended lately, for the
// CAP feed, with what the rules and the registry know of them.
func (n *node) warnings() []cap.Alarm {
	known, _, _ := n.parts.alarms.List(alarms.Query{States: []alarms.State{alarms.Unacked, alarms.Acked, alarms.Returned, alarms.Normal}})
	set := n.parts.store.Set()
	now := time.Now()
	var out []cap.Alarm
	for _, a := range known {
		// What ended while it was put away was acknowledged by nobody: it is in no feed.
		if !a.Active && (a.Cleared.IsZero() || now.Sub(a.Cleared) > cancelFor || a.State() == alarms.Normal && a.AckedBy == "") {
			continue
		}
		w := cap.Alarm{ID: a.ID, Rule: a.Rule, Severity: a.Severity, Raised: a.Raised, Domain: a.Domain, Device: a.Device, Zone: a.Zone, Text: a.Text}
		switch {
		case !a.Active:
			w.Cleared = a.Cleared
		case a.Count > 1 || a.Last.Action != "raised":
			w.Changed = a.Changed
		}
		if r := set.Rule(a.Rule); r != nil {
			w.Titles = r.Title
		}
		if d := n.registry.Lookup(a.Device); d != nil {
			w.Lat, w.Lon, w.Place = d.Lat, d.Lon, d.Name
		}
		out = append(out, w)
	}
	return out
}

// silenced are the alarms that nobody is to be told of: those that operators put away.
type silenced struct{ book *alarms.Book }

// Suppressed implements notify.Suppressor.
func (s silenced) Suppressed(e batch.Event) bool {
	a, ok := s.book.Get(alarms.ID(e.Rule, e.Key))
	if !ok {
		return false
	}
	state := a.State()
	return state == alarms.Shelved || state == alarms.Suppressed || state == alarms.OutOfService
}

// escalations are the alarms that nobody acknowledged in time.
type escalations struct {
	book   *alarms.Book
	worker *alarms.Worker
}

// Escalated implements notify.Escalations. The time is that of the raise: events of the rule that come later end it.
func (e escalations) Escalated(seq uint64) ([]batch.Event, bool) {
	if e.worker.Applied() < seq {
		return nil, false
	}
	var out []batch.Event
	for _, a := range e.book.Escalated() {
		out = append(out, batch.Event{
			ID: fmt.Sprintf("%s.%d.%s", a.ID, a.Raised.UnixMilli(), a.Severity), Rule: a.Rule, Severity: a.Severity, State: "updated", Time: a.Raised,
			Domain: a.Domain, Device: a.Device, Zone: a.Zone, Key: a.Key, Text: a.Text,
		})
	}
	return out, true
}

// startNotify reads the routes of notices and the dead letters and, where alarms are made, starts a queue for each
// receiver.
func (n *node) startNotify(ctx context.Context) error {
	routes, err := n.stream.KV(ctx, "notify_routes")
	if err != nil {
		return err
	}
	n.parts.tagged = append(n.parts.tagged, routes)
	dead, err := n.stream.KV(ctx, "notify_dead")
	if err != nil {
		return err
	}
	var outlets *notify.Outlets
	var graver notify.Escalations
	if n.cfg.leads() {
		if outlets, err = n.outlets(ctx); err != nil {
			return err
		}
		graver = escalations{n.parts.alarms, n.parts.alarmsWorker}
	}
	n.parts.notify, err = notify.New(notify.Config{
		Settings: n.cfg.Notify.Settings, Outlets: outlets, RouteBucket: routes, DeadBucket: dead, Suppressor: silenced{n.parts.alarms}, Escalations: graver, Logger: n.log, Metrics: n.reg,
	})
	if err != nil {
		return err
	}
	known, listed := make(chan struct{}), make(chan struct{})
	n.base.again("routes of notices", func(ctx context.Context) error { return n.parts.notify.Run(ctx, onceClosed(known)) })
	n.base.again("dead letters of notices", func(ctx context.Context) error { return n.parts.notify.Dead.Run(ctx, onceClosed(listed)) })
	for _, ready := range []<-chan struct{}{known, listed} {
		if err := n.await(ctx, ready); err != nil {
			return err
		}
	}
	if outlets != nil {
		n.reads.again("notices", func(ctx context.Context) error { return n.parts.notify.Serve(ctx, n.reads.repeat) })
	}
	n.base.again("settings of notices", func(ctx context.Context) error {
		return followNotify(ctx, n.cfg.file, settingsLook, n.parts.notify, n.log)
	})
	return nil
}

func (n *node) outlets(ctx context.Context) (*notify.Outlets, error) {
	states, err := n.stream.Objects(ctx, "notify")
	if err != nil {
		return nil, err
	}
	notes, err := n.stream.KV(ctx, "notify_sent")
	if err != nil {
		return nil, err
	}
	out := &notify.Outlets{Log: n.stream, States: states, Notes: notes}
	if b := n.parts.broker; b != nil {
		out.Broker = &notify.Broker{Dial: b.Dial, Username: n.parts.noticesUser, Password: n.parts.noticesSecret}
	}
	if n.cfg.NATS != "embedded" { // else no other process has the log
		if out.Leases, err = n.stream.KV(ctx, "notify_leases"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// settingsLook is how often the settings file is looked at. It counts when it was the same twice: an editor
// may be half through.
const settingsLook = 2 * time.Second

// followNotify puts the receivers and routes of the settings file in force whenever it changes. A file that
// cannot be used is told of and changes nothing.
func followNotify(ctx context.Context, file string, every time.Duration, desk *notify.Desk, log *slog.Logger) error {
	var inForce, last []byte // the first look finds again what was read at the start, or newer
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		b, err := os.ReadFile(file)
		if err != nil { // one that is away, or about to be replaced, says nothing new
			continue
		}
		same := bytes.Equal(b, last)
		if last = b; !same || inForce != nil && bytes.Equal(b, inForce) {
			continue
		}
		inForce = b
		c := defaults()
		if err := parseConfig(&c, file, b); err != nil {
			log.Error("the settings file has changed and cannot be used; notices go on as they did", "error", err)
			continue
		}
		if err := desk.Apply(c.Notify.Settings); err != nil {
			log.Error("the settings of notices have changed and cannot be used; notices go on as they did", "file", file, "error", err)
			continue
		}
		log.Info("receivers and routes of notices are read again", "file", file, "receivers", len(c.Notify.Receivers))
	}
}
