package redis

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

const (
	// DefaultPrefix begins the name of every key, if not said otherwise.
	DefaultPrefix = "kvferry:"
	// DefaultLease is how long an announcement holds, if not said otherwise.
	DefaultLease = 30 * time.Second
	// NoLease lets announcements hold for ever.
	NoLease = time.Duration(-1)
	// DefaultTimeout bounds one step of a call, if not said otherwise.
	DefaultTimeout = 10 * time.Second
	// DefaultInFlight is how many calls of one Index may wait for the server at once.
	DefaultInFlight = 256
)

// Options are what Open takes. Addresses must be set.
type Options struct {
	index.Options

	// Addresses are host:port or the path of a Unix socket: one server, or some
	// nodes of a cluster, which tell of the others.
	Addresses []string
	Username  string
	Password  string
	TLS       *tls.Config // nil: no TLS
	Database  int         // of a single server

	// Prefix begins the name of every key, so that several indexes share a
	// server. It has no braces. "": DefaultPrefix.
	Prefix string
	// Lease is how long an announcement holds. 0: DefaultLease.
	Lease time.Duration
	// Renew renews the leases of the workers that this Index announced, until Close,
	// or until it clears the worker: then from its next Put on. One that ran out
	// nevertheless, because the server was away for longer, is begun again.
	Renew bool
	// Timeout bounds every step of a call, waiting for a server that is away
	// included. 0: DefaultTimeout.
	Timeout time.Duration
	// InFlight is how many calls may wait for the server at once; further ones
	// wait before they have built their commands. 0: DefaultInFlight.
	InFlight int
	// AllowStaleReads lets Locate answer from a cache that the server
	// invalidates with every write in the scope: it may not see a write that
	// returned a moment ago.
	AllowStaleReads bool
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	o.Options.EnsureDefaults()
	if o.Prefix == "" {
		o.Prefix = DefaultPrefix
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
}

// Validate returns ErrInvalid for options that cannot be.
func (o *Options) Validate() error {
	switch {
	case len(o.Addresses) == 0:
		return fmt.Errorf("index/redis: no address of a server: %w", kvferry.ErrInvalid)
	case strings.ContainsAny(o.Prefix, "{}"):
		return fmt.Errorf("index/redis: prefix %q with a brace, which decides where a cluster keeps a key: %w", o.Prefix, kvferry.ErrInvalid)
	case o.Lease != NoLease && o.Lease < time.Millisecond:
		return fmt.Errorf("index/redis: lease of %v, at least 1ms: %w", o.Lease, kvferry.ErrInvalid)
	case o.Timeout < 0 || o.InFlight < 0 || o.Database < 0:
		return fmt.Errorf("index/redis: negative timeout, number of calls or database: %w", kvferry.ErrInvalid)
	}
	return o.Options.Validate()
}
