package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// inner is a listener for parts of the process itself. What they say does not leave the process: so it needs neither
// TLS, whose certificate is for the name that devices use, nor a certificate of a client.
type inner struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newInner() *inner { return &inner{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (l *inner) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *inner) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *inner) Addr() net.Addr { return innerAddr{} }

type innerAddr struct{}

// Network implements net.Addr.
func (innerAddr) Network() string { return "pipe" }

// String implements net.Addr.
func (innerAddr) String() string { return "this process" }

// Dial makes a connection from within the process, without TLS. It waits until the broker runs, or ctx ends; whoever
// dials says who it is as everybody does, see Door.Own.
func (b *Broker) Dial(ctx context.Context) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case b.inner.conns <- there:
		return here, nil
	case <-b.inner.closed:
		return nil, fmt.Errorf("connect to the embedded broker: %w", net.ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("connect to the embedded broker: %w", ctx.Err())
	}
}
