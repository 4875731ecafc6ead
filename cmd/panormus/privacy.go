package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"panormus/storage"
	"panormus/stream/audit"
	streamlog "panormus/stream/log"
	"panormus/stream/privacy"
)

// A privacySide is what guards people's data: the policies of purposes, the keys of plates, the audit
// log and what only goes with it.
type privacySide struct {
	master   *privacy.Master
	purposes *privacy.Purposes
	keys     *privacy.Keyring
	guard    *privacy.Guard
	journal  *audit.Journal
	lists    *privacy.Lists
	reveals  *privacy.Reveals // nil without the control room
}

// auditLog is the name of the audit log's ledger, and anchorFile where its newest entry is noted in the data folder.
const (
	auditLog   = "audit"
	anchorFile = "audit.anchor"
)

// openJournal opens the audit log and its anchor.
func openJournal(ctx context.Context, stream *streamlog.Log, cfg config, data string, log *slog.Logger) (*audit.Journal, error) {
	ledger, err := stream.Ledger(ctx, auditLog)
	if err != nil {
		return nil, err
	}
	j := audit.New(ledger)
	file := cfg.Privacy.Anchor
	if file == "" {
		file = filepath.Join(data, anchorFile)
	}
	j.Anchor, err = audit.OpenAnchor(ctx, file, ledger, log)
	return j, err
}

// noteStart notes that a process began, and with what: other settings, or another file of tokens, are other hashes.
func (n *node) noteStart(ctx context.Context) {
	detail := map[string]string{"version": version, "role": n.cfg.Role, "settings": n.cfg.mark()}
	if n.cfg.Web.Tokens != "" {
		if b, err := os.ReadFile(n.cfg.Web.Tokens); err == nil {
			detail["tokens"] = markOf(b)
		}
	}
	if err := n.privacy.journal.Append(ctx, audit.Entry{Actor: "panormus", Action: "process.started", Object: "process", Detail: detail}); err != nil {
		n.log.Error("the start is not in the audit log", "error", err)
	}
}

// mark tells settings from others. Passwords in them are left out: it is shown to people.
func (c config) mark() string {
	c.Brokers = slices.Clone(c.Brokers)
	for i := range c.Brokers {
		c.Brokers[i].Password = ""
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic("BUG: settings that JSON cannot say: " + err.Error())
	}
	return markOf(b)
}

func markOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// masterKeyFile is where the master key is, and whether it may be made there.
func masterKeyFile(cfg config, data string) (file string, ours bool) {
	if cfg.Privacy.KeyFile != "" {
		return cfg.Privacy.KeyFile, false
	}
	return filepath.Join(data, "keys", "master.key"), true
}

// readMaster reads the master key, and makes it where it may.
func readMaster(cfg config, data string) (*privacy.Master, error) {
	file, ours := masterKeyFile(cfg, data)
	if ours {
		return privacy.MakeMaster(file)
	}
	return privacy.LoadMaster(file)
}

// openPrivacy reads the master key, the purposes and the keys of plates.
func (n *node) openPrivacy(ctx context.Context, base *stage) error {
	var err error
	if n.privacy.master, err = readMaster(n.cfg, n.data.path); err != nil {
		return err
	}
	if n.privacy.journal, err = openJournal(ctx, n.stream, n.cfg, n.data.path, n.log); err != nil {
		return err
	}
	seq, head, err := n.privacy.journal.Head(ctx)
	if err != nil {
		return err
	}
	n.log.Info("audit log", "entries", seq, "head", head) // a head noted elsewhere shows whether its end was cut off
	n.noteStart(ctx)
	bucket, err := n.stream.KV(ctx, "purposes")
	if err != nil {
		return err
	}
	n.privacy.purposes = privacy.NewPurposes(bucket, n.log)
	known := make(chan struct{})
	base.again("purposes", func(ctx context.Context) error { return n.privacy.purposes.Run(ctx, onceClosed(known)) })
	if err := n.await(ctx, known); err != nil {
		return err
	}
	safe, err := n.stream.Secrets(ctx, "keys")
	if err != nil {
		return err
	}
	n.privacy.keys = privacy.NewKeyring(n.privacy.master, safe, n.privacy.purposes.Retention, n.log)
	n.privacy.keys.Journal = n.privacy.journal
	kept := make(chan struct{})
	base.again("keys of plates", func(ctx context.Context) error { return n.privacy.keys.Run(ctx, onceClosed(kept)) })
	n.privacy.guard = privacy.New(n.privacy.keys, n.privacy.purposes)
	if err := n.await(ctx, kept); err != nil {
		return err
	}
	file, _ := masterKeyFile(n.cfg, n.data.path)
	lost, first, why := n.privacy.keys.Unreadable()
	if lost == 0 || n.cfg.Privacy.LostKey {
		return nil
	}
	return fmt.Errorf("the master key in %s does not open %d keys of plates that the log has, the first %s: bring the right file back, "+
		"or set privacy.lost_key to start without what they sealed: %w", file, lost, first, why)
}

