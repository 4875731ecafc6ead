package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"panormus/stream/privacy"
)

// A privacySide is what guards people's data: the policies of purposes, the keys of plates.
type privacySide struct {
	purposes *privacy.Purposes
	keys     *privacy.Keyring
	guard    *privacy.Guard
}

// masterKeyFile is where the master key is, and whether it may be made there.
func masterKeyFile(cfg config, data string) (file string, ours bool) {
	if cfg.Privacy.KeyFile != "" {
		return cfg.Privacy.KeyFile, false
	}
	return filepath.Join(data, "keys", "master.key"), true
}

// openPrivacy reads the master key, the purposes and the keys of plates.
func (n *node) openPrivacy(ctx context.Context, base *stage) error {
	file, ours := masterKeyFile(n.cfg, n.data.path)
	read := privacy.LoadMaster
	if ours {
		read = privacy.MakeMaster
	}
	master, err := read(file)
	if err != nil {
		return err
	}
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
	n.privacy.keys = privacy.NewKeyring(master, safe, n.privacy.purposes.Retention, n.log)
	kept := make(chan struct{})
	base.again("keys of plates", func(ctx context.Context) error { return n.privacy.keys.Run(ctx, onceClosed(kept)) })
	n.privacy.guard = privacy.New(n.privacy.keys, n.privacy.purposes)
	return n.await(ctx, kept)
}

// least is the least number of objects that a statistic of a purpose may tell of.
func (p *privacySide) least(purpose string) int {
	if policy, ok := p.purposes.Policy(purpose); ok {
		return policy.K
	}
	return privacy.DefaultK
}

// keepTracks is how long tracks of a camera may be kept, and those with a plate's hash; false where the
// registry has no ground for keeping any.
func (n *node) keepTracks(camera string) (tracks, plates time.Duration, ok bool) {
	a := n.registry.Lookup(camera)
	if a == nil {
		return 0, 0, false
	}
	grant, err := n.privacy.guard.Admit(a.Camera)
	if err != nil {
		return 0, 0, false
	}
	tracks, plates = grant.Tracks()
	return tracks, plates, true
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
