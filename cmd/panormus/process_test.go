package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds waits for what happens at once on an idle machine.
const patience = 2 * time.Minute

var binaries struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
	os.Exit(code)
}

// build makes the binaries under test, once, with the engine's library beside them.
func build(t *testing.T) string {
	t.Helper()
	binaries.once.Do(func() {
		binaries.dir, binaries.err = os.MkdirTemp("", "panormus-bin-")
		if binaries.err != nil {
			return
		}
		root, err := filepath.Abs("../..")
		if err != nil {
			binaries.err = err
			return
		}
		lib := filepath.Join(root, "bin", "libchdb.so")
		if _, err := os.Stat(lib); err != nil {
			binaries.err = fmt.Errorf("the database engine is missing: run make build first (%w)", err)
			return
		}
		if binaries.err = os.Symlink(lib, filepath.Join(binaries.dir, "libchdb.so")); binaries.err != nil {
			return
		}
		for _, name := range []string{"panormus", "chdbd"} {
			cmd := exec.Command("go", "build", "-o", filepath.Join(binaries.dir, name), "./cmd/"+name)
			cmd.Dir = root
			if out, err := cmd.CombinedOutput(); err != nil {
				binaries.err = fmt.Errorf("build %s: %w\n%s", name, err, out)
				return
			}
		}
	})
	if binaries.err != nil {
		t.Fatal(binaries.err)
	}
	return binaries.dir
}

// instance is a panormus process under test.
type instance struct {
	t     *testing.T
	data  string
	args  []string
	ports []string // HTTP, MQTT, LoRaWAN UDP
	cmd   *exec.Cmd
	done  chan error
	out   *tail
	info  runInfo
}

// ports are those that freePort has given out.
var ports sync.Map

// freePort is an address below those that the kernel hands out: while an instance is being restarted
// no connection of another test gets its port, and no other instance.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if _, taken := ports.LoadOrStore(addr, true); taken {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		p, err := net.ListenPacket("udp", addr)
		if errors.Join(l.Close(), err) == nil {
			p.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// tail keeps the last of what a process prints.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (o *tail) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.b = append(o.b, p...)
	if len(o.b) > 1<<20 {
		o.b = o.b[len(o.b)-1<<19:]
	}
	return len(p), nil
}

func (o *tail) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.b)
}

// startInstance starts a panormus on free ports and waits until it is ready. Tests with one of their own
// run beside one another: they wait more than they work.
func startInstance(t *testing.T, args ...string) *instance {
	t.Helper()
	c := &instance{t: t, data: t.TempDir(), args: args}
	c.start()
	t.Cleanup(func() {
		c.end()
		if t.Failed() {
			t.Logf("what panormus said:\n%s", c.out)
		}
	})
	return c
}

func (c *instance) start() {
	c.t.Helper()
	c.launch()
	c.ready()
}

func (c *instance) launch() {
	c.t.Helper()
	os.Remove(filepath.Join(c.data, runFile))
	if c.ports == nil { // a restart keeps its addresses, as devices expect
		for range 3 {
			c.ports = append(c.ports, freePort(c.t))
		}
	}
	args := append([]string{"run", "--data", c.data, "--http", c.ports[0], "--mqtt", c.ports[1], "--lorawan-udp", c.ports[2]}, c.args...)
	c.cmd = exec.Command(filepath.Join(build(c.t), "panormus"), args...)
	if c.out == nil {
		c.out = &tail{}
	}
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.done = make(chan error, 1)
	go func(cmd *exec.Cmd, done chan error) { done <- cmd.Wait() }(c.cmd, c.done)
}

// ready waits for run.json and, where the process answers HTTP, for /status to answer 200.
func (c *instance) ready() {
	c.t.Helper()
	c.eventually("run.json", func() error {
		select {
		case err := <-c.done:
			c.done <- err
			c.t.Fatalf("panormus ended before it was ready: %v\n%s", err, c.out)
		default:
		}
		info, err := readRunInfo(c.data)
		c.info = info
		return err
	})
	if c.info.HTTP == "" {
		return
	}
	c.eventually("ready", func() error {
		_, err := c.get("/status")
		return err
	})
}

