package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Settings of one run.
type options struct {
	dir, lib   string
	http       string
	httpFD     int
	withParent bool
	lockWait   time.Duration
	fence      bool
	limits     limits
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "", "directory of the database; made if it is missing")
	flag.StringVar(&o.lib, "lib", os.Getenv("PANORMUS_LIBCHDB"), "libchdb.so; default: beside this program")
	flag.StringVar(&o.http, "http", "127.0.0.1:0", "loopback address to answer reading statements on; empty for none")
	flag.IntVar(&o.httpFD, "http-fd", -1, "file descriptor that listens already, instead of --http")
	flag.BoolVar(&o.withParent, "with-parent", false, "stop when standard input ends")
	flag.DurationVar(&o.lockWait, "lock-wait", 10*time.Second, "how long to wait for another chdbd to leave the directory")
	flag.BoolVar(&o.fence, "fence", true, "keep the process from files outside its directory and from the network")
	flag.Int64Var(&o.limits.memory, "memory", 900<<20, "bytes all statements and merges may use together")
	flag.IntVar(&o.limits.threads, "threads", min(runtime.NumCPU(), 8), "threads of one statement, and of the background")
	flag.IntVar(&o.limits.statements, "statements", 16, "statements at once; more wait")
	flag.IntVar(&o.limits.readers, "readers", 6, "statements at once on the reading address; more wait")
	flag.DurationVar(&o.limits.readTime, "read-time", time.Minute, "longest a statement on the reading address may take")
	flag.Int64Var(&o.limits.readMemory, "read-memory", 300<<20, "bytes one statement on the reading address may use")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "chdbd:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if o.dir == "" || flag.NArg() > 0 {
		return errors.New("want --dir DIR and no other arguments")
	}
	dir, err := filepath.Abs(o.dir)
	if err != nil {
		return err
	}
	if o.lib == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find libchdb.so: %w", err)
		}
		o.lib = filepath.Join(filepath.Dir(self), "libchdb.so")
	}
	if _, err := os.Stat(o.lib); err != nil {
		return fmt.Errorf("find libchdb.so: %w; `make build` puts it beside chdbd", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if o.fence {
		if err := fence(dir, o.lib); err != nil {
			fmt.Fprintln(os.Stderr, "chdbd: going on without a fence:", err)
		}
	}
	unlock, err := lock(filepath.Join(dir, "chdbd.lock"), o.lockWait)
	if err != nil {
		return err
	}
	defer unlock()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if o.withParent {
		var orphaned context.CancelFunc
		ctx, orphaned = context.WithCancel(ctx)
		go func() {
			io.Copy(io.Discard, os.Stdin)
			orphaned()
		}()
	}
	e, err := openEngine(o.lib, dir, o.limits)
	if err != nil {
		return err
	}
	defer e.close()
	return serve(ctx, e, dir, o)
}

func serve(ctx context.Context, e *engine, dir string, o options) error {
	private, err := listenUnix(dir)
	if err != nil {
		return err
	}
	reading, err := listenTCP(o)
	if err != nil {
		return errors.Join(err, private.Close())
	}
	newServer := func(h http.Handler) *http.Server {
		return &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 10 * time.Minute, MaxHeaderBytes: 1 << 20}
	}
	servers := []*http.Server{newServer(&front{engine: e})}
	failed := make(chan error, 2)
	go func() { failed <- servers[0].Serve(private) }()
	ready := map[string]string{"socket": filepath.Join(dir, socketName), "version": e.version}
	if reading != nil {
		ready["http"] = reading.Addr().String()
		servers = append(servers, newServer(&front{engine: e, readOnly: true}))
		go func() { failed <- servers[1].Serve(reading) }()
	}
	line, _ := json.Marshal(ready)
	fmt.Println(string(line))

	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	// What runs may end; what does not end soon is given up, and its client repeats it.
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	for _, s := range servers {
		if serr := s.Shutdown(sctx); serr != nil {
			s.Close()
		}
	}
	e.cancelAll()
	return err
}

const socketName = "engine.sock"

func listenUnix(dir string) (net.Listener, error) {
	path := filepath.Join(dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // the lock is ours: nobody serves it
	}
	name := path
	if len(name) > 100 { // longer than a socket's name may be: go by an open directory
		d, err := os.Open(dir)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		name = fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName)
	}
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	l, err := net.Listen("unix", name)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

func listenTCP(o options) (net.Listener, error) {
	if o.httpFD >= 0 {
		f := os.NewFile(uintptr(o.httpFD), "http")
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return nil, fmt.Errorf("listen on descriptor %d: %w", o.httpFD, err)
		}
		return l, nil
	}
	if o.http == "" {
		return nil, nil
	}
	a, err := net.ResolveTCPAddr("tcp", o.http)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.http, err)
	}
	if !a.IP.IsLoopback() {
		return nil, fmt.Errorf("listen on %s: want a loopback address, nobody is asked for a password here", o.http)
	}
	l, err := net.ListenTCP("tcp", a)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.http, err)
	}
	return l, nil
}

// lock takes the directory for this process, waiting a while for a predecessor to leave.
func lock(path string, wait time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { f.Close() }, nil
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("lock %s: another chdbd has this directory open: %w", path, err)
		}
	}
}
