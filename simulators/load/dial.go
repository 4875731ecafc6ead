package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"
)

// A socket can be read and written without waiting for it.
type socket interface {
	net.Conn
	syscall.Conn
}

// dial makes the connection once. At QoS 1 the session is kept, so that what is unacknowledged may
// be sent again.
func (c *connection) dial(ctx context.Context, clean bool) (socket, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	tcp, err := dialer.DialContext(ctx, "tcp", c.o.Broker)
	if err != nil {
		return nil, err
	}
	n := tcp.(socket)
	if c.o.TLS != nil {
		if n, err = c.secure(ctx, tcp); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", c.o.Broker, err)
		}
	}
	deadline, _ := ctx.Deadline()
	if err := errors.Join(n.SetDeadline(deadline), handshake(n, c, clean), n.SetDeadline(time.Time{})); err != nil {
		_ = n.Close()
		return nil, fmt.Errorf("connect to %s: %w", c.o.Broker, err)
	}
	return n, nil
}

// secure speaks TLS over tcp, and has what is said in clear go through a socket of this machine: TLS cannot be
// read without waiting for it. The copying is the generator's cost, some microseconds a batch of messages.
func (c *connection) secure(ctx context.Context, tcp net.Conn) (socket, error) {
	settings := c.o.TLS.Clone()
	if settings.ServerName == "" {
		settings.ServerName, _, _ = net.SplitHostPort(c.o.Broker)
	}
	outer := tls.Client(tcp, settings)
	if err := outer.HandshakeContext(ctx); err != nil {
		_ = tcp.Close()
		return nil, err
	}
	inner, own, err := socketPair()
	if err != nil {
		_ = outer.Close()
		return nil, err
	}
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // whoever reads inner hears of the end, and that is all that can be said of it
		_ = to.Close()
		_ = from.Close()
	}
	go pass(outer, own)
	go pass(own, outer)
	return inner, nil
}

// socketPair is both ends of a connection within the process.
func socketPair() (a, b socket, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	var ends [2]socket
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		conn, errConn := net.FileConn(f) // which has a descriptor of its own
		err = errors.Join(err, errConn, f.Close())
		if errConn == nil {
			ends[i] = conn.(socket)
		}
	}
	if err != nil {
		for _, e := range ends {
			if e != nil {
				_ = e.Close()
			}
		}
		return nil, nil, fmt.Errorf("make a pair of sockets: %w", err)
	}
	return ends[0], ends[1], nil
}

func handshake(n net.Conn, c *connection, clean bool) error {
	if _, err := n.Write(appendConnect(nil, c.clientID, c.o.Username, c.o.Password, clean)); err != nil {
		return fmt.Errorf("write connect: %w", err)
	}
	return readConnack(n)
}

// seek dials until it succeeds, ctx ends or the broker refuses for good. It reads only what never
// changes of the connection.
func (c *connection) seek(ctx context.Context) (socket, error) {
	var last error
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		n, err := c.dial(ctx, c.o.QoS == 0)
		if err == nil {
			return n, nil
		}
		if last == nil || ctx.Err() == nil {
			last = err // else it only says that the time is up
		}
		if refusal, ok := errors.AsType[*refusedError](err); ok && refusal.lasting() {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

type dialResult struct {
	net socket
	err error
}

// take makes n the connection's.
func (c *connection) take(n socket) error {
	c.net = n
	c.held, c.pinged, c.pong = 0, false, false
	c.connected.Store(true)
	return c.io.attach(n)
}

// redial seeks the broker in the background, until it is found or given up.
func (c *connection) redial(s *schedule) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.intake))
	result := make(chan dialResult, 1)
	c.dialed, c.giveUp = result, cancel
	s.away.Go(func() {
		defer cancel()
		select { // connections lost together do not come back all at once
		case <-ctx.Done():
		case <-time.After(rand.N(100 * time.Millisecond)):
		}
		n, err := c.seek(ctx)
		result <- dialResult{n, err}
	})
}

// resume reports whether the connection stands again; if so, what is unacknowledged is to be
// written again, with DUP set.
func (c *connection) resume() bool {
	select {
	case r := <-c.dialed:
		c.dialed = nil
		if r.err == nil {
			r.err = c.take(r.net)
		}
		if r.err != nil {
			c.note(r.err)
			c.done = true
			return false
		}
	default:
		return false
	}
	c.reconnects++
	c.out, c.wrote = c.out[:0], 0
	for i := range c.slots {
		if c.slots[i].sent >= 0 {
			c.out = c.enc.append(c.out, c.slots[i].message, uint16(i+1), true)
			c.resent++
		}
	}
	return true
}

func (c *connection) drop(err error) {
	c.connected.Store(false)
	_ = c.net.Close()
	c.note(err)
}

func (c *connection) note(err error) {
	c.troubles++
	if c.trouble == nil {
		c.trouble = err
	}
}

// leave ends a session that has nothing left to say and, in the background, has the broker forget it.
func (c *connection) leave(s *schedule) {
	c.done = true
	c.connected.Store(false)
	s.away.Go(func() {
		_ = c.net.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.net.Write([]byte{packetDisconnect, 0})
		_ = c.net.Close()
		if c.o.QoS == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if n, err := c.dial(ctx, true); err == nil {
			_, _ = n.Write([]byte{packetDisconnect, 0})
			_ = n.Close()
		}
	})
}

// rawIO reads and writes a socket without ever waiting for it.
type rawIO struct {
	raw    syscall.RawConn
	buf    []byte
	n      int
	err    error
	reads  func(fd uintptr) bool
	writes func(fd uintptr) bool
}

func (r *rawIO) attach(n socket) error {
	raw, err := n.SyscallConn()
	if err != nil {
		return fmt.Errorf("raw connection: %w", err)
	}
	r.raw = raw
	r.reads = func(fd uintptr) bool { r.n, r.err = syscall.Read(int(fd), r.buf); return true }
	r.writes = func(fd uintptr) bool { r.n, r.err = syscall.Write(int(fd), r.buf); return true }
	return nil
}

// read returns 0 where there is nothing to read yet, and io.EOF at the end.
func (r *rawIO) read(b []byte) (int, error) {
	r.buf = b
	n, err := r.result(r.raw.Read(r.reads))
	if n == 0 && err == nil && r.err == nil {
		return 0, io.EOF
	}
	return n, err
}

// write returns 0 where the socket is full.
func (r *rawIO) write(b []byte) (int, error) {
	r.buf = b
	return r.result(r.raw.Write(r.writes))
}

func (r *rawIO) result(err error) (int, error) {
	switch {
	case err != nil:
		return 0, err
	case errors.Is(r.err, syscall.EAGAIN), errors.Is(r.err, syscall.EINTR):
		return 0, nil
	case r.err != nil:
		return 0, r.err
	}
	return r.n, nil
}
