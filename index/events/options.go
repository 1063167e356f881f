package events

import (
	"errors"
	"fmt"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

// Source is where an engine publishes. Ranks that publish at ports of their own are
// sources of Subscribers of their own: with one Name, each knows its rank by the
// batches. Two sources of one Subscriber cannot be of one engine.
type Source struct {
	Engine
	// Endpoint is "tcp://host:port" or "ipc://path".
	Endpoint string
	// Bind: the engine connects to Endpoint, as vLLM does unless its endpoint has
	// "*" for a host. Else we connect.
	Bind bool
	// Replay is the endpoint of the engine's ROUTER socket for batches that were
	// missed; "": there is none, and a gap clears the worker.
	Replay string
	// Topic is what topics must begin with.
	Topic string
	// WorkerFromTopic: topics are "kv@worker@model", as llm-d has them, and several
	// engines may publish here. Name and Model are not looked at. Messages with
	// other topics are counted and dropped. Without it all messages are of one
	// engine, whatever their topics.
	WorkerFromTopic bool
}

// Options are those of a Subscriber. All but Sources may be zero.
type Options struct {
	Sources []Source
	// MessageBytes is the longest message that is taken. 0: 256 MiB.
	MessageBytes int
	// A source that is away is tried again after BackoffMin (0: 100 ms), then after
	// twice as long each time, up to BackoffMax (0: 10 s).
	BackoffMin, BackoffMax time.Duration
	// Heartbeat is the silence after which a publisher is asked whether it is still
	// there. 0: 10 s. After three of them without an answer the connection is ended.
	Heartbeat time.Duration
	// Away is for how long a publisher may be away before its workers are cleared,
	// whoever else publishes at the same source. In an index.Joiner they are let go
	// instead: others may follow them still. 0: for ever; they are cleared when
	// it comes back as another, or when there are more than 1,024 at a source.
	Away time.Duration
	// Silent is for how long a publisher of a source with WorkerFromTopic may say
	// nothing, though its connection is there, which may be that of a proxy. It is
	// as Away. 0: for ever.
	Silent time.Duration
	// Lease is how long a worker lives in an index.Joiner after everybody has let go
	// of it: for so long it is remembered what it had. 0: 30 s.
	Lease time.Duration
	// ReplayTimeout bounds one replay. 0: 30 s. After one that failed none is tried
	// for as long, then for twice as long, up to 16 times.
	ReplayTimeout time.Duration
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	o.MessageBytes = orDefault(o.MessageBytes, 256<<20)
	o.BackoffMin = orDefault(o.BackoffMin, 100*time.Millisecond)
	o.BackoffMax = max(orDefault(o.BackoffMax, 10*time.Second), o.BackoffMin)
	o.Heartbeat = orDefault(o.Heartbeat, 10*time.Second)
	o.Lease = orDefault(o.Lease, 30*time.Second)
	o.ReplayTimeout = orDefault(o.ReplayTimeout, 30*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// Validate returns ErrInvalid for options that cannot be.
func (o *Options) Validate() error {
	var errs []error
	if o.MessageBytes < 0 || o.BackoffMin < 0 || o.BackoffMax < 0 || o.Heartbeat < 0 || o.Away < 0 || o.Silent < 0 || o.Lease < 0 || o.ReplayTimeout < 0 {
		errs = append(errs, fmt.Errorf("events: a negative option: %w", kvferry.ErrInvalid))
	}
	workers := map[string]bool{}
	for i := range o.Sources {
		s := &o.Sources[i]
		if _, _, err := zmtp.Address(s.Endpoint); err != nil {
			errs = append(errs, fmt.Errorf("events: source %q: %w", s.Name, err))
		}
		if s.Replay != "" {
			if _, _, err := zmtp.Address(s.Replay); err != nil {
				errs = append(errs, fmt.Errorf("events: replay of source %q: %w", s.Name, err))
			}
		}
		if s.WorkerFromTopic {
			continue
		}
		if err := CheckName(s.Name); err != nil {
			errs = append(errs, err)
		}
		if workers[s.Name] {
			errs = append(errs, fmt.Errorf("events: two sources for the worker %q: %w", s.Name, kvferry.ErrInvalid))
		}
		workers[s.Name] = true
	}
	return errors.Join(errs...)
}

func (o *Options) limits() zmtp.Limits {
	return zmtp.Limits{MessageBytes: o.MessageBytes, Handshake: 5 * time.Second, Heartbeat: o.Heartbeat, Silence: 3 * o.Heartbeat}
}
