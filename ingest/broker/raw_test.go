package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// raw is an MQTT client that does just what it is told.
type raw struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	v5   bool
}

func dial(t *testing.T, b *Broker) *raw {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &raw{t: t, conn: c, r: bufio.NewReader(c)}
}

func str(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func packet(first byte, parts ...[]byte) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	b := []byte{first}
	for n := len(body); ; {
		if n < 128 {
			b = append(b, byte(n))
			break
		}
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, body...)
}

func (c *raw) send(b ...[]byte) {
	c.t.Helper()
	for _, b := range b {
		if _, err := c.conn.Write(b); err != nil {
			c.t.Fatal(err)
		}
	}
}

func connectPacket(id string, version byte, clean bool, user, password string) []byte {
	flags := byte(0)
	if clean {
		flags |= 2
	}
	var tail [][]byte
	if user != "" {
		flags |= 0xc0
		tail = [][]byte{str(user), str(password)}
	}
	parts := [][]byte{str("MQTT"), {version, flags, 0, 60}}
	if version == 5 {
		if clean {
			parts = append(parts, []byte{0})
		} else {
			parts = append(parts, []byte{5, 0x11, 0, 0, 1, 0}) // session expiry 256 s
		}
	}
	parts = append(parts, str(id))
	return packet(0x10, append(parts, tail...)...)
}

// connect says hello and returns the reason of the answer.
func (c *raw) connect(id string, version byte, clean bool) byte {
	c.t.Helper()
	c.v5 = version == 5
	c.send(connectPacket(id, version, clean, "", ""))
	return c.expect(0x20)[1]
}

// publish makes a PUBLISH; properties are those of MQTT 5.
func (c *raw) publish(topic, payload string, qos byte, id uint16, flags byte, properties ...byte) []byte {
	parts := [][]byte{str(topic)}
	if qos > 0 {
		parts = append(parts, binary.BigEndian.AppendUint16(nil, id))
	}
	if c.v5 {
		parts = append(parts, append([]byte{byte(len(properties))}, properties...))
	}
	return packet(0x30|qos<<1|flags, append(parts, []byte(payload))...)
}

// read reads one packet; ok is false when nothing came in time.
func (c *raw) read(wait time.Duration) (first byte, body []byte, ok bool) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	first, err := c.r.ReadByte()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, nil, false
	}
	if err != nil {
		c.t.Fatalf("read: %v, want a packet", err)
	}
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		c.t.Fatal(err)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(c.r, body); err != nil {
		c.t.Fatal(err)
	}
	return first, body, true
}

// expect reads a packet that begins with first.
func (c *raw) expect(first byte) []byte {
	c.t.Helper()
	got, body, ok := c.read(time.Minute)
	if !ok || got != first {
		c.t.Fatalf("packet %02x %x (%v), want %02x", got, body, ok, first)
	}
	return body
}

// acked reads an acknowledgement and returns its packet id.
func (c *raw) acked(first byte) uint16 {
	c.t.Helper()
	return binary.BigEndian.Uint16(c.expect(first))
}

// gone waits until the broker has hung up.
func (c *raw) gone() {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		c.t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, c.r); errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the broker has not hung up after a minute")
	}
}
