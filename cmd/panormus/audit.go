package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"panormus/stream/audit"
	streamlog "panormus/stream/log"
)

// auditCommand checks the chain of the audit log: that of a running process through its API, so that
// whoever checks need not trust it with the checking; else that of the data folder.
func auditCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "verify" {
		return fmt.Errorf("want audit verify: %w", errUsage)
	}
	fs := flag.NewFlagSet("panormus audit verify", flag.ContinueOnError)
	fs.SetOutput(out)
	at := apiAt(fs, "./data", "data folder, of a running process or of one that is stopped")
	noted := fs.String("head", "", "a head that was noted before: it must be in the chain")
	anchor := fs.String("anchor", "", "anchor of the log (default audit.anchor of --data, if there is one)")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if *anchor == "" {
		*anchor = filepath.Join(at.data, anchorFile)
	} else if _, err := os.Stat(*anchor); err != nil {
		return fmt.Errorf("--anchor: %w", err)
	}
	v := &audit.Verifier{Noted: *noted}
	var err error
	if v.Anchor, err = audit.ReadAnchor(*anchor); err != nil {
		return err
	}
	info, err := readRunInfo(at.data)
	if at.url != "" || err == nil && alive(info.PID) {
		c, err := at.client()
		if err != nil {
			return err
		}
		return verdict(out, v, verifyLive(ctx, c, v))
	}
	return verdict(out, v, verifyStopped(ctx, at.data, v))
}

// verdict says what was found.
func verdict(out io.Writer, v *audit.Verifier, err error) error {
	if _, ok := errors.AsType[*audit.Broken](err); ok {
		return fmt.Errorf("the audit log is broken: %w; %d entries before it are whole, up to %s", err, v.Count(), v.Head())
	}
	if err != nil {
		return err
	}
	if v.Anchor.Seq == 0 {
		fmt.Fprintln(out, "No anchor was there to compare it with: that its end was not cut off, a head noted elsewhere shows.")
	}
	_, err = fmt.Fprintf(out, "The audit log is whole: %d entries.\nHead, to be noted elsewhere and given as --head next time:\n  %s\n", v.Count(), v.Head())
	return err
}

// verifyLive reads all pages of a running process.
func verifyLive(ctx context.Context, c apiClient, v *audit.Verifier) error {
	type page struct {
		Entries []audit.Entry
		Head    struct{ Seq uint64 }
		Next    string
	}
	return pages(ctx, c, "audit", func(p *page) (string, error) {
		for _, e := range p.Entries {
			if err := v.Add(e); err != nil {
				return "", err
			}
		}
		if p.Next == "" {
			return "", v.End(p.Head.Seq)
		}
		return p.Next, nil
	})
}

// verifyStopped reads the log of a data folder that no process uses.
func verifyStopped(ctx context.Context, data string, v *audit.Verifier) error {
	dir := filepath.Join(data, "log")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no log in %s: name the data folder with --data, or with the log elsewhere a running process with --url", data)
	}
	held, err := openDataDir(data)
	if err != nil {
		return err
	}
	defer held.close()
	ledger, end, err := streamlog.OpenLedger(ctx, dir, auditLog)
	if err != nil {
		return err
	}
	defer end()
	return audit.Verify(ctx, ledger, v)
}
