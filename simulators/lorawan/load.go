package lorawan

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// LoadOptions says what Load sends. Zero values take the defaults named.
type LoadOptions struct {
	// UDP is host:port of a receiver of packet forwarders.
	UDP string
	// Seed chooses the keys; LoadDevices of the same seed has them.
	Seed int64
	// Nodes is how many nodes take turns (10,000), Gateways how many gateways do (100).
	Nodes, Gateways int
	// PerDatagram is how many frames a datagram has, 1 to 8 (8).
	PerDatagram int
	// InFlight is how many datagrams of a socket may wait for their PUSH_ACK (64), and Sockets how
	// many there are, each with a goroutine and its share of the nodes (1).
	InFlight, Sockets int
	// AckTimeout is after how long a datagram is taken for lost (1 s). None is sent again.
	AckTimeout time.Duration
	// Rate is uplinks a second in all; 0: as fast as acknowledgements come.
	Rate float64
	// Duration and Count end the load, whichever is first; 0: no bound. Count is rounded up to whole
	// datagrams of every socket.
	Duration time.Duration
	Count    int64
	// First is the frame counter that each node begins with. A receiver that heard an earlier load
	// needs one above the last: the greatest Sent of its books and its First.
	First uint32
	// Prepare is how many frames are encoded before the clock starts, 44 bytes each (2,000,000, no
	// more than Count). Those after them are encoded as they go, at 0.8 us each where there are many nodes; below 0 all are.
	Prepare int
}

// A LoadBook is the account of one node: it sent frame counters from First on, Sent in number, of
// which Acked were in acknowledged datagrams.
type LoadBook struct {
	Device      string
	Sent, Acked uint32
}

// A LoadReport is what a load did. Rates are over Elapsed, from the first datagram to the last
// acknowledgement.
type LoadReport struct {
	Elapsed      float64 `json:"elapsed_s"`
	Sent         int64   `json:"sent"`  // uplinks
	Acked        int64   `json:"acked"` // uplinks in acknowledged datagrams
	Datagrams    int64   `json:"datagrams"`
	Unacked      int64   `json:"unacked_datagrams"`
	Late         int64   `json:"late_acks"` // after AckTimeout, or for nothing
	Errors       int64   `json:"errors"`    // datagrams that the system refused to send
	SentRate     float64 `json:"sent_per_s"`
	AckedRate    float64 `json:"acked_per_s"`
	AckMeanMS    float64 `json:"ack_ms_mean"`
	AckMaxMS     float64 `json:"ack_ms_max"`
	CPU          float64 `json:"cpu_s"` // of this process, all of it
	CPUPerUplink float64 `json:"cpu_us_per_uplink"`
	// Books has one entry a node, in order of LoadDevices.
	Books []LoadBook `json:"-"`
}

// String is the report in one line.
func (r LoadReport) String() string {
	return fmt.Sprintf("lorawan load: %d of %d uplinks acked in %.1f s, %.0f/s; %d datagrams, %d unacked, %d errors; ack ms mean %.2f max %.1f; own CPU %.2f us an uplink",
		r.Acked, r.Sent, r.Elapsed, r.AckedRate, r.Datagrams, r.Unacked, r.Errors, r.AckMeanMS, r.AckMaxMS, r.CPUPerUplink)
}

func (o *LoadOptions) check() error {
	for _, d := range []struct {
		name             string
		v                *int
		otherwise, least int
		most             int
	}{
		{"nodes", &o.Nodes, 10_000, 1, 1 << 24}, {"gateways", &o.Gateways, 100, 1, 1 << 20},
		{"frames a datagram", &o.PerDatagram, maxPackets, 1, maxPackets}, {"in flight", &o.InFlight, 64, 1, 1 << 14}, {"sockets", &o.Sockets, 1, 1, 64},
	} {
		if *d.v == 0 {
			*d.v = d.otherwise
		}
		if *d.v < d.least || *d.v > d.most {
			return fmt.Errorf("load: %s: %d, want %d to %d", d.name, *d.v, d.least, d.most)
		}
	}
	o.Sockets = min(o.Sockets, o.Nodes, o.Gateways)
	if o.AckTimeout <= 0 {
		o.AckTimeout = time.Second
	}
	if o.UDP == "" {
		return errors.New("load: no UDP address, want host:port")
	}
	return nil
}

