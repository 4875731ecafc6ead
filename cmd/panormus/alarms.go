package main

import (
	"context"
	"fmt"
	"time"

	"panormus/stream/alarms"
)

// alarmsConfig is how alarms behave; what is not said has the defaults of alarms.Config.
type alarmsConfig struct {
	From      string             `yaml:"from"` // least severity that needs an operator
	ShelveMax time.Duration      `yaml:"shelve_max"`
	Escalate  []escalationConfig `yaml:"escalate"`
	Chatter   chatterConfig      `yaml:"chatter"`
	Flood     floodConfig        `yaml:"flood"`
	Operators int                `yaml:"operators"` // who share the alarms
	Stale     time.Duration      `yaml:"stale"`
	Keep      time.Duration      `yaml:"keep"` // how long a normal alarm is remembered
	Inhibit   []inhibitConfig    `yaml:"inhibit"`
	FirstOut  []firstOutConfig   `yaml:"first_out"`
	OffDelay  []offDelayConfig   `yaml:"off_delay"`
}

type escalationConfig struct {
	Severity string        `yaml:"severity"`
	After    time.Duration `yaml:"after"`
	To       string        `yaml:"to"`
}

type chatterConfig struct {
	Raises int           `yaml:"raises"`
	Within time.Duration `yaml:"within"`
}

type floodConfig struct {
	Begin  int           `yaml:"begin"`
	End    int           `yaml:"end"`
	Within time.Duration `yaml:"within"`
}

type inhibitConfig struct {
	By     string `yaml:"by"` // a rule
	Domain string `yaml:"domain"`
}

type firstOutConfig struct {
	By     string        `yaml:"by"` // zone, device or parent
	Domain string        `yaml:"domain"`
	Within time.Duration `yaml:"within"`
}

type offDelayConfig struct {
	Rule   string        `yaml:"rule"` // or domain
	Domain string        `yaml:"domain"`
	After  time.Duration `yaml:"after"`
}

func (c *alarmsConfig) settings() alarms.Config {
	out := alarms.Config{
		From: c.From, ShelveMax: c.ShelveMax, Chatter: alarms.Chatter(c.Chatter), Flood: alarms.Flood(c.Flood), Operators: c.Operators, Stale: c.Stale, Keep: c.Keep,
	}
	if c.Escalate != nil {
		out.Escalate = []alarms.Escalation{} // an empty list says that none does
	}
	for _, e := range c.Escalate {
		out.Escalate = append(out.Escalate, alarms.Escalation{Severity: e.Severity, To: e.To, After: e.After})
	}
	for _, i := range c.Inhibit {
		out.Inhibit = append(out.Inhibit, alarms.Inhibition(i))
	}
	for _, f := range c.FirstOut {
		out.FirstOut = append(out.FirstOut, alarms.FirstOut(f))
	}
	for _, o := range c.OffDelay {
		out.OffDelay = append(out.OffDelay, alarms.OffDelay(o))
	}
	return out
}

func (c *alarmsConfig) check() error {
	if err := c.settings().Check(); err != nil {
		return fmt.Errorf("alarms.%w", err)
	}
	return nil
}

// startAlarms opens the book of alarms and, in the role rules, starts what makes them of events. It
// returns once the book is whole.
func (n *node) startAlarms(ctx context.Context) error {
	bucket, err := n.stream.KV(ctx, alarms.BucketName)
	if err != nil {
		return err
	}
	desk, err := n.stream.KV(ctx, alarms.DeskName)
	if err != nil {
		return err
	}
	n.parts.tagged = append(n.parts.tagged, desk)
	book := alarms.NewBook(n.cfg.Alarms.settings(), bucket, desk, n.log)
	n.parts.alarms = book
	whole := make(chan struct{})
	n.base.again("book of alarms", func(ctx context.Context) error { return book.Run(ctx, onceClosed(whole)) })
	if err := n.await(ctx, whole); err != nil {
		return err
	}
	if n.cfg.leads() {
		n.parts.alarmsWorker = alarms.NewWorker(alarms.WorkerConfig{Log: n.stream, Book: book, Parent: n.parentOf, Logger: n.log, Metrics: n.reg})
		n.reads.again("alarms", n.parts.alarmsWorker.Run)
	}
	return nil
}

// parentTag is the tag of a device that names another one on which it hangs: a lamp's cabinet, say.
const parentTag = "parent"

// parentOf is the device on which another hangs, "" for none, and for one that hangs on itself.
func (n *node) parentOf(device string) string {
	parent := n.tagOf(device)
	for at, depth := parent, 0; at != ""; at, depth = n.tagOf(at), depth+1 {
		if at == device || depth > 16 {
			return ""
		}
	}
	return parent
}

func (n *node) tagOf(device string) string {
	if a := n.registry.Lookup(device); a != nil {
		return a.Tags[parentTag]
	}
	return ""
}
