package embedded_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"panormus/storage/embedded"
	"panormus/storage/storagetest"
)

// TestMain lets the test binary be a parent that is killed, see TestOrphan.
func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDED_TEST_PARENT"); dir != "" {
		s, _, err := storagetest.Start(dir, nil)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.PID())
		select {}
	}
	os.Exit(m.Run())
}

const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// private asks over the private socket.
func private(t *testing.T, s *embedded.Server, sql string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) }}}
	defer client.CloseIdleConnections()
	res, err := client.Post("http://localhost/", "", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", sql, res.Status, body, err)
	}
	return strings.TrimSpace(string(body))
}

// reader asks at the readers' address.
func reader(t *testing.T, s *embedded.Server, method, sql string, params url.Values, header http.Header) (status int, body string) {
	t.Helper()
	u := url.URL{Scheme: "http", Host: s.Addr(), Path: "/", RawQuery: params.Encode()}
	req, err := http.NewRequestWithContext(within(t), method, u.String(), strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
		if k == "Host" {
			req.Host = v[0]
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestReadersOnlyRead(t *testing.T) {
	s := storagetest.NewServer(t)
	private(t, s, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
	private(t, s, "INSERT INTO t VALUES (1), (2)")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(s.Dir(), "out")

	for _, sql := range []string{
		"INSERT INTO t VALUES (3)", "INSERT INTO t SELECT 3", "CREATE TABLE u (a Int32) ENGINE = Memory", "CREATE TEMPORARY TABLE u (a Int32)",
		"DROP TABLE t", "TRUNCATE TABLE t", "ALTER TABLE t DELETE WHERE 1", "DELETE FROM t WHERE 1", "OPTIMIZE TABLE t", "RENAME TABLE t TO u",
		"SYSTEM FLUSH LOGS", "SYSTEM STOP MERGES", "KILL QUERY WHERE 1", "SET readonly = 0", "SET max_memory_usage = 0", "USE system", "GRANT ALL ON *.* TO default",
		"BACKUP TABLE t TO Memory('b')", "BACKUP TABLE t TO S3('http://127.0.0.1/b/k', 'a', 'b')", "CREATE FUNCTION f AS x -> x", "DETACH TABLE t", "EXCHANGE TABLES t AND t",
		"SELECT * FROM file('" + secret + "', 'LineAsString')", "SELECT file('" + secret + "')", "SELECT `\\x66ile`('" + secret + "')",
		"SELECT arrayMap(file, ['" + secret + "'])", "SELECT * APPLY(file) FROM (SELECT '" + secret + "')", "SELECT * FROM `" + secret + "`",
		"SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')", "SELECT * FROM remote('127.0.0.1', 'system', 'one')", "SELECT * FROM s3('http://127.0.0.1/b/k')",
		"SELECT * FROM executable('sh', 'TSV', 'a String')", "INSERT INTO FUNCTION file('" + out + "', 'TSV', 'a Int8') SELECT 1",
		"SELECT 1 INTO OUTFILE '" + out + "'", "SELECT 1 into/**/outfile '" + out + "'", "SELECT 1; DROP TABLE t", "SELECT 1 SETTINGS max_memory_usage = 0",
		"SELECT 1 SETTINGS readonly = 0", "EXECUTE AS default SELECT 1", "", "exit",
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet} {
			status, body := reader(t, s, method, sql, url.Values{"query": {""}}, nil)
			if status == http.StatusOK || strings.Contains(body, "a secret") {
				t.Errorf("%s %s: %d %s; want it refused", method, sql, status, body)
			}
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a reader wrote a file")
	}
	for _, name := range []string{"max_memory_usage", "max_threads", "insert_deduplicate", "output_format_schema", "format_template_row"} {
		if status, _ := reader(t, s, http.MethodPost, "SELECT 1", url.Values{name: {"0"}}, nil); status == http.StatusOK {
			t.Errorf("setting %s is taken from a reader", name)
		}
	}
	for sql, want := range map[string]string{
		"SELECT count() FROM t": "2\n", "SHOW TABLES": "t\n", "SELECT sum(a) FROM t FORMAT CSVWithNames": "\"sum(a)\"\n3\n",
		"WITH 1 AS x SELECT x": "1\n", "SELECT 'it''s -- not a comment'": "it\\'s -- not a comment\n", "EXISTS TABLE t": "1\n",
	} {
		if status, body := reader(t, s, http.MethodPost, sql, nil, nil); status != http.StatusOK || body != want {
			t.Errorf("%s: %d %q, want %q", sql, status, body, want)
		}
	}
	if status, body := reader(t, s, http.MethodGet, "", url.Values{"query": {"SELECT {x:String}"}, "param_x": {"y"}, "max_execution_time": {"3"}}, nil); status != http.StatusOK || body != "y\n" {
		t.Errorf("with a parameter: %d %q", status, body)
	}
	if got := private(t, s, "SELECT count() FROM t"); got != "2" {
		t.Errorf("%s rows after all that, want 2", got)
	}
}

func TestReadersMustBeLocal(t *testing.T) {
	s := storagetest.NewServer(t)
	_, port, _ := net.SplitHostPort(s.Addr())
	for _, tc := range []struct {
		header http.Header
		want   int
	}{
		{http.Header{}, 200},
		{http.Header{"Host": {"localhost:" + port}}, 200},
		{http.Header{"Host": {"[::1]:" + port}}, 200},
		{http.Header{"Host": {"evil.example:" + port}}, 403}, // its name rebound to this machine
		{http.Header{"Host": {"127.0.0.1.evil.example"}}, 403},
		{http.Header{"Origin": {"https://evil.example"}}, 403},
		{http.Header{"Origin": {"null"}}, 403},
		{http.Header{"Origin": {"http://localhost:3000"}}, 200},
		{http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
	} {
		status, body := reader(t, s, http.MethodPost, "SELECT 1", nil, tc.header)
		if status != tc.want {
			t.Errorf("%v: %d %s, want %d", tc.header, status, body, tc.want)
		}
	}
}

func TestLargeAnswersAndLimits(t *testing.T) {
	s := storagetest.NewServer(t)
	const n = 300_000
	status, body := reader(t, s, http.MethodPost, fmt.Sprintf("SELECT number FROM numbers(%d) FORMAT TSVWithNames", n), nil, nil)
	if lines := strings.Count(body, "\n"); status != http.StatusOK || lines != n+1 || !strings.HasSuffix(body, fmt.Sprintf("\n%d\n", n-1)) {
		t.Errorf("%d, %d lines, want %d", status, lines, n+1)
	}
	// So far in that the engine, which works a few blocks ahead, cannot meet it before the answer has begun.
	if status, body = reader(t, s, http.MethodPost, "SELECT throwIf(number = 4000000) FROM numbers(5000000)", nil, nil); status != http.StatusOK || !strings.Contains(body, "__exception__") {
		t.Errorf("an error in the middle: %d … %s", status, body[max(0, len(body)-100):])
	}
	status, body = reader(t, s, http.MethodPost, "SELECT count() FROM numbers(1e15)", url.Values{"max_execution_time": {"1"}}, nil)
	if status == http.StatusOK || !strings.Contains(body, "TIMEOUT_EXCEEDED") {
		t.Errorf("an endless statement: %d %s", status, body)
	}
	status, body = reader(t, s, http.MethodPost, "SELECT length(groupArray(number)) FROM numbers(1000000000)", nil, nil)
	if status == http.StatusOK || !strings.Contains(body, "MEMORY_LIMIT_EXCEEDED") {
		t.Errorf("a greedy statement: %d %s", status, body)
	}
	// A client that leaves takes its statement with it.
	ctx, cancel := context.WithCancel(within(t))
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.Addr()+"/", strings.NewReader("SELECT count() FROM numbers(1e15)"))
	go http.DefaultClient.Do(req)
	count := func() string {
		return private(t, s, "SELECT count() FROM system.processes WHERE query LIKE '%numbers(1e15)%' AND query NOT LIKE '%processes%'")
	}
	await(t, "the statement runs", func() bool { return count() == "1" })
	cancel()
	await(t, "the statement is gone", func() bool { return count() == "0" })
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for ctx := within(t); !done(); {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestRestartAfterKill(t *testing.T) {
	s := storagetest.NewServer(t)
	addr := s.Addr()
	private(t, s, "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
	for i := range 3 {
		private(t, s, fmt.Sprintf("INSERT INTO t VALUES (%d)", i))
		starts := s.Starts()
		if err := syscall.Kill(s.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, "it is started again", func() bool { return s.Starts() > starts && s.PID() != 0 })
		if err := s.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		if status, body := reader(t, s, http.MethodPost, "SELECT count() FROM t", nil, nil); status != http.StatusOK || body != fmt.Sprintf("%d\n", i+1) {
			t.Errorf("after kill %d: %d %s", i, status, body)
		}
		stepsBack(t, s.PID())
	}
	if s.Addr() != addr {
		t.Errorf("address %s, want %s still", s.Addr(), addr)
	}
}

// stepsBack holds every thread of the database to running after this process.
func stepsBack(t *testing.T, pid int) {
	t.Helper()
	niceness := func(file string) int {
		b, err := os.ReadFile(file)
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if err != nil || len(fields) < 17 {
			return 19 // the thread has ended
		}
		n, err := strconv.Atoi(fields[16])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || runtime.GOOS == "linux" && len(threads) == 0 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	want := min(niceness("/proc/self/stat")+10, 19)
	for _, file := range threads {
		if got := niceness(file); got < want {
			t.Errorf("%s: niceness %d, want %d", file, got, want)
		}
	}
}

// Two processes on one directory are impossible, and the second says why.
func TestOneProcessADirectory(t *testing.T) {
	s := storagetest.NewServer(t)
	binary, err := storagetest.Binary()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(binary, "--dir", s.Dir(), "--http", "", "--lock-wait", "50ms")
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "another chdbd has this directory open") {
		t.Errorf("second chdbd: %v, %s", err, stderr.String())
	}
	private(t, s, "SELECT 1")
}

// A parent that is killed takes the child along, and its successor starts in the same directory,
// whose path is longer than a socket's name may be.
func TestOrphan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), "EMBEDDED_TEST_PARENT="+dir)
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Process.Kill()
	var child int
	if _, err := fmt.Fscan(stdout, &child); err != nil || child == 0 {
		t.Fatalf("the parent's child: %d, %v", child, err)
	}
	parent.Process.Kill()
	parent.Wait()
	s, stop, err := storagetest.Start(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	private(t, s, "SELECT 1")
	await(t, "the orphan is gone", func() bool { return syscall.Kill(child, 0) != nil })
	began := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	t.Logf("stopped after %v", time.Since(began))
}