// Load sends frames of nodes in turn, each with the next counter, until ctx ends or the bounds of o
// are reached, and waits for the last acknowledgements. The error says that the options are not
// acceptable or that no socket can be had.
func Load(ctx context.Context, o LoadOptions) (LoadReport, error) {
	if err := o.check(); err != nil {
		return LoadReport{}, err
	}
	to, err := net.ResolveUDPAddr("udp", o.UDP)
	if err != nil {
		return LoadReport{}, fmt.Errorf("load: UDP address %q: %w", o.UDP, err)
	}
	loaders := make([]*loader, o.Sockets)
	for i := range loaders {
		loaders[i] = newLoader(&o, i)
		if loaders[i].conn, err = net.DialUDP("udp", nil, to); err != nil {
			for _, l := range loaders[:i] {
				_ = l.conn.Close()
			}
			return LoadReport{}, fmt.Errorf("load: UDP to %s: %w", o.UDP, err)
		}
		_ = loaders[i].conn.SetReadBuffer(4 << 20)
	}
	if o.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Duration)
		defer cancel()
	}
	cpu, start := cpuTime(), time.Now()
	var senders, readers sync.WaitGroup
	for _, l := range loaders {
		l.start = start
		readers.Go(l.read)
		senders.Go(func() { l.run(ctx) })
	}
	senders.Wait()
	elapsed := time.Since(start)
	cpu = cpuTime() - cpu
	for _, l := range loaders {
		_ = l.conn.Close()
	}
	readers.Wait()
	return loadReport(&o, loaders, elapsed, cpu), nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A loader is one socket with the nodes i, i+Sockets, … and the gateways likewise.
type loader struct {
	o        *LoadOptions
	number   int
	conn     *net.UDPConn
	nodes    []fastNode
	prepared []byte // base64 of the first frames, loadText bytes each
	gateways []uint64
	start    time.Time

	// Of the sender.
	sent      int64 // uplinks
	datagrams int64
	errors    int64
	unacked   int64
	oldest    uint16 // the token that expires next
	token     uint16 // the next
	scratch   scratch

	// Of both. A slot is the time since start at which the datagram with the token went out, in ns; 0
	// is none.
	slots    [1 << 16]atomic.Int64
	first    [1 << 16]atomic.Int64 // the number of its first uplink
	inFlight atomic.Int64
	room     chan struct{}

	// Of the reader, until it ends.
	ackedBy []uint32
	acked   int64
	late    int64
	acks    int64
	waited  time.Duration
	longest time.Duration
	lastAck atomic.Int64 // since start
}

func newLoader(o *LoadOptions, number int) *loader {
	l := &loader{o: o, number: number, room: make(chan struct{}, 1)}
	for i := number; i < o.Nodes; i += o.Sockets {
		s := loadSession(o.Seed, i)
		l.nodes = append(l.nodes, newFastNode(&s))
	}
	for i := number; i < o.Gateways; i += o.Sockets {
		l.gateways = append(l.gateways, 0x0250414c_10000000|uint64(i+1))
	}
	l.ackedBy = make([]uint32, len(l.nodes))
	l.prepare()
	return l
}

// loadText is how long a frame is in base64.
const loadText = (loadFrame + 2) / 3 * 4

// prepare encodes the first frames, node by node, which takes a fraction of the time that it takes in
// turn: the ciphers of many nodes do not stay in the processor's cache.
func (l *loader) prepare() {
	frames := int64(l.o.Prepare)
	if frames == 0 {
		frames = 2_000_000
	}
	if l.o.Count > 0 {
		frames = min(frames, l.o.Count)
	}
	n := len(l.nodes)
	rounds := int(frames) / l.o.Sockets / n
	if rounds <= 0 {
		return
	}
	l.prepared = make([]byte, rounds*n*loadText)
	for i := range l.nodes {
		for round := range rounds {
			base64.StdEncoding.Encode(l.prepared[(round*n+i)*loadText:], l.nodes[i].make(&l.scratch, l.o.First+uint32(round)))
		}
	}
}

// appendFrame appends the base64 of the k-th frame.
func (l *loader) appendFrame(b []byte, k int64) []byte {
	if at := int(k) * loadText; at < len(l.prepared) {
		return append(b, l.prepared[at:at+loadText]...)
	}
	n := int64(len(l.nodes))
	return base64.StdEncoding.AppendEncode(b, l.nodes[k%n].make(&l.scratch, l.o.First+uint32(k/n)))
}

func (l *loader) run(ctx context.Context) {
	var count int64
	if l.o.Count > 0 {
		count = (l.o.Count + int64(l.o.Sockets) - 1) / int64(l.o.Sockets)
	}
	rate := l.o.Rate / float64(l.o.Sockets)
	buf := make([]byte, 0, 4096)
	for ctx.Err() == nil && (count == 0 || l.sent < count) {
		if rate > 0 {
			due := time.Duration(float64(l.sent) / rate * float64(time.Second))
			if ahead := due - time.Since(l.start); ahead > time.Millisecond {
				time.Sleep(ahead)
			}
		}
		if l.inFlight.Load() >= int64(l.o.InFlight) {
			l.wait()
			continue
		}
		buf = l.datagram(buf[:0])
		l.send(buf)
	}
	for l.inFlight.Load() > 0 {
		l.wait()
	}
}

