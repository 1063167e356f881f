package redis_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands before a server, and can hold or lose what that answers.
type proxy struct {
	listener net.Listener
	server   *server
	// lose: an answer to a script that is this one cuts the connection instead.
	lose atomic.Pointer[string]
	// hold: answers stop here until it is closed.
	hold   atomic.Pointer[chan struct{}]
	open   sync.WaitGroup
	cancel context.CancelFunc
	ctx    context.Context //nolint:containedctx // ends the connections
}

func startProxy(t testing.TB, s *server) *proxy {
	t.Helper()
	var l net.ListenConfig
	listener, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, server: s}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.open.Go(p.accept)
	t.Cleanup(func() {
		p.cancel()
		require.NoError(t, listener.Close())
		p.open.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.open.Go(func() { p.serve(c) })
	}
}

// serve copies between a client and the server.
func (p *proxy) serve(client net.Conn) {
	var d net.Dialer
	server, err := d.DialContext(p.ctx, networkOf(p.server.address), p.server.address)
	if err != nil {
		_ = client.Close() // as the server would
		return
	}
	ctx, cancel := context.WithCancel(p.ctx)
	stop := context.AfterFunc(ctx, func() { _, _ = client.Close(), server.Close() })
	defer stop()
	var cut atomic.Bool
	var both sync.WaitGroup
	both.Go(func() {
		defer cancel()
		p.requests(server, client, &cut)
	})
	both.Go(func() {
		defer cancel()
		p.answers(ctx, client, server, &cut)
	})
	both.Wait()
}

func (p *proxy) requests(to io.Writer, from io.Reader, cut *atomic.Bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if name := p.lose.Load(); name != nil && bytes.Contains(buffer[:n], []byte(*name)) {
			cut.Store(true)
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) answers(ctx context.Context, to io.Writer, from io.Reader, cut *atomic.Bool) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || cut.Load() {
			return
		}
		if hold := p.hold.Load(); hold != nil {
			select {
			case <-*hold:
			case <-ctx.Done():
				return
			}
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