// openLists reads the lists of plates that are looked for.
func (n *node) openLists(ctx context.Context, base *stage) error {
	safe, err := n.stream.Secrets(ctx, "plate_lists")
	if err != nil {
		return err
	}
	n.privacy.lists = privacy.NewLists(n.privacy.master, safe, n.privacy.keys, n.privacy.purposes, n.log)
	known := make(chan struct{})
	base.again("lists of plates", func(ctx context.Context) error { return n.privacy.lists.Run(ctx, onceClosed(known)) })
	return n.await(ctx, known)
}

// openReveals reads who asked to see which plate.
func (n *node) openReveals(ctx context.Context, base *stage) error {
	safe, err := n.stream.Secrets(ctx, "reveals")
	if err != nil {
		return err
	}
	n.privacy.reveals = &privacy.Reveals{
		Safe: safe, Plates: plates{n.parts.db}, Keys: n.privacy.keys, Journal: n.privacy.journal, For: n.cfg.Privacy.RevealFor, Log: n.log,
	}
	known := make(chan struct{})
	base.again("reveals of plates", func(ctx context.Context) error { return n.privacy.reveals.Run(ctx, onceClosed(known)) })
	return n.await(ctx, known)
}

// zoneOf is where a device is.
func (n *node) zoneOf(device string) string {
	if a := n.registry.Lookup(device); a != nil {
		return a.Zone
	}
	return ""
}

// plates are the database's sealed plates as reveals ask for them.
type plates struct{ db *storage.DB }

// SealedPlate implements privacy.Plates.
func (p plates) SealedPlate(ctx context.Context, q privacy.PlateQuery) (privacy.SealedPlate, bool, error) {
	found, ok, err := p.db.SealedPlate(ctx, q.Hash, q.Camera, q.Time)
	return privacy.SealedPlate(found), ok, err
}

// least is the least number of objects that a statistic of a purpose may tell of.
func (p *privacySide) least(purpose string) int {
	if policy, ok := p.purposes.Policy(purpose); ok {
		return policy.K
	}
	return privacy.DefaultK
}

// leasts are those of all purposes that have a policy.
func (p *privacySide) leasts() map[string]int {
	all := map[string]int{}
	for _, policy := range p.purposes.All() {
		all[policy.ID] = policy.K
	}
	return all
}

// keepTracks is how long a track of a camera may be kept; false where the registry has no ground for
// keeping any.
func (n *node) keepTracks(camera, class string, plate bool) (time.Duration, bool) {
	a := n.registry.Lookup(camera)
	if a == nil {
		return 0, false
	}
	grant, err := n.privacy.guard.Admit(a.Camera)
	if err != nil {
		return 0, false
	}
	return grant.Tracks(class, plate), true
}

// checkMasterKey is the doctor's look at the master key; it makes none.
func checkMasterKey(cfg config) finding {
	file, ours := masterKeyFile(cfg, cfg.Data)
	m, err := privacy.LoadMaster(file)
	switch {
	case err == nil:
		return finding{what: fmt.Sprintf("master key %s in %s: nobody else can read it", m.ID(), file)}
	case ours && errors.Is(err, fs.ErrNotExist):
		return finding{what: "master key: the first start makes it, in " + file}
	}
	return finding{"privacy", err}
}
