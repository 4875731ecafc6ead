package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
	"panormus/stream/audit"
	streamlog "panormus/stream/log"
)

// A userDesk is where local users are kept: the API of a process that runs, or the data folder of one
// that is stopped.
type userDesk interface {
	list(ctx context.Context) ([]userLine, error)
	put(ctx context.Context, name string, u userLine) (userLine, error)
	close()
}

// userLine is a user as the API has it.
type userLine struct {
	Name     string      `json:"name,omitempty"`
	Role     auth.Role   `json:"role"`
	Scope    *auth.Scope `json:"scope,omitempty"`
	Expires  *time.Time  `json:"expires,omitempty"`
	Disabled bool        `json:"disabled"`
	Password string      `json:"password,omitempty"`
	TOTP     *bool       `json:"totp,omitempty"`
	TOTPURL  string      `json:"totp_url,omitempty"`
}

// usersCommand enters and changes local users.
func usersCommand(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("panormus users", flag.ContinueOnError)
	fs.SetOutput(out)
	at := apiAt(fs, "./data", "data folder, of a running process or of one that is stopped")
	file := fs.String("config", "", "settings file, for a process that is stopped (default "+defaultConfigFile+", if there is one)")
	second := fs.Bool("totp", false, "add, passwd: make a second factor")
	given := fs.Bool("password-stdin", false, "add, passwd: read the password from standard input rather than making one")
	if len(args) == 0 {
		return fmt.Errorf("want users add, list, passwd, disable or enable: %w", errUsage)
	}
	verb := args[0]
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	words := fs.Args()
	if !slices.Contains([]string{"add", "list", "passwd", "disable", "enable"}, verb) { // before a data folder is made for it
		return fmt.Errorf("users %s, want add, list, passwd, disable or enable: %w", verb, errUsage)
	}
	if verb != "list" && len(words) == 0 {
		return fmt.Errorf("want users %s [--totp] NAME: %w", verb, errUsage)
	}
	desk, err := openUsers(ctx, at, *file)
	if err != nil {
		return err
	}
	defer desk.close()
	all, err := desk.list(ctx)
	if err != nil {
		return err
	}
	if verb == "list" {
		return printUsers(out, all)
	}
	var u userLine
	for _, x := range all {
		if x.Name == words[0] {
			u = x
		}
	}
	u.TOTP = nil // as it is
	switch {
	case verb == "add" && u.Name != "":
		return fmt.Errorf("user %s is there already", words[0])
	case verb != "add" && u.Name == "":
		return fmt.Errorf("no user %s", words[0])
	case verb == "add":
		g, err := auth.ParseGrant(words[1:])
		if err != nil {
			return fmt.Errorf("users add %s: %w: %w", words[0], err, errUsage)
		}
		u.Role, u.Scope = g.Role, g.Scope
		if !g.Expires.IsZero() {
			u.Expires = &g.Expires
		}
	case verb == "disable" || verb == "enable":
		u.Disabled = verb == "disable"
	}
	made := ""
	if verb == "add" || verb == "passwd" {
		if *given {
			if u.Password, err = bufio.NewReader(os.Stdin).ReadString('\n'); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			u.Password = strings.TrimRight(u.Password, "\r\n")
		} else {
			made = auth.Secret()[:24]
			u.Password = made
		}
		if *second {
			u.TOTP = second
		}
	}
	u.Name = ""
	now, err := desk.put(ctx, words[0], u)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "User %s: role %s%s\n", words[0], u.Role, map[bool]string{true: ", disabled"}[u.Disabled])
	if made != "" {
		fmt.Fprintf(out, "The password, shown once:\n  %s\n", made)
	}
	if now.TOTPURL != "" {
		fmt.Fprintf(out, "The second factor, for an authenticator, shown once:\n  %s\n", now.TOTPURL)
	}
	return nil
}

