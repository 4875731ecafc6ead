package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/ipv4"

	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
)

// A Receiver takes datagrams in. Each reader of a Listener has its own, which is called from one
// goroutine. It may block, and keeps nothing of its arguments.
type Receiver interface {
	// Datagram takes in a PUSH_DATA or TX_ACK that was let in, received at a Unix time in ms.
	Datagram(d *envelope.Datagram, received int64)
	// Refused tells of a datagram that was not let in, for the dead letter. Of floods only some
	// are told; all are counted.
	Refused(datagram []byte, why *frame.Reject, received int64)
}

// Config says how a Listener works. Addr and Receiver must be given.
type Config struct {
	Addr     string // host:port
	Receiver func(reader int) Receiver
	// Allow lists the gateways that are let in; nil lets in any.
	Allow []frame.EUI
	// Rate is how many datagrams a second a gateway may send on average, and Burst how many at
	// once; defaults 500 and 1000. A negative Rate is no bound. (A gateway hears at most some
	// 150 frames a second.)
	Rate, Burst float64
	// MaxGateways is how many gateways may send within ten minutes; default 10,000.
	MaxGateways int
	// Readers is how many goroutines read; default 2.
	Readers int

	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Defaults of Config, and bounds.
const (
	defaultRate     = 500
	defaultBurst    = 1000
	defaultGateways = 10_000
	defaultReaders  = 2
	maxReaders      = 16

	batch        = 64
	maxDatagram  = 16 << 10
	socketBuffer = 8 << 20
	// toldRefused is how many refused datagrams a second each reader tells its Receiver of.
	toldRefused = 10
)

// A Listener is a UDP socket with its gateways. It implements ingest.Source.
type Listener struct {
	cfg      Config
	conn     *net.UDPConn
	gateways gateways
	log      *slog.Logger

	received atomic.Uint64
	answered atomic.Uint64
	unsent   atomic.Uint64
	handed   atomic.Uint64
	refused  map[frame.Reason]*atomic.Uint64
}

// reasons are those a Listener refuses for.
var reasons = []frame.Reason{frame.ReasonShort, frame.ReasonLong, frame.ReasonEvent, frame.ReasonGateway, frame.ReasonRate}

// Listen binds the socket and starts nothing.
func Listen(cfg Config) (*Listener, error) {
	if cfg.Rate == 0 {
		cfg.Rate = defaultRate
	}
	if cfg.Burst <= 0 {
		cfg.Burst = max(defaultBurst, cfg.Rate)
	}
	if cfg.MaxGateways <= 0 {
		cfg.MaxGateways = defaultGateways
	}
	if cfg.Readers <= 0 {
		cfg.Readers = defaultReaders
	}
	cfg.Readers = min(cfg.Readers, maxReaders)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	addr, err := net.ResolveUDPAddr("udp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("udp: address %q: %w", cfg.Addr, err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("udp: listen on %s: %w", cfg.Addr, err)
	}
	// As much as the system grants; less only means less room for bursts.
	_ = conn.SetReadBuffer(socketBuffer)
	l := &Listener{cfg: cfg, conn: conn, log: cfg.Logger, refused: map[frame.Reason]*atomic.Uint64{}}
	l.gateways = gateways{max: cfg.MaxGateways, all: map[frame.EUI]*gateway{}}
	if cfg.Rate > 0 {
		l.gateways.period = int64(float64(time.Second) / cfg.Rate)
		l.gateways.burst = int64(float64(l.gateways.period) * cfg.Burst)
	}
	if cfg.Allow != nil {
		l.gateways.allow = map[frame.EUI]bool{}
		for _, eui := range cfg.Allow {
			l.gateways.allow[eui] = true
		}
	}
	for _, r := range reasons {
		l.refused[r] = &atomic.Uint64{}
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(collector{l}); err != nil {
			return nil, errors.Join(fmt.Errorf("udp: register metrics: %w", err), conn.Close())
		}
	}
	return l, nil
}

// Addr is what was bound.
func (l *Listener) Addr() netip.AddrPort { return l.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

// Gateways are those that sent something lately, in order of EUI.
func (l *Listener) Gateways() []Gateway { return l.gateways.list() }

// Run takes datagrams in until ctx ends, and closes the socket.
func (l *Listener) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = l.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	errs := make([]error, l.cfg.Readers)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = l.read(ctx, l.cfg.Receiver(i))
			_ = l.conn.SetReadDeadline(time.Unix(1, 0)) // one stops, all stop
		})
	}
	wg.Wait()
	return errors.Join(append(errs, l.conn.Close())...)
}

