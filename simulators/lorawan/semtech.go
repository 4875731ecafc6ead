package lorawan

import (
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

// Datagrams of Semtech's packet forwarder, protocol version 2.
const (
	protocolVersion = 2
	pushData        = 0
	pushAck         = 1
	pullData        = 2
	pullAck         = 4

	maxPackets = 8 // of one datagram, as many as a gateway's concentrator hears at once
)

// header appends the 12 bytes that a gateway's datagrams begin with.
func header(b []byte, token uint16, op byte, eui uint64) []byte {
	b = append(b, protocolVersion, byte(token>>8), byte(token), op)
	return binary.BigEndian.AppendUint64(b, eui)
}

// appendPacket appends the rxpk of u as r hears it.
func (g *gateway) appendPacket(b []byte, u *uplink, r *reception) []byte {
	b = append(b, '{')
	if g.clock {
		b = append(b, `"time":"`...)
		b = u.at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
		b = append(b, `",`...)
	}
	b = append(b, `"tmst":`...)
	b = strconv.AppendUint(b, uint64(uint32(u.at.UnixMicro()+int64(g.index)*1_000_003)), 10)
	b = append(b, `,"chan":`...)
	b = strconv.AppendInt(b, int64(u.channel), 10)
	b = append(b, `,"rfch":0,"freq":`...)
	b = strconv.AppendFloat(b, float64(channels[u.channel])/1e6, 'f', 6, 64)
	b = append(b, `,"stat":1,"modu":"LORA","datr":"SF`...)
	b = strconv.AppendInt(b, int64(u.sf), 10)
	b = append(b, `BW125","codr":"4/5","lsnr":`...)
	b = strconv.AppendFloat(b, r.snr, 'f', -1, 64)
	b = append(b, `,"rssi":`...)
	b = strconv.AppendFloat(b, r.rssi, 'f', -1, 64)
	b = append(b, `,"size":`...)
	b = strconv.AppendInt(b, int64(len(u.phy)), 10)
	b = append(b, `,"data":"`...)
	b = base64.StdEncoding.AppendEncode(b, u.phy)
	return append(b, `"}`...)
}

// activity is what a gateway's status tells, since the last one.
type activity struct {
	heard, pushed, acked int64
}

// appendStat appends a status report.
func (g *gateway) appendStat(b []byte, a activity, now time.Time) []byte {
	acked := 100.0
	if a.pushed > 0 {
		acked = 100 * float64(a.acked) / float64(a.pushed)
	}
	return fmt.Appendf(b, `{"stat":{"time":"%s","lati":%.5f,"long":%.5f,"alti":%.0f,"rxnb":%d,"rxok":%d,"rxfw":%d,"ackr":%.1f,"dwnb":0,"txnb":0,"pfrm":"Panormus simulator"}}`,
		now.UTC().Format("2006-01-02 15:04:05 GMT"), g.place.Lat, g.place.Lon, g.altitudeM, a.heard, a.heard, a.heard, acked)
}

// A backhaul is the UDP socket of one packet forwarder.
type backhaul struct {
	conn     *net.UDPConn
	eui      uint64
	counters *counters
	acked    atomic.Int64 // PUSH_ACKs

	mu      sync.Mutex
	token   uint16
	pending map[uint16]struct{} // tokens of PUSH_DATA that wait for their PUSH_ACK
}

func dialBackhaul(addr string, eui uint64, c *counters) (*backhaul, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("simulate: UDP address %q: %w", addr, err)
	}
	conn, err := net.DialUDP("udp", nil, to)
	if err != nil {
		return nil, fmt.Errorf("simulate: UDP to %s: %w", addr, err)
	}
	return &backhaul{conn: conn, eui: eui, counters: c, pending: map[uint16]struct{}{}}, nil
}

// push sends a PUSH_DATA with JSON.
func (l *backhaul) push(json []byte) error {
	l.mu.Lock()
	l.token++
	token := l.token
	l.pending[token] = struct{}{}
	l.mu.Unlock()
	l.counters.datagrams.Add(1)
	err := l.write(append(header(make([]byte, 0, 12+len(json)), token, pushData, l.eui), json...))
	if err != nil {
		l.counters.errors.Add(1)
	}
	return err
}

// keepAlive sends a PULL_DATA.
func (l *backhaul) keepAlive() {
	l.mu.Lock()
	l.token++
	token := l.token
	l.mu.Unlock()
	if err := l.write(header(nil, token, pullData, l.eui)); err != nil {
		l.counters.errors.Add(1)
		return
	}
	l.counters.pulls.Add(1)
}

// write sends b. A refusal is news of an earlier datagram, so b is sent once more.
func (l *backhaul) write(b []byte) error {
	_, err := l.conn.Write(b)
	if errors.Is(err, syscall.ECONNREFUSED) {
		_, err = l.conn.Write(b)
	}
	return err
}

// read counts acknowledgements until the socket is closed. Downlinks are not for these nodes.
func (l *backhaul) read() {
	b := make([]byte, 4096)
	for {
		n, err := l.conn.Read(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 4 || b[0] != protocolVersion {
			continue // a refusal; the next datagram may get through
		}
		switch token := binary.BigEndian.Uint16(b[1:]); b[3] {
		case pushAck:
			l.mu.Lock()
			_, ours := l.pending[token]
			delete(l.pending, token)
			l.mu.Unlock()
			if ours {
				l.acked.Add(1)
				l.counters.acked.Add(1)
			}
		case pullAck:
			l.counters.pullAcks.Add(1)
		}
	}
}

// waiting is how many datagrams have not been acknowledged.
func (l *backhaul) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pending)
}