// wait waits until half the window is free, or for what is lost.
func (l *loader) wait() {
	timer := time.NewTimer(l.o.AckTimeout / 20)
	defer timer.Stop()
	select {
	case <-l.room:
	case <-timer.C:
	}
	now := int64(time.Since(l.start))
	for l.oldest != l.token {
		at := l.slots[l.oldest].Load()
		if at != 0 {
			if now-at < int64(l.o.AckTimeout) {
				return
			}
			if l.slots[l.oldest].CompareAndSwap(at, 0) {
				l.unacked++
				l.inFlight.Add(-1)
			}
		}
		l.oldest++
	}
}

// datagram makes the next one, but for its token.
func (l *loader) datagram(b []byte) []byte {
	b = header(b, 0, pushData, l.gateways[l.datagrams%int64(len(l.gateways))])
	b = append(b, `{"rxpk":[`...)
	// All frames of a datagram are of one moment: the first begins as the others do.
	now := time.Now()
	from := len(b)
	b = append(b, `{"time":"`...)
	b = now.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, `","tmst":`...)
	b = strconv.AppendUint(b, uint64(uint32(now.UnixMicro())), 10)
	b = append(b, `,"chan":2,"rfch":0,"freq":868.500000,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/5","lsnr":7.5,"rssi":-84,"size":33,"data":"`...)
	to := len(b)
	for i := range int64(l.o.PerDatagram) {
		if i > 0 {
			b = append(b, ',')
			b = append(b, b[from:to]...)
		}
		b = append(l.appendFrame(b, l.sent+i), `"}`...)
	}
	return append(b, `]}`...)
}

// send gives the datagram a token and sends it. What the system refuses is not sent again.
func (l *loader) send(b []byte) {
	for l.slots[l.token].Load() != 0 { // 65,536 tokens later still in flight
		l.wait()
	}
	token := l.token
	l.token++
	binary.BigEndian.PutUint16(b[1:], token)
	l.first[token].Store(l.sent)
	l.inFlight.Add(1)
	l.slots[token].Store(max(int64(time.Since(l.start)), 1))
	l.datagrams++
	l.sent += int64(l.o.PerDatagram)
	_, err := l.conn.Write(b)
	if errors.Is(err, syscall.ECONNREFUSED) { // news of an earlier one
		_, err = l.conn.Write(b)
	}
	if err != nil {
		l.errors++
	}
}

// read takes acknowledgements until the socket is closed.
func (l *loader) read() {
	var b [64]byte
	for {
		n, err := l.conn.Read(b[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 4 || b[0] != protocolVersion || b[3] != pushAck {
			continue
		}
		token := binary.BigEndian.Uint16(b[1:])
		at, first := l.slots[token].Load(), l.first[token].Load()
		if at == 0 || !l.slots[token].CompareAndSwap(at, 0) {
			l.late++
			continue
		}
		now := int64(time.Since(l.start))
		took := time.Duration(now - at)
		l.waited += took
		l.longest = max(l.longest, took)
		l.acks++
		l.acked += int64(l.o.PerDatagram)
		for i := range int64(l.o.PerDatagram) {
			l.ackedBy[(first+i)%int64(len(l.nodes))]++
		}
		l.lastAck.Store(now)
		if left := l.inFlight.Add(-1); left == 0 || left == int64(l.o.InFlight/2) {
			select {
			case l.room <- struct{}{}:
			default:
			}
		}
	}
}

func loadReport(o *LoadOptions, loaders []*loader, elapsed, cpu time.Duration) LoadReport {
	r := LoadReport{CPU: cpu.Seconds(), Books: make([]LoadBook, o.Nodes)}
	var waited, last time.Duration
	acks := int64(0)
	for _, l := range loaders {
		r.Sent += l.sent
		r.Acked += l.acked
		r.Datagrams += l.datagrams
		r.Unacked += l.unacked
		r.Late += l.late
		r.Errors += l.errors
		waited += l.waited
		acks += l.acks
		r.AckMaxMS = max(r.AckMaxMS, float64(l.longest.Microseconds())/1000)
		last = max(last, time.Duration(l.lastAck.Load()))
		n := int64(len(l.nodes))
		for i := range l.nodes {
			sent := l.sent / n
			if int64(i) < l.sent%n {
				sent++
			}
			number := l.number + i*o.Sockets
			r.Books[number] = LoadBook{Device: loadName(number), Sent: uint32(sent), Acked: l.ackedBy[i]}
		}
	}
	if r.Unacked == 0 && last > 0 {
		elapsed = last
	}
	r.Elapsed = elapsed.Seconds()
	if r.Elapsed > 0 {
		r.SentRate, r.AckedRate = float64(r.Sent)/r.Elapsed, float64(r.Acked)/r.Elapsed
	}
	if acks > 0 {
		r.AckMeanMS = float64(waited.Microseconds()) / 1000 / float64(acks)
	}
	if r.Sent > 0 {
		r.CPUPerUplink = r.CPU * 1e6 / float64(r.Sent)
	}
	return r
}
