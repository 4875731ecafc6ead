package udp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/ipv4"

	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
)

// inbox keeps what it is told.
type inbox struct {
	mu      sync.Mutex
	got     []string
	refused []string
}

func (i *inbox) Datagram(d *envelope.Datagram, received int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, fmt.Sprintf("%s %d %s", d.Gateway, d.Op, d.JSON))
}

func (i *inbox) Refused(b []byte, why *frame.Reject, received int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.refused = append(i.refused, string(why.Reason))
}

func datagram(op envelope.Op, gateway frame.EUI, json string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{2, 0xab, 0xcd, byte(op)}, uint64(gateway)), json...)
}

// start runs a listener until the test ends and returns a socket connected to it.
func start(t testing.TB, cfg Config) (*Listener, *net.UDPConn) {
	t.Helper()
	cfg.Addr = "127.0.0.1:0"
	l, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, conn
}

// ask sends a datagram and returns the answer.
func ask(t testing.TB, conn *net.UDPConn, b []byte) []byte {
	t.Helper()
	if _, err := conn.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatalf("no answer to %x: %v", b, err)
	}
	return answer[:n]
}

func TestListenerAnswersThoseItLetsIn(t *testing.T) {
	var in inbox
	reg := prometheus.NewRegistry()
	l, conn := start(t, Config{Receiver: func(int) Receiver { return &in }, Allow: []frame.EUI{1, 2}, Readers: 1, Metrics: reg})
	silent := [][]byte{
		{}, {2}, datagram(envelope.PushData, 3, "{}"), datagram(envelope.PushData, 1, ""), datagram(envelope.PullResp, 1, "{}"),
		datagram(envelope.PullData, 1, strings.Repeat("x", 100)), datagram(envelope.TxResult, 2, ""), make([]byte, maxDatagram),
	}
	for _, b := range silent {
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	// One reader takes them in order: the first answer is to what follows.
	if got := ask(t, conn, datagram(envelope.PushData, 1, `{"stat":{}}`)); string(got) != "\x02\xab\xcd\x01" {
		t.Errorf("PUSH_DATA is answered %x", got)
	}
	if got := ask(t, conn, datagram(envelope.PullData, 2, "")); string(got) != "\x02\xab\xcd\x04" {
		t.Errorf("PULL_DATA is answered %x", got)
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if want := []string{`0000000000000002 5 `, `0000000000000001 0 {"stat":{}}`}; fmt.Sprint(in.got) != fmt.Sprint(want) {
		t.Errorf("received %q, want %q", in.got, want)
	}
	if want := "[frame_short frame_short unknown_gateway frame_short unknown_event frame_long frame_long]"; fmt.Sprint(in.refused) != want {
		t.Errorf("refused %v, want %s", in.refused, want)
	}
	gateways := l.Gateways()
	if len(gateways) != 2 || gateways[0].EUI != 1 || gateways[0].From != conn.LocalAddr().(*net.UDPAddr).AddrPort() || gateways[1].Datagrams != 2 {
		t.Errorf("gateways %+v", gateways)
	}
	s := l.Stats()
	if s.Received != 10 || s.Handed != 2 || s.Refused[frame.ReasonGateway] != 1 || s.Gateways != 2 {
		t.Errorf("stats %+v", s)
	}
	if families, err := reg.Gather(); err != nil || len(families) != 6 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
}

func TestRateOfOneGatewayDoesNotTouchAnother(t *testing.T) {
	g := gateways{max: 10, all: map[frame.EUI]*gateway{}, period: int64(time.Second / 10), burst: int64(time.Second / 2)}
	from := netip.MustParseAddrPort("127.0.0.1:9")
	now := int64(1_769_308_300_000_000_000)
	admitted := 0
	for range 100 {
		if g.admit(1, from, now) == "" {
			admitted++
		}
	}
	if admitted != 5 {
		t.Errorf("%d at once, want 5", admitted)
	}
	if got := g.admit(2, from, now); got != "" {
		t.Errorf("the other gateway: %s", got)
	}
	admitted = 0
	for i := range int64(1000) { // 10 s at 100 a second
		if g.admit(1, from, now+i*int64(10*time.Millisecond)) == "" {
			admitted++
		}
	}
	if admitted < 98 || admitted > 101 {
		t.Errorf("%d in 10 s, want 100", admitted)
	}
}

func TestGatewaysAreBounded(t *testing.T) {
	g := gateways{max: 3, all: map[frame.EUI]*gateway{}}
	from := netip.MustParseAddrPort("127.0.0.1:9")
	now := int64(1_769_308_300_000_000_000)
	for eui := range frame.EUI(5) {
		want := frame.Reason("")
		if eui >= 3 {
			want = frame.ReasonGateway
		}
		if got := g.admit(eui, from, now); got != want {
			t.Errorf("gateway %s: %q, want %q", eui, got, want)
		}
	}
	if got := g.admit(9, from, now+int64(2*idle)); got != "" || g.len() != 1 {
		t.Errorf("after a long silence: %q, %d gateways", got, g.len())
	}
}

// counter counts what it is handed.
type counter struct {
	parser envelope.Parser
	m      envelope.Message
	opener frame.Opener
	table  *frame.Table
	done   chan<- int
}

func (c *counter) Datagram(d *envelope.Datagram, received int64) {
	uplinks := 0
	err := c.parser.Semtech(d, &c.m, func(m *envelope.Message, err error) error {
		var f frame.Frame
		if err == nil {
			err = frame.Parse(m.Payload.Raw, &f)
		}
		if err != nil {
			return err
		}
		if _, _, err := c.table.Open(&c.opener, &f, frame.UnknownLink); err != nil {
			return err
		}
		uplinks++
		return nil
	})
	if err != nil {
		panic(err)
	}
	c.done <- uplinks
}

func (c *counter) Refused(_ []byte, why *frame.Reject, _ int64) { panic(why) }

// BenchmarkListener takes uplinks from the socket to the plain payload: JSON, base64, MIC,
// decryption, answers; the generator is in the same process.
func BenchmarkListener(b *testing.B) {
	for _, frames := range []int{1, 4} {
		b.Run(fmt.Sprintf("frames=%d", frames), func(b *testing.B) {
			table := frame.NewTable(0)
			keys := frame.Keys{DevAddr: 0x26011bda, FNwkSInt: frame.Key{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}
			if err := table.Put("d", keys, frame.Refuse, frame.State{}); err != nil {
				b.Fatal(err)
			}
			// The golden frame of package frame: 26 bytes of payload, counter 7.
			const packet = `{"tmst":3512348611,"chan":2,"rfch":0,"freq":868.300000,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/5","rssi":-35,"lsnr":5.1,"size":39,"data":"QNobASaABwAKfJS1ivcytABXgkLacqz2jbBvhO/BLhtchA8Lialk"}`
			json := `{"rxpk":[` + strings.Repeat(packet+",", frames-1) + packet + `]}`
			done := make(chan int, 4096)
			_, conn := start(b, Config{Rate: -1, Receiver: func(int) Receiver { return &counter{table: table, done: done} }})
			_ = conn.SetReadBuffer(1) // the answers are not looked at
			msgs := make([]ipv4.Message, 32)
			for i := range msgs {
				msgs[i].Buffers = [][]byte{datagram(envelope.PushData, frame.EUI(i), json)}
			}
			out := ipv4.NewPacketConn(conn)
			taken, sent := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				// One iteration is a batch of 32 datagrams; 128 are on the way at most.
				for sent-taken >= 128*frames {
					taken += <-done
				}
				n, err := out.WriteBatch(msgs, 0)
				if err != nil {
					b.Fatal(err)
				}
				sent += n * frames
			}
			for taken < sent {
				taken += <-done
			}
			b.ReportMetric(float64(taken)/b.Elapsed().Seconds(), "uplinks/s")
		})
	}
}