// eventually tries until there is no error.
func (c *instance) eventually(what string, try func() error) {
	c.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = try(); err == nil {
			return
		}
	}
	c.t.Fatalf("%s: still %v after %v\n%s", what, err, patience, c.out)
}

// kill ends the process as a crash does, and with it what it started.
func (c *instance) kill() {
	if c.cmd == nil || c.cmd.Process == nil {
		return
	}
	c.cmd.Process.Kill()
	<-c.done
	c.done <- nil
}

// end kills the process and waits until its database has gone too, which may be writing still.
func (c *instance) end() {
	engine, _ := c.enginePID()
	c.kill()
	for end := time.Now().Add(patience); engine != 0 && firstChdbd([]string{strconv.Itoa(engine)}) != 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

// stop ends the process as an operator does and returns how it ended.
func (c *instance) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-c.done
	c.done <- err
	return err
}

func (c *instance) get(path string) ([]byte, error) { return fetch("http://" + c.info.HTTP + path) }

func fetch(url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, b)
	}
	return b, err
}

// sql asks the read-only database as curl does.
func (c *instance) sql(query string) (string, error) {
	b, err := fetch(c.info.ClickHouse + "/?query=" + url.QueryEscape(query))
	return strings.TrimSpace(string(b)), err
}

func (c *instance) sqlInt(query string) (int64, error) {
	s, err := c.sql(query)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// decode gets path and reads its JSON.
func (c *instance) decode(path string, into any) error {
	b, err := c.get(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// session connects and publishes each line that is written, at QoS 1, until hangUp is called.
func (c *instance) session(topic string) (lines io.Writer, hangUp func()) {
	c.t.Helper()
	host, port, _ := strings.Cut(c.info.MQTT, ":")
	cmd := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-t", topic, "-l")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		c.t.Fatalf("mosquitto_pub (make test installs it): %v", err)
	}
	return in, func() {
		cmd.Process.Kill() // at the end of its input it may wait for an answer that it has had
		cmd.Wait()
	}
}

// publish sends one message with the Mosquitto project's client.
func (c *instance) publish(topic, message string, flags ...string) {
	c.t.Helper()
	if err := c.tryPublish(topic, message, flags...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *instance) tryPublish(topic, message string, flags ...string) error {
	host, port, _ := strings.Cut(c.info.MQTT, ":")
	how := "-s" // the message comes on standard input: not every one can be an argument
	if message == "" {
		how = "-n"
	}
	cmd := exec.Command("mosquitto_pub", append([]string{"-h", host, "-p", port, "-q", "1", "-t", topic, how}, flags...)...)
	cmd.Stdin = strings.NewReader(message)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mosquitto_pub (make test installs it): %w\n%s", err, out)
	}
	return nil
}

// enginePID finds the database engine that the process started.
func (c *instance) enginePID() (int, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", c.cmd.Process.Pid, c.cmd.Process.Pid))
	if err == nil {
		if pid := firstChdbd(strings.Fields(string(children))); pid != 0 {
			return pid, nil
		}
	}
	// The kernel lists children by the thread that started them: look at all.
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", c.cmd.Process.Pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		if pid := firstChdbd(strings.Fields(string(b))); pid != 0 {
			return pid, nil
		}
	}
	return 0, fmt.Errorf("process %d has no chdbd", c.cmd.Process.Pid)
}

func firstChdbd(pids []string) int {
	for _, s := range pids {
		name, _ := os.ReadFile("/proc/" + s + "/comm")
		if strings.TrimSpace(string(name)) == "chdbd" {
			pid, _ := strconv.Atoi(s)
			return pid
		}
	}
	return 0
}

// metric is the value of a counter, with its labels, in what /metrics answers.
func (c *instance) metric(name string) (n int64) {
	c.t.Helper()
	text, err := c.get("/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n"+name+" ")
	if _, err := fmt.Sscan(rest, &n); err != nil || !found {
		c.t.Fatalf("no metric %s: %v", name, err)
	}
	return n
}
