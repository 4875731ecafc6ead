package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"panormus/cmd/panormus/qr"
	"panormus/controlroom/claims"
)

// claimsBucket is the bucket of the codes by which devices are let in.
const claimsBucket = "claims"

// openClaims opens the book of claims and the desk where they are redeemed.
func (n *node) openClaims(ctx context.Context) (*claims.Desk, error) {
	bucket, err := n.stream.KV(ctx, claimsBucket)
	if err != nil {
		return nil, err
	}
	book := claims.New(bucket, n.registry, n.log)
	known := make(chan struct{})
	n.base.again("claims", func(ctx context.Context) error { return book.Run(ctx, onceClosed(known)) })
	if err := n.await(ctx, known); err != nil {
		return nil, err
	}
	return &claims.Desk{Book: book, Broker: n.brokerSeenFrom, Journal: n.privacy.journal, Log: n.log}, nil
}

// brokerSeenFrom is where devices connect that are told so by who asked for host: where the settings say, or the
// embedded broker at the same host.
func (n *node) brokerSeenFrom(host string) *claims.Endpoint {
	secure := n.cfg.Broker.TLS.Cert != ""
	at := n.cfg.Broker.Public
	if at == "" {
		_, port, err := net.SplitHostPort(n.info.MQTT)
		if err != nil {
			return nil
		}
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		at = net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	host, port, err := net.SplitHostPort(at)
	number, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil {
		return nil
	}
	return &claims.Endpoint{Host: host, Port: number, TLS: secure}
}

// madeClaim is a claim as the API shows it.
type madeClaim struct {
	ID, State, Domain, Profile, Zone, Device, By, Code, Path string
	Expires                                                  time.Time
}

// claimsCommand makes, lists and removes codes by which devices are let in.
func claimsCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] != "make" && args[0] != "list" && args[0] != "remove" {
		return fmt.Errorf("want devices claims make, list, or remove ID…: %w", errUsage)
	}
	fs := flag.NewFlagSet("panormus devices claims "+args[0], flag.ContinueOnError)
	fs.SetOutput(out)
	at := runningAPI(fs)
	count := fs.Int("count", 1, "make: how many")
	domain := fs.String("domain", "", "make: domain of the devices")
	profile := fs.String("profile", "", "make: their profile")
	zone := fs.String("zone", "", "make: their zone; empty: by their place")
	device := fs.String("device", "", "make: for this device alone, which gets another secret if it is registered")
	note := fs.String("note", "", "make: what it is about")
	expires := fs.Duration("expires", claims.DefaultExpiry, "make: how long the codes are good")
	page := fs.String("page", "", "make: address of the page in the QR codes, https://host; empty: that of the API")
	folder := fs.String("o", "", "make: folder for labels as SVG; empty: print the QR codes")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	c, err := at.client()
	if err != nil {
		return err
	}
	switch args[0] {
	case "list":
		return listClaims(ctx, c, out)
	case "remove":
		if fs.NArg() == 0 {
			return fmt.Errorf("remove which? name an id: %w", errUsage)
		}
		for _, id := range fs.Args() {
			if _, err := c.do(ctx, http.MethodDelete, "/api/v1/claims/"+url.PathEscape(id), "", nil); err != nil {
				return err
			}
		}
		return nil
	}
	body, err := json.Marshal(map[string]any{
		"count": *count, "domain": *domain, "profile": *profile, "zone": *zone, "device": *device, "note": *note,
		"expires": time.Now().Add(*expires).UTC().Format(time.RFC3339),
	})
	if err != nil {
		return err
	}
	answer, err := c.do(ctx, http.MethodPost, "/api/v1/claims", "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	var made struct{ Claims []madeClaim }
	if err := json.Unmarshal(answer, &made); err != nil {
		return fmt.Errorf("read the claims: %w", err)
	}
	return showClaims(made.Claims, strings.TrimSuffix(cmp.Or(*page, c.base), "/"), *folder, out)
}

func showClaims(made []madeClaim, page, folder string, out io.Writer) error {
	if folder != "" {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	for _, m := range made {
		code, err := qr.New(page + m.Path)
		if err != nil {
			return err
		}
		if folder == "" {
			fmt.Fprintf(out, "%s\n%s  %s%s\n\n", code.Text(), m.Code, page, m.Path)
			continue
		}
		file := filepath.Join(folder, m.ID+".svg")
		if err := os.WriteFile(file, []byte(code.SVG(m.Code)), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s  %s\n", m.Code, file)
	}
	_, err := fmt.Fprintf(out, "%d codes; they are shown once.\n", len(made))
	return err
}

func listClaims(ctx context.Context, c apiClient, out io.Writer) error {
	type page struct {
		Claims []madeClaim
		Next   string
	}
	return pages(ctx, c, "claims", func(p *page) (string, error) {
		for _, m := range p.Claims {
			if _, err := fmt.Fprintf(out, "%s  %-7s  %-16s  until %s  %s\n", m.ID, m.State, strings.TrimSuffix(m.Domain+"/"+m.Profile, "/"), m.Expires.Format(time.DateOnly), m.Device); err != nil {
				return "", err
			}
		}
		return p.Next, nil
	})
}
