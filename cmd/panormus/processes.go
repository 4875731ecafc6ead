package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"time"

	"panormus/controlroom/api"
	"panormus/controlroom/live"
	"panormus/stream/roster"
)

// startRoster tells the city's other processes of this one and hears of them.
func (n *node) startRoster(ctx context.Context) error {
	bucket, err := n.stream.KV(ctx, "processes")
	if err != nil {
		return err
	}
	self := roster.Process{PID: os.Getpid(), Version: version, Started: n.started.UTC()}
	if self.Host, err = os.Hostname(); err != nil {
		self.Host = "unknown"
	}
	for _, r := range roles {
		if n.cfg.has(r) {
			self.Roles = append(self.Roles, r)
		}
	}
	// One data folder is one process, whatever its number after a restart.
	folder, err := filepath.Abs(n.cfg.Data)
	if err != nil {
		return err
	}
	mark := sha256.Sum256([]byte(folder))
	self.ID = self.Host + "-" + hex.EncodeToString(mark[:4])
	if n.cfg.has("rules") {
		self.Share = n.cfg.Rules.Share
		if self.Partitions, _, err = shareOf(self.Share, n.stream.Partitions()); err != nil {
			return err
		}
	}
	n.parts.roster = &roster.Roster{Store: bucket, Log: n.log, Self: func(ctx context.Context) roster.Process {
		p := self
		p.Holds = n.parts.rules != nil && n.parts.rules.Holds()
		p.Lag = map[string]int64{}
		if w := n.parts.writer; w != nil {
			p.Lag["writer"] = lagOr(w.Lag(ctx))
		}
		if w := n.parts.rules; w != nil {
			p.Lag["rules"] = lagOr(w.Lag(ctx))
		}
		return p
	}}
	n.base.again("list of processes", n.parts.roster.Run)
	return nil
}

// processes are those of the city, for the API.
func (n *node) processes() []api.Process {
	now := time.Now()
	var out []api.Process
	for _, p := range n.parts.roster.List(now) {
		out = append(out, api.Process{
			ID: p.ID, Host: p.Host, Version: p.Version, Roles: p.Roles, Started: live.Stamp{Time: p.Started}, Heard: live.Stamp{Time: p.Heard},
			Quiet: now.Sub(p.Heard) > roster.Quiet, Share: p.Share, Partitions: p.Partitions, Holds: p.Holds, Lag: p.Lag,
		})
	}
	return out
}
