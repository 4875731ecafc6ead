package embedded

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Config says where the database is and what it may take.
type Config struct {
	// Dir is the data directory, made if it is missing.
	Dir string
	// Binary is the chdbd to run. Empty: $PANORMUS_CHDBD, or chdbd beside the running executable.
	Binary string
	// Library is the libchdb.so that it loads. Empty: $PANORMUS_LIBCHDB, or the one beside Binary.
	Library string
	// Addr is the loopback address for readers; port 0, the default, picks a free one.
	Addr string
	// Memory bounds what all statements and merges use together, in bytes; 0 for chdbd's default.
	Memory int64
	// ReadTime bounds a statement of a reader; 0 for chdbd's default.
	ReadTime time.Duration
	// MaxPause bounds the growing pauses before a child that ended is started again; default 30 s.
	MaxPause time.Duration

	Log *slog.Logger
}

// Pauses before the child is started again.
const (
	firstPause      = 100 * time.Millisecond
	defaultMaxPause = 30 * time.Second
	// calm is how long a child must have lived for the pauses to start anew.
	calm = time.Minute
	// stopTime is what a child gets to stop by itself.
	stopTime = 6 * time.Second
	// healthEvery and healthBound: a child that does not answer for the bound is replaced.
	healthEvery = 5 * time.Second
	healthBound = time.Minute
)

// ErrNotRunning is what Dial answers while there is no child to talk to.
var ErrNotRunning = errors.New("the embedded database is not running")

// A Server supervises one child. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	binary   string
	listener *net.TCPListener
	addr     string

	mu      sync.Mutex
	first   func(context.Context, Dialer) error // see First
	ready   chan struct{}                       // closed while a child answers
	up      bool
	pid     int
	version string
	starts  int
	lastErr error
}

// New finds the program and binds Addr. It starts nothing: call Run.
func New(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.MaxPause <= 0 {
		cfg.MaxPause = defaultMaxPause
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded database: %w", err)
	}
	cfg.Dir = dir
	binary, err := findBinary(cfg.Binary)
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveTCPAddr("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("embedded database: address %q: %w", cfg.Addr, err)
	}
	if !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("embedded database: address %s, want a loopback one: readers there are asked for no password", cfg.Addr)
	}
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("embedded database: %w", err)
	}
	return &Server{cfg: cfg, binary: binary, listener: l, addr: l.Addr().String(), ready: make(chan struct{})}, nil
}

func findBinary(path string) (string, error) {
	if path == "" {
		path = os.Getenv("PANORMUS_CHDBD")
	}
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("find chdbd: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "chdbd")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find chdbd: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find chdbd: %w; `make build` makes it, $PANORMUS_CHDBD names another place", err)
	}
	return path, nil
}

// Addr is the address for readers, host:port.
func (s *Server) Addr() string { return s.addr }

// Dir is the data directory.
func (s *Server) Dir() string { return s.cfg.Dir }

// PID is the child's process id, 0 while there is none.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Version is the engine's, "" before the first child answered.
func (s *Server) Version() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// Ready blocks until a child answers. It fails when ctx ends, saying why the last child ended.
func (s *Server) Ready(ctx context.Context) error {
	s.mu.Lock()
	ready := s.ready
	s.mu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		return errors.Join(fmt.Errorf("wait for the embedded database: %w", ctx.Err()), s.lastErr)
	}
}

// A Dialer connects to the database.
type Dialer func(context.Context) (net.Conn, error)

// First has fn called with each child that starts from now on, before Dial or Ready tell of it. What fn returns
// is logged, and the child used all the same.
func (s *Server) First(fn func(context.Context, Dialer) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = fn
}

func (s *Server) doFirst(ctx context.Context) {
	s.mu.Lock()
	fn := s.first
	s.mu.Unlock()
	if fn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, healthBound)
	defer cancel()
	if err := fn(ctx, func(ctx context.Context) (net.Conn, error) { return dialSocket(ctx, s.cfg.Dir) }); err != nil {
		s.cfg.Log.Warn("what was to be done first in the embedded database failed", "error", err)
	}
}

// Dial connects to the private socket.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	s.mu.Lock()
	up := s.up
	s.mu.Unlock()
	if !up {
		return nil, ErrNotRunning
	}
	return dialSocket(ctx, s.cfg.Dir)
}

func dialSocket(ctx context.Context, dir string) (net.Conn, error) {
	name := filepath.Join(dir, "engine.sock")
	if len(name) > 100 { // longer than a socket's name may be: go by an open directory
		d, err := os.Open(dir)
		if err != nil {
			return nil, fmt.Errorf("connect to the embedded database: %w", err)
		}
		defer d.Close()
		name = fmt.Sprintf("/proc/self/fd/%d/engine.sock", d.Fd())
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", name)
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded database: %w", err)
	}
	return c, nil
}

