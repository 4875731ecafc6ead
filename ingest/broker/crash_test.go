package broker

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/stream/batch"
	"panormus/stream/log"
)

const crashDir = "PANORMUS_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve is the process that is killed: a broker over the real log in dir. It writes its address and
// ends when its input does.
func serve(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l, err := log.Open(ctx, log.Config{Dir: dir, Sync: time.Second})
	if err != nil {
		return err
	}
	defer l.Close()
	p, err := ingest.New(ingest.Config{Log: l, Registry: ingesttest.NewRegistry(), Decoders: ingesttest.Decoders(), Fingerprints: 1 << 16})
	if err != nil {
		return err
	}
	older, err := p.Remember(ctx, l)
	if err != nil {
		return err
	}
	go older(ctx)
	b, err := New(Config{Pump: p, Addr: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println(b.Addr())
	return ingest.Run(ctx, p, b)
}

// child is a running serve.
type child struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), crashDir+"="+dir)
	c.cmd.Stderr = os.Stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if c.addr, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal("the child did not start: ", err)
	}
	c.addr = strings.TrimSpace(c.addr)
	return c
}

// sender publishes messages at QoS 1, some ahead of their acknowledgements, and after a break sends
// those again that were not acknowledged, as MQTT clients do.
type sender struct {
	id    int
	total int
	acked []bool
	ever  int // sent at least once
	count *atomic.Int64
}

func (s *sender) packet(i int, dup bool) []byte {
	// Every other message tells no time: only its delivery tells that it came before.
	payload := fmt.Sprintf(`{"n":%d}`, i)
	if i%2 == 0 {
		payload = fmt.Sprintf(`{"n":%d,"ts":%d}`, i, 1_764_000_000_000+i)
	}
	var flags byte
	if dup {
		flags = flagDup
	}
	return (&raw{}).publish(fmt.Sprintf("city/lighting/s%d-%d/telemetry", s.id, i%5), payload, 1, uint16(i+1), flags)
}

// run sends over one connection until all is acknowledged or the connection ends.
func (s *sender) run(addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	if _, err := c.Write(connectPacket(fmt.Sprint("sender-", s.id), 4, false, "", "")); err != nil {
		return
	}
	var b []byte
	for i := range s.ever {
		if !s.acked[i] {
			b = append(b, s.packet(i, true)...)
		}
	}
	if _, err := c.Write(b); err != nil {
		return
	}
	r := bufio.NewReader(c)
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || head[0] != 0x20 {
		return
	}
	open := 0
	for i := range s.ever {
		if !s.acked[i] {
			open++
		}
	}
	for open > 0 || s.ever < s.total {
		for open < 50 && s.ever < s.total {
			if _, err := c.Write(s.packet(s.ever, false)); err != nil {
				s.ever++ // some of it may have arrived
				return
			}
			s.ever++
			open++
		}
		if _, err := io.ReadFull(r, head[:]); err != nil || head[0] != 0x40 {
			return
		}
		s.acked[binary.BigEndian.Uint16(head[2:])-1] = true
		s.count.Add(1)
		open--
	}
}

// Killed at any moment, everything that was acknowledged is on the log, and everything once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	const senders, messages, kills = 6, 1500, 5
	var count atomic.Int64
	all := make([]*sender, senders)
	for i := range all {
		all[i] = &sender{id: i, total: messages, acked: make([]bool, messages), count: &count}
	}
	for round := range kills + 1 {
		c := startChild(t, dir)
		var wg sync.WaitGroup
		for _, s := range all {
			wg.Go(func() { s.run(c.addr) })
		}
		if round < kills {
			target := int64(senders*messages*(round+1)/(kills+1) - 37*round)
			ingesttest.Eventually(t, "time to kill", func() bool { return count.Load() >= target })
			if err := c.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			_ = c.cmd.Wait()
			continue
		}
		wg.Wait()
		_ = c.in.Close()
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("the child stopped with %v", err)
		}
	}

	l, err := log.Open(context.Background(), log.Config{Dir: dir, Sync: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := map[string]int{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	last, err := l.LastSeq(ctx, batch.KindObservations)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(ctx, batch.KindObservations, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for seq := uint64(0); seq < last; {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		o, err := batch.DecodeObservations(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range o.Len() {
			seen[fmt.Sprintf("%s %v", o.Device.At(i), o.Value[i])]++
		}
		seq = m.Seq
	}
	for _, s := range all {
		for i, acked := range s.acked {
			if n := seen[fmt.Sprintf("s%d-%d %d", s.id, i%5, i)]; !acked || n != 1 {
				t.Fatalf("sender %d, message %d: acknowledged %v and %d times on the log, want once", s.id, i, acked, n)
			}
		}
	}
	if len(seen) != senders*messages {
		t.Errorf("%d messages on the log, want %d", len(seen), senders*messages)
	}
}
