package httpapi

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/events"
)

// Options say what is served and how much at a time. The zero Options work.
type Options struct {
	// Ingest takes the batches of POST /v1/kv-events. nil: the route is 501.
	Ingest Ingest
	// Engines are told by GET /v1/state.
	Engines []events.Endpoint
	// Token, if not empty, has to come as "Authorization: Bearer TOKEN" with every
	// request but GET /healthz.
	Token string
	// Unavailable are errors by which an index says that what it needs is away, as
	// a server in the network: 503, ask again later.
	Unavailable []error
	// Collectors are published beside the index's own metrics.
	Collectors []prometheus.Collector
	// Log takes what went wrong on our side. nil: nothing is logged.
	Log *slog.Logger

	// MaxBatchBytes and MaxQueryBytes bound the bodies of /v1/kv-events (64 MiB)
	// and /v1/match (4 MiB).
	MaxBatchBytes, MaxQueryBytes int64
	// MaxBatches (4), MaxQueries (64) and MaxStreams (32) bound how many requests
	// for events, for answers, and for state and changes are served at a time.
	MaxBatches, MaxQueries, MaxStreams int
	// MaxWait is how long a request waits for its turn, 2 s. Then it is 503.
	MaxWait time.Duration
	// Timeout bounds a request that is not a stream, 30 s.
	Timeout time.Duration
	// StallTimeout bounds how long the reader of a stream may take nothing: 15 s.
	StallTimeout time.Duration
	// Heartbeat is how often a watch without changes says that it lives: 10 s.
	Heartbeat time.Duration
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ensure(&o.MaxBatchBytes, 64<<20)
	ensure(&o.MaxQueryBytes, 4<<20)
	ensure(&o.MaxBatches, 4)
	ensure(&o.MaxQueries, 64)
	ensure(&o.MaxStreams, 32)
	ensure(&o.MaxWait, 2*time.Second)
	ensure(&o.Timeout, 30*time.Second)
	ensure(&o.StallTimeout, 15*time.Second)
	ensure(&o.Heartbeat, 10*time.Second)
}

func ensure[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Validate returns everything that is wrong, as ErrInvalid.
func (o *Options) Validate() error {
	var all []error
	for name, v := range map[string]int64{
		"bytes in a batch": o.MaxBatchBytes, "bytes in a query": o.MaxQueryBytes,
		"batches": int64(o.MaxBatches), "queries": int64(o.MaxQueries), "streams": int64(o.MaxStreams),
		"wait": int64(o.MaxWait), "timeout": int64(o.Timeout), "stall timeout": int64(o.StallTimeout), "heartbeat": int64(o.Heartbeat),
	} {
		if v < 0 {
			all = append(all, fmt.Errorf("httpapi: limit of %s: %d: want more than 0: %w", name, v, kvferry.ErrInvalid))
		}
	}
	return errors.Join(all...)
}