// Run keeps a child running until ctx ends, then stops it. It returns early only when the child
// cannot be started at all. It must be called once.
func (s *Server) Run(ctx context.Context) error {
	defer s.listener.Close()
	pause := firstPause
	for {
		began := time.Now()
		err := s.runChild(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > calm {
			pause = firstPause
		}
		s.mu.Lock()
		s.lastErr = err
		s.mu.Unlock()
		wait := pause/2 + rand.N(pause)
		s.cfg.Log.Error("the embedded database ended; starting it again", "error", err, "pause", wait.Round(time.Millisecond))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		pause = min(2*pause, s.cfg.MaxPause)
	}
}

func (s *Server) runChild(ctx context.Context) error {
	reading, err := s.listener.File()
	if err != nil {
		return fmt.Errorf("hand over %s: %w", s.addr, err)
	}
	defer reading.Close()
	args := []string{"--dir", s.cfg.Dir, "--http-fd", "3", "--with-parent"}
	if s.cfg.Library != "" {
		args = append(args, "--lib", s.cfg.Library)
	}
	if s.cfg.Memory > 0 {
		args = append(args, "--memory", strconv.FormatInt(s.cfg.Memory, 10))
	}
	if s.cfg.ReadTime > 0 {
		args = append(args, "--read-time", s.cfg.ReadTime.String())
	}
	cmd := exec.Command(s.binary, args...)
	cmd.ExtraFiles = []*os.File{reading}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's ^C is for the parent, which stops the child
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	tail := &lastLines{log: s.cfg.Log}
	cmd.Stderr = tail
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	s.setPID(cmd.Process.Pid)
	s.stepBack(cmd.Process.Pid)

	said := make(chan readyLine, 1)
	var out sync.WaitGroup
	out.Go(func() {
		var line readyLine
		r := bufio.NewReader(stdout)
		if text, err := r.ReadBytes('\n'); err == nil && json.Unmarshal(text, &line) == nil {
			said <- line
		}
		io.Copy(io.Discard, r)
	})
	exited := make(chan error, 1)
	go func() {
		out.Wait()
		exited <- cmd.Wait()
	}()

	err = s.watch(ctx, said, exited)
	s.setDown()
	stdin.Close() // asks it to stop
	if err == nil || !errors.Is(err, errExited) {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(stopTime):
			s.cfg.Log.Warn("the embedded database does not stop; killing it", "after", stopTime)
			cmd.Process.Kill()
			<-exited
		}
	}
	s.setPID(0)
	if err != nil && tail.last() != "" {
		err = fmt.Errorf("%w: %s", err, tail.last())
	}
	return err
}

// stepBack has the child step back behind this process. Where that cannot be had it goes on as it is.
func (s *Server) stepBack(pid int) {
	if err := lower(pid); err != nil {
		s.cfg.Log.Warn("the embedded database runs at the priority of this process", "error", err)
	}
}

type readyLine struct{ Socket, Version string }

var errExited = errors.New("chdbd exited")

// watch returns nil when ctx ends, errExited when the child did, and another error for a child
// that should be replaced.
func (s *Server) watch(ctx context.Context, said <-chan readyLine, exited <-chan error) error {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dialSocket(ctx, s.cfg.Dir) },
	}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	health := make(chan error, 1)
	asking := false
	began := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-exited:
			return fmt.Errorf("%w: %v", errExited, err)
		case line := <-said:
			s.stepBack(s.PID()) // once more: a thread may have been on its way the first time
			s.doFirst(ctx)
			s.setUp(line.Version)
			s.cfg.Log.Info("the embedded database is ready", "version", line.Version, "readers", s.addr, "took", time.Since(began).Round(time.Millisecond))
		case <-tick.C:
			if !s.isUp() {
				if time.Since(began) > 5*healthBound { // it may have to load many parts first
					return fmt.Errorf("chdbd is not ready after %v", 5*healthBound)
				}
				continue
			}
			if !asking {
				asking = true
				go func() { health <- ping(ctx, client) }()
			}
		case err := <-health:
			asking = false
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("chdbd does not answer: %w", err)
			}
		}
	}
}

func ping(ctx context.Context, client *http.Client) error {
	ctx, cancel := context.WithTimeout(ctx, healthBound)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/ping", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(res.Status)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second): // busy, perhaps
		}
	}
}

func (s *Server) isUp() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

func (s *Server) setPID(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pid = pid
	if pid != 0 {
		s.starts++
	}
}

func (s *Server) setUp(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up {
		s.up, s.version, s.lastErr = true, version, nil
		close(s.ready)
	}
}

func (s *Server) setDown() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up {
		s.up = false
		s.ready = make(chan struct{})
	}
}

// Starts is how many children were started so far.
func (s *Server) Starts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.starts
}

// lastLines passes on what the child complains of and remembers the last line as the reason.
type lastLines struct {
	log  *slog.Logger
	mu   sync.Mutex
	part []byte
	line string
	told int
}

// maxTold bounds how many lines of one child are logged: a crash prints thousands.
const maxTold = 50

func (l *lastLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range p {
		if c != '\n' {
			if len(l.part) < 2000 {
				l.part = append(l.part, c)
			}
			continue
		}
		if len(l.part) > 0 && l.told < maxTold {
			l.line = string(l.part)
			l.told++
			l.log.Warn("embedded database", "message", l.line)
		}
		l.part = l.part[:0]
	}
	return len(p), nil
}

func (l *lastLines) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.line
}
