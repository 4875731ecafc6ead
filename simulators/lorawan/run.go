package lorawan

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Options says where frames go. One of UDP and Broker at least must be given.
type Options struct {
	// UDP is host:port of a receiver of packet forwarders. Without it all gateways are bridges.
	UDP string
	// Broker is host:port or a URL of an MQTT broker. Without it all gateways are packet forwarders,
	// and the nodes behind a ChirpStack, three in ten, say nothing.
	Broker             string
	Username, Password string
	// Dial, where not nil, makes the connections to the broker in place of the network.
	Dial func() (net.Conn, error)
	// ClientID names the connection ("sim-lorawan").
	ClientID string
	// KeepAlive is how often a packet forwarder sends PULL_DATA (10 s), Status how often a gateway
	// tells its own (30 s).
	KeepAlive, Status time.Duration
	// Drain is how long the acknowledgements of what was sent are waited for at the end (3 s).
	Drain time.Duration
	// Log takes lost connections; nil: nobody hears of them.
	Log *slog.Logger
}

// Run sends until ctx ends, by the clock of the machine; then what is on its way goes out at once,
// and its acknowledgements have o.Drain. Call Run once. The error says that the options are
// not acceptable.
func (n *Network) Run(ctx context.Context, o Options) error {
	if o.UDP == "" && o.Broker == "" {
		return errors.New("simulate: LoRaWAN: no UDP address and no broker, want one of them")
	}
	if o.ClientID == "" {
		o.ClientID = "sim-lorawan"
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 10 * time.Second
	}
	if o.Status <= 0 {
		o.Status = reportEvery
	}
	if o.Drain <= 0 {
		o.Drain = 3 * time.Second
	}
	r := runner{Network: n, options: &o, air: make([]activity, len(n.gateways)), acks: make([]int64, len(n.gateways)), outbox: make([][]byte, len(n.gateways)), packets: make([]int, len(n.gateways))}
	var readers sync.WaitGroup
	defer readers.Wait()
	r.backhauls = make([]*backhaul, len(n.gateways))
	defer func() {
		for _, l := range r.backhauls {
			if l != nil {
				_ = l.conn.Close()
			}
		}
	}()
	for i := range n.gateways {
		if o.UDP == "" || o.Broker != "" && n.gateways[i].forwards != packetForwarder {
			continue
		}
		l, err := dialBackhaul(o.UDP, n.gateways[i].eui, &n.counters)
		if err != nil {
			return err
		}
		r.backhauls[i] = l
		readers.Go(l.read)
	}
	if o.Broker != "" {
		r.mqtt = dialPublisher(&o, &n.counters)
		defer r.mqtt.client.Disconnect(50)
	}
	r.loop(ctx)
	return nil
}

// What a runner has to do at some time.
type task uint8

const (
	transmit  task = iota // a node's slot
	hear                  // a gateway forwards a frame
	tell                  // ChirpStack tells of an uplink
	sendAgain             // somebody replays a frame
	keepAlive             // of a packet forwarder
	report                // of a gateway
)

type event struct {
	at      int64 // Unix ns
	task    task
	node    int
	slot    int64
	gateway int
	uplink  *uplink
	heard   int // index of the uplink's reception
}

type events []event

func (q events) Len() int           { return len(q) }
func (q events) Less(i, j int) bool { return q[i].at < q[j].at }
func (q events) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)        { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = event{}
	*q = (*q)[:last]
	return x
}

// A runner is the state of Run.
type runner struct {
	*Network
	options   *Options
	backhauls []*backhaul // by gateway; nil for bridges
	mqtt      *publisher  // nil without a broker
	queue     events
	air       []activity // by gateway, since its last report
	acks      []int64    // by gateway: PUSH_ACKs at its last report
	outbox    [][]byte   // by gateway: rxpk elements not yet sent
	packets   []int      // in outbox
	lost      int64      // datagrams on the way that are not waited for any more
	stop      <-chan struct{}
}

// late is how far Run may be behind before it leaves slots out, as after a machine's sleep. To the
// receiver those are frames that nobody heard.
const late = 5 * time.Second

func (r *runner) add(e event, at time.Time) {
	e.at = at.UnixNano()
	heap.Push(&r.queue, e)
}

