package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

var (
	_ index.Index  = (*Index)(nil)
	_ index.Joiner = (*Index)(nil)
)

// Index is a residency index in Redis. It is safe for concurrent use; several of
// them, in any processes, share what lies below one Prefix.
type Index struct {
	o       Options
	client  rueidis.Client
	single  bool // one server: all keys are in reach of every script
	logged  bool // every server kept a log when it was asked
	history string

	calls   chan struct{} // has one for each call that waits for the server
	closing atomic.Bool
	done    context.Context // ends with the Index
	end     context.CancelFunc
	workers sync.WaitGroup // goroutines of the Index

	scopes  scopeCache
	known   knownCache // in a cluster: which scopes and workers the server knows
	dead    chan string
	leases  leases // of workers that were announced here
	lapses  lapses // of them that ran out
	clock   serverClock
	put     *script
	written atomic.Uint64
	dials   atomic.Uint64 // connections that were made
	count   counters
}

// counters count what this Index was asked for since it was opened.
type counters struct {
	puts, removes, scans, locates, matches, cleared, expired atomic.Uint64
}

// Open connects to the server or cluster. It is ErrUnavailable if none answers
// in time, and ErrInvalid if the index there was made with other Rules.
func Open(ctx context.Context, o Options) (*Index, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	x := &Index{
		o: o, history: strconv.Itoa(o.History),
		calls: make(chan struct{}, o.InFlight), dead: make(chan string, 16),
		lapses: lapses{some: make(chan struct{}, 1)}, put: putScript,
	}
	x.done, x.end = context.WithCancel(context.Background())
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if err := x.connect(ctx); err != nil {
		x.end()
		return nil, err
	}
	x.single = x.client.Mode() != rueidis.ClientModeCluster
	if err := x.begin(ctx); err != nil {
		x.end()
		x.client.Close()
		return nil, err
	}
	x.workers.Go(x.reapDead)
	if x.renews() {
		x.workers.Go(x.renew)
	}
	return x, nil
}

// connect makes the client, whose first connection is made at once.
func (x *Index) connect(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		client, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: x.o.Addresses, Username: x.o.Username, Password: x.o.Password, SelectDB: x.o.Database,
			TLSConfig: x.o.TLS, ClientName: "kvferry", DialCtxFn: x.dial,
			// What may be tried again is decided here, see try.
			DisableRetry: true,
			DisableCache: !x.o.AllowStaleReads,
		})
		if err == nil {
			x.client = client
			return nil
		}
		wait, err := x.judge("open", false, err, new(bool))
		if !wait || !pause(ctx, attempt) {
			return err
		}
	}
}

// dial makes one connection, which counts what is written.
func (x *Index) dial(ctx context.Context, address string, d *net.Dialer, config *tls.Config) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	dialer := *d
	dialer.Timeout = min(x.o.Timeout, d.Timeout)
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, &dialError{err}
	}
	x.dials.Add(1)
	counted := &countingConn{Conn: conn, written: &x.written}
	if config == nil {
		return counted, nil
	}
	secure := tls.Client(counted, named(config, address))
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &dialError{errors.Join(err, conn.Close())}
	}
	return secure, nil
}

// named is the configuration with the server's name, which the certificate has to
// have, from its address unless it is set.
func named(config *tls.Config, address string) *tls.Config {
	c := config.Clone()
	if host, _, err := net.SplitHostPort(address); err == nil && c.ServerName == "" {
		c.ServerName = host
	}
	return c
}

// countingConn counts the bytes that are handed to the server.
type countingConn struct {
	net.Conn
	written *atomic.Uint64
}

// Write implements net.Conn.
func (c *countingConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(uint64(max(n, 0)))
	return n, err
}

// layout is the version of the keys.
const layout = "2"