func printUsers(out io.Writer, all []userLine) error {
	for _, u := range all {
		line := fmt.Sprintf("%-20s %s", u.Name, u.Role)
		if u.Scope != nil {
			for _, a := range u.Scope.Areas {
				line += " " + a.String()
			}
		}
		if u.Expires != nil {
			line += " until " + u.Expires.Format(time.RFC3339)
		}
		if u.TOTP != nil && *u.TOTP {
			line += " with a second factor"
		}
		if u.Disabled {
			line += " disabled"
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func openUsers(ctx context.Context, at *apiFlags, file string) (userDesk, error) {
	info, err := readRunInfo(at.data)
	if at.url != "" || err == nil && alive(info.PID) {
		c, err := at.client()
		return liveUsers{c}, err
	}
	return openStoppedUsers(ctx, at.data, file)
}

// liveUsers are those of a running process.
type liveUsers struct{ c apiClient }

func (l liveUsers) close() {}

func (l liveUsers) list(ctx context.Context) ([]userLine, error) {
	var all []userLine
	type page struct {
		Users []userLine
		Next  string
	}
	err := pages(ctx, l.c, "users", func(p *page) (string, error) {
		all = append(all, p.Users...)
		return p.Next, nil
	})
	return all, err
}

func (l liveUsers) put(ctx context.Context, name string, u userLine) (userLine, error) {
	b, err := json.Marshal(u)
	if err != nil {
		return u, err
	}
	answer, err := l.c.do(ctx, http.MethodPut, "/api/v1/users/"+url.PathEscape(name), "application/json", bytes.NewReader(b))
	if err != nil {
		return u, err
	}
	return u, json.Unmarshal(answer, &u)
}

// stoppedUsers are those of a data folder that no process uses.
type stoppedUsers struct {
	held    *dataDir
	log     *streamlog.Log
	book    *accounts.Book
	journal *audit.Journal
	stop    context.CancelFunc
	done    chan error
}

func openStoppedUsers(ctx context.Context, data, file string) (_ userDesk, err error) {
	cfg := defaults()
	if err := readConfigFile(&cfg, file, os.LookupEnv); err != nil {
		return nil, err
	}
	if cfg.NATS != "embedded" {
		return nil, fmt.Errorf("the log is at %s: name a running process with --url", cfg.NATS)
	}
	s := &stoppedUsers{done: make(chan error, 1)}
	if s.held, err = openDataDir(data); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.log, err = streamlog.Open(ctx, streamlog.Config{
		Dir: s.held.join("log"), Partitions: cfg.Stream.Partitions, MaxBytes: int64(cfg.Stream.MaxBytes), MaxAge: cfg.Stream.MaxAge,
		VideoMaxAge: cfg.Stream.VideoAge, Sync: time.Duration(cfg.Stream.Sync), MinFree: int64(cfg.Stream.MinFree), Replicas: cfg.Stream.Replicas, Log: slog.New(slog.DiscardHandler),
	}); err != nil {
		return nil, err
	}
	if s.journal, err = openJournal(ctx, s.log, cfg, s.held.path, slog.New(slog.DiscardHandler)); err != nil {
		return nil, err
	}
	held, err := s.log.KV(ctx, accountsBucket)
	if err != nil {
		return nil, err
	}
	sessions, err := s.log.KV(ctx, sessionsBucket)
	if err != nil {
		return nil, err
	}
	master, err := readMaster(cfg, s.held.path)
	if err != nil {
		return nil, err
	}
	s.book = accounts.New(accounts.Config{Accounts: held, Sessions: sessions, Seal: master})
	running, cancel := context.WithCancel(ctx)
	s.stop = cancel
	known := make(chan struct{})
	go func() { s.done <- s.book.Run(running, onceClosed(known)) }()
	select {
	case <-known:
		return s, nil
	case err := <-s.done:
		s.done <- err
		return nil, err
	}
}

func (s *stoppedUsers) close() {
	if s.stop != nil {
		s.stop()
		<-s.done
	}
	if s.log != nil {
		s.log.Close()
	}
	s.held.close()
}

func (s *stoppedUsers) list(context.Context) ([]userLine, error) {
	var all []userLine
	for _, u := range s.book.Users() {
		second := u.TOTP != ""
		line := userLine{Name: u.Name, Role: u.Role, Scope: u.Scope, Disabled: u.Disabled, TOTP: &second}
		if !u.Expires.IsZero() {
			line.Expires = &u.Expires
		}
		all = append(all, line)
	}
	return all, nil
}

func (s *stoppedUsers) put(ctx context.Context, name string, u userLine) (userLine, error) {
	if err := s.journal.Append(ctx, audit.Entry{Actor: "local", Action: "user.put", Object: "user/" + name, Detail: map[string]string{"role": string(u.Role)}}); err != nil {
		return u, err
	}
	g := auth.Grant{Role: u.Role, Scope: u.Scope}
	if u.Expires != nil {
		g.Expires = *u.Expires
	}
	var err error
	u.TOTPURL, err = s.book.PutUser(ctx, name, accounts.Change{Grant: g, Password: u.Password, Disabled: u.Disabled, TOTP: u.TOTP})
	return u, err
}