// reader is the memory of one reading goroutine.
type reader struct {
	*Listener
	to      Receiver
	in, out []ipv4.Message
	answers [batch][4]byte
	told    int   // refusals in the second that is
	second  int64 // Unix s
}

func (l *Listener) read(ctx context.Context, to Receiver) error {
	r := reader{Listener: l, to: to, in: make([]ipv4.Message, batch), out: make([]ipv4.Message, batch)}
	for i := range batch {
		r.in[i].Buffers = [][]byte{make([]byte, maxDatagram)}
		r.out[i].Buffers = [][]byte{r.answers[i][:]}
	}
	// The batch calls of package ipv4 serve sockets of either family.
	conn := ipv4.NewPacketConn(l.conn)
	for {
		n, err := conn.ReadBatch(r.in, 0)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("udp: read: %w", err)
		}
		now := time.Now()
		answers := 0
		for i := range n {
			m := &r.in[i]
			from, ok := m.Addr.(*net.UDPAddr)
			if !ok {
				continue
			}
			if r.take(m.Buffers[0][:m.N], from, now, &r.answers[answers]) {
				r.out[answers].Addr = from
				answers++
			}
		}
		r.answer(conn, answers)
	}
}

// take takes one datagram in and reports whether it wants the answer.
func (r *reader) take(b []byte, from *net.UDPAddr, now time.Time, answer *[4]byte) bool {
	r.received.Add(1)
	if len(b) == maxDatagram {
		r.refuse(b, now, frame.Rejectf(frame.ReasonLong, "datagram of %d bytes or more, want fewer", maxDatagram))
		return false
	}
	d, err := envelope.ParseDatagram(b)
	if err != nil {
		var reject *frame.Reject
		if !errors.As(err, &reject) {
			panic(fmt.Sprintf("BUG: ParseDatagram: %v", err))
		}
		r.refuse(b, now, reject)
		return false
	}
	switch reason := r.gateways.admit(d.Gateway, from.AddrPort(), now.UnixNano()); reason {
	case "":
	case frame.ReasonRate:
		r.refuse(b, now, rateReject)
		return false
	default:
		r.refuse(b, now, frame.Rejectf(reason, "gateway %s is not let in", d.Gateway))
		return false
	}
	if d.Op != envelope.PullData {
		r.to.Datagram(&d, now.UnixMilli())
		r.handed.Add(1)
	}
	var ok bool
	*answer, ok = d.Answer()
	return ok
}

// rateReject is made once: it comes in floods.
var rateReject = &frame.Reject{Reason: frame.ReasonRate, Detail: "the gateway sends more datagrams a second than it may"}

func (r *reader) refuse(b []byte, now time.Time, why *frame.Reject) {
	r.refused[why.Reason].Add(1)
	if s := now.Unix(); s != r.second {
		r.second, r.told = s, 0
	}
	if r.told++; r.told <= toldRefused {
		r.to.Refused(b, why, now.UnixMilli())
	}
}

// answer sends the first n answers. Those that cannot be sent are counted: a gateway that is gone
// must not stop the others.
func (r *reader) answer(conn *ipv4.PacketConn, n int) {
	for sent := 0; sent < n; {
		k, err := conn.WriteBatch(r.out[sent:n], 0)
		if err != nil || k == 0 {
			r.unsent.Add(1)
			k = 1
		} else {
			r.answered.Add(uint64(k))
		}
		sent += k
	}
}