// begin looks whether the index there is one that this Index can share.
func (x *Index) begin(ctx context.Context) error {
	want, key := layout+" "+x.o.Rules.String(), x.base("*")+"v"
	if err := x.checkServer(ctx); err != nil {
		return err
	}
	_, err := x.try(ctx, "open", false, nil, func(bool) rueidis.Completed { return x.client.B().Setnx().Key(key).Value(want).Build() })
	if err != nil {
		return err
	}
	m, err := x.send(ctx, "open", func() rueidis.Completed { return x.client.B().Get().Key(key).Build() })
	if err != nil {
		return err
	}
	got, err := m.ToString()
	if err != nil {
		return err
	}
	if got == want {
		if x.single {
			_, err = x.newest(ctx, "open", "")
		}
		return err
	}
	version, rules, ok := strings.Cut(got, " ")
	switch {
	case !ok || rules == "":
		return corrupt("open", fmt.Sprintf("version %.40q", got))
	case version != layout:
		return fmt.Errorf("index/redis: the index below %q has version %.40q, this program knows %s: %w", x.o.Prefix, version, layout, kvferry.ErrUnsupported)
	}
	return fmt.Errorf("index/redis: the index below %q has the rules %.40q, not %v: %w", x.o.Prefix, rules, x.o.Rules, kvferry.ErrInvalid)
}

// checkServer refuses a server that is too old, or that would drop keys of the
// index by itself. A user that may not ask is trusted to know.
func (x *Index) checkServer(ctx context.Context) error {
	m, err := x.send(ctx, "open", func() rueidis.Completed { return x.client.B().Info().Build() })
	if errors.Is(err, ErrDenied) {
		x.logged = true
		_, err = x.send(ctx, "open", func() rueidis.Completed { return x.client.B().Get().Key(x.base("*") + "v").Build() })
		return err
	}
	if err != nil {
		return err
	}
	text, err := m.ToString()
	if err != nil {
		return corrupt("open", "INFO")
	}
	texts := []string{text}
	if !x.single {
		for _, node := range x.client.Nodes() {
			// One that is away now is not waited for: another takes its place.
			if text, err := node.Do(ctx, node.B().Info().Build()).ToString(); err == nil {
				texts = append(texts, text)
			}
		}
	}
	x.logged = true
	for _, text := range texts {
		if err := checkInfo(text); err != nil {
			return err
		}
		x.logged = x.logged && strings.Contains(text, "aof_enabled:1")
	}
	return nil
}

// oldest is the oldest major version of servers that know all that scripts need.
const oldest = 7

func checkInfo(text string) error {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		major, _, _ := strings.Cut(value, ".")
		n, err := strconv.Atoi(major)
		switch {
		case name == "redis_version" && err == nil && n < oldest:
			return fmt.Errorf("index/redis: the server is Redis %.20q, at least 7.0 is needed: %w", value, kvferry.ErrUnsupported)
		case name == "maxmemory_policy" && strings.HasPrefix(value, "allkeys"):
			return fmt.Errorf("index/redis: the server evicts any key when its memory is full, which an index does not survive: set maxmemory-policy to noeviction: %w", kvferry.ErrInvalid)
		}
	}
	return nil
}

// Info implements index.Keeper. It is persistent if the server keeps a log
// (appendonly), for all that Index can know: snapshots lose what is behind them.
func (x *Index) Info() index.Info {
	return index.Info{Name: "redis", Persistent: x.logged, Shared: true, Rules: x.o.Rules}
}

// enter begins a call: it waits for one of the places that bound how many are
// under way. leave gives it back.
func (x *Index) enter(ctx context.Context) error {
	err := ctx.Err()
	if err == nil && !x.closing.Load() {
		select {
		case x.calls <- struct{}{}:
			if !x.closing.Load() {
				return nil
			}
			x.leave()
		case <-ctx.Done():
			err = ctx.Err()
		case <-x.done.Done():
		}
	}
	if x.closing.Load() {
		err = kvferry.ErrClosed
	}
	return fmt.Errorf("index/redis: %w", err)
}

func (x *Index) leave() { <-x.calls }

// Close ends watchers, waits for calls that are under way and lets go of the
// connections. What lies in the server stays.
func (x *Index) Close() error {
	if x.closing.Swap(true) {
		return nil
	}
	x.end()
	x.workers.Wait()
	for range cap(x.calls) {
		x.calls <- struct{}{}
	}
	x.client.Close()
	return nil
}