func (r *runner) loop(ctx context.Context) {
	giveUp := make(chan struct{})
	r.stop = ctx.Done()
	start := time.Now()
	for i := range r.nodes {
		if r.nodes[i].path == byGateways || r.mqtt != nil {
			slot := r.nodes[i].slotAt(start)
			r.add(event{task: transmit, node: i, slot: slot}, r.nodes[i].at(slot))
		}
	}
	for i := range r.gateways {
		// The first report and keep-alive come soon, one gateway after the other.
		soon := start.Add(time.Duration(i+1) * r.options.KeepAlive / time.Duration(10*len(r.gateways)))
		r.add(event{task: report, gateway: i}, soon)
		if r.backhauls[i] != nil {
			r.add(event{task: keepAlive, gateway: i}, soon)
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for len(r.queue) > 0 && ctx.Err() == nil {
		now := time.Now()
		if wait := r.queue[0].at - now.UnixNano(); wait > 0 {
			r.flushAll()
			timer.Reset(time.Duration(wait))
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			continue
		}
		r.do(heap.Pop(&r.queue).(event), now)
	}
	// What was transmitted has been booked, so it is handed over still.
	deadline := time.AfterFunc(r.options.Drain, func() { close(giveUp) })
	defer deadline.Stop()
	r.stop = giveUp
	for len(r.queue) > 0 {
		if e := heap.Pop(&r.queue).(event); e.task == hear || e.task == tell {
			r.do(e, time.Now())
		}
	}
	r.flushAll()
	for r.owed() > 0 {
		select {
		case <-giveUp:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// owed is how many acknowledgements have not come.
func (r *runner) owed() int {
	n := 0
	for _, l := range r.backhauls {
		if l != nil {
			n += l.waiting()
		}
	}
	if r.mqtt != nil {
		n += len(r.mqtt.window)
	}
	return n
}

func (r *runner) do(e event, now time.Time) {
	switch e.task {
	case transmit:
		r.transmit(&e, now)
	case hear:
		r.forward(e.uplink, &e.uplink.heard[e.heard])
	case tell:
		r.mqtt.publish(e.uplink.node.eventTopic(), r.event(e.uplink), r.stop)
	case sendAgain:
		r.books.replayed(e.uplink.node)
		r.forward(e.uplink, &e.uplink.heard[0])
	case keepAlive:
		r.backhauls[e.gateway].keepAlive()
		r.add(e, now.Add(r.options.KeepAlive))
	case report:
		r.report(e.gateway, now)
		r.add(e, now.Add(r.options.Status))
	}
}

// dedup is how long ChirpStack waits for other gateways.
const dedup = 200 * time.Millisecond

// transmit lets a node send what it has in a slot, and plans who hears it and the slot after.
func (r *runner) transmit(e *event, now time.Time) {
	nd := &r.nodes[e.node]
	next := e.slot + 1
	if now.Sub(nd.at(next)) > late {
		next = nd.slotAt(now)
	}
	r.add(event{task: transmit, node: e.node, slot: next}, nd.at(next))
	u := nd.uplink(e.slot)
	r.books.keep(u)
	if len(u.heard) == 0 {
		return
	}
	if nd.path != byGateways {
		r.add(event{task: tell, uplink: u}, u.at.Add(dedup))
		return
	}
	for i := range u.heard {
		r.add(event{task: hear, uplink: u, heard: i}, u.at.Add(u.heard[i].after))
	}
	if nd.sentAgain(e.slot) {
		// Later than any receiver waits for copies.
		r.add(event{task: sendAgain, uplink: u}, u.at.Add(max(nd.period/2, 6*time.Second)))
	}
}

// forward hands a frame over as its gateway does. Datagrams wait for company until flushAll.
func (r *runner) forward(u *uplink, h *reception) {
	i := h.gateway
	g := &r.gateways[i]
	r.air[i].heard++
	if r.backhauls[i] == nil {
		payload := []byte(nil)
		if g.forwards == bridgeProto {
			payload = g.frameProto(u, h)
		} else {
			payload = g.frameJSON(u, h)
		}
		r.mqtt.publish(g.topic("up"), payload, r.stop)
		return
	}
	if r.packets[i] > 0 {
		r.outbox[i] = append(r.outbox[i], ',')
	}
	r.outbox[i] = g.appendPacket(r.outbox[i], u, h)
	if r.packets[i]++; r.packets[i] == maxPackets {
		r.flush(i)
	}
}

func (r *runner) flushAll() {
	for i := range r.packets {
		if r.packets[i] > 0 {
			r.flush(i)
		}
	}
}

// A socket surely holds mostOnTheWay datagrams: the first to come after a pause of the machine do not
// drive out those behind. One that is not acknowledged in lostAfter never will be.
const (
	mostOnTheWay = 48
	lostAfter    = 200 * time.Millisecond
)

// makeRoom waits until another datagram may go on its way.
func (r *runner) makeRoom() {
	for end := time.Now().Add(lostAfter); ; time.Sleep(time.Millisecond) {
		onTheWay := r.counters.datagrams.Load() - r.counters.acked.Load()
		if r.lost = min(r.lost, onTheWay); onTheWay-r.lost < mostOnTheWay {
			return
		}
		if time.Now().After(end) {
			r.lost = onTheWay
		}
	}
}

func (r *runner) flush(i int) {
	r.makeRoom()
	b := append([]byte(`{"rxpk":[`), r.outbox[i]...)
	r.outbox[i], r.packets[i] = r.outbox[i][:0], 0
	r.air[i].pushed++
	_ = r.backhauls[i].push(append(b, ']', '}')) // counted
}

func (r *runner) report(i int, now time.Time) {
	g := &r.gateways[i]
	r.counters.reports.Add(1)
	switch l := r.backhauls[i]; {
	case l != nil:
		r.makeRoom()
		acked := l.acked.Load()
		r.air[i].acked = acked - r.acks[i]
		r.acks[i] = acked
		_ = l.push(g.appendStat(nil, r.air[i], now)) // counted
		r.air[i] = activity{pushed: 1}
		return
	case g.forwards == bridgeProto:
		r.mqtt.publish(g.topic("stats"), g.statsProto(r.air[i], now), r.stop)
	default:
		r.mqtt.publish(g.topic("stats"), g.statsJSON(r.air[i], now), r.stop)
	}
	r.air[i] = activity{}
}
