package events

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

// maxConns is how many connections a source that binds has at once; one more
// waits.
const maxConns = 64

// Subscriber takes the events of engines from their sockets into an index, until
// Close. It should be closed before the index: with a closed index, it does nothing
// any more.
type Subscriber struct {
	sources []*source
	count   counters
	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Subscribe starts a Subscriber. It returns as soon as sources that bind are
// bound: that a publisher is away is no error.
func Subscribe(x index.Index, o Options) (*Subscriber, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Subscriber{cancel: cancel}
	for i := range o.Sources {
		src := newSource(x, o.Sources[i], &o, &s.count)
		if src.conf.Bind {
			if err := src.listen(ctx); err != nil {
				return nil, errors.Join(fmt.Errorf("events: source %q: %w", src.conf.Name, err), s.Close())
			}
		}
		s.sources = append(s.sources, src)
	}
	for _, src := range s.sources {
		s.running.Go(func() { src.run(ctx) })
		if o.Away > 0 || o.Silent > 0 {
			s.running.Go(func() { src.watchAway(ctx) })
		}
	}
	return s, nil
}

// Stats returns counts of all sources.
func (s *Subscriber) Stats() Stats { return s.count.stats() }

// Addr returns the address that source i is bound to, for one with port 0; nil if
// it does not bind.
func (s *Subscriber) Addr(i int) net.Addr {
	if s.sources[i].listener == nil {
		return nil
	}
	return s.sources[i].listener.Addr()
}

// Close ends all connections and waits for what is being written to the index.
// What the workers have stays; in an index.Joiner as long as somebody else keeps
// them alive, or until their leases end.
func (s *Subscriber) Close() error {
	s.cancel()
	var err error
	for _, src := range s.sources {
		if src.listener != nil {
			if e := src.listener.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
				err = errors.Join(err, e)
			}
		}
	}
	s.running.Wait()
	for _, src := range s.sources {
		for _, st := range src.all() {
			st.mu.Lock()
			st.in.leave()
			st.mu.Unlock()
		}
	}
	return err
}

// Lapsed implements Follower.
func (s *Subscriber) Lapsed(ctx context.Context, workers []string) error {
	for _, src := range s.sources {
		for _, st := range src.all() {
			if err := st.lapsed(ctx, workers); err != nil {
				return err
			}
		}
	}
	return nil
}

// run keeps a source connected until ctx ends.
func (s *source) run(ctx context.Context) {
	if s.conf.Bind {
		s.accept(ctx)
		return
	}
	backoff := s.o.BackoffMin
	for ctx.Err() == nil && !s.ended.Load() {
		c, err := zmtp.Dial(ctx, s.conf.Endpoint, "SUB", s.o.limits())
		if err == nil {
			if s.serve(ctx, c) {
				backoff = s.o.BackoffMin
			}
		}
		if !sleep(ctx, backoff) {
			return
		}
		backoff = min(2*backoff, s.o.BackoffMax)
	}
}

func (s *source) listen(ctx context.Context) error {
	network, address, err := zmtp.Address(s.conf.Endpoint)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	s.listener, err = lc.Listen(ctx, network, address)
	if network == "unix" && errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, address) {
		if err := os.Remove(address); err != nil {
			return err
		}
		s.listener, err = lc.Listen(ctx, network, address)
	}
	return err
}

// abandoned reports whether a path is a socket that nobody listens at any more:
// that of a process that was killed.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return false
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = c.Close() // nothing was said
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// accept serves the connections of a source that binds.
func (s *source) accept(ctx context.Context) {
	var conns sync.WaitGroup
	defer conns.Wait()
	slots := make(chan struct{}, maxConns)
	for {
		nc, err := s.listener.Accept()
		if ctx.Err() != nil || s.ended.Load() {
			if err == nil {
				_ = nc.Close() // nothing was said yet
			}
			return
		}
		if err != nil {
			if !sleep(ctx, s.o.BackoffMin) {
				return
			}
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			_ = nc.Close()
			return
		}
		conns.Go(func() {
			defer func() { <-slots }()
			stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
			defer stop()
			if c, err := zmtp.Handshake(nc, "SUB", s.o.limits()); err == nil {
				s.serve(ctx, c)
			}
		})
	}
}
