package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/httpapi"
	"github.com/kvferry/kvferry/index/redis"
)

// indexServing is how an index is served.
type indexServing struct {
	listening

	config      string
	engines     []string
	flushEvery  time.Duration
	expireAfter time.Duration
	away        time.Duration
	awaySet     bool
	silent      time.Duration
	original    bool
}

// indexServed is the JSON document of index serve, printed when it ends.
type indexServed struct {
	Address   string       `json:"address"`
	Index     string       `json:"index"`
	Metrics   indexMetrics `json:"metrics"`
	Batches   uint64       `json:"batches"` // of events that were subscribed to
	Blocks    uint64       `json:"stored_blocks"`
	Gaps      uint64       `json:"gaps"`
	Undecoded uint64       `json:"undecoded"`
}

func (x *indexing) serveCommand() *cobra.Command {
	var s indexServing
	c := &cobra.Command{
		Use:   "serve [--listen ADDRESS] [--engine SPEC]… [--config FILE]",
		Short: "Feed an index with engines' events and answer over HTTP, until a signal ends it",
		Long: `Serve subscribes to the KV events of serving engines, takes others over HTTP, and
answers routers: POST /v1/match, GET /v1/locate, /v1/scan, /v1/state, /v1/watch,
/healthz, /metrics, and POST /v1/kv-events. It says on standard error which index it
serves, where it listens and to whom it subscribed. An index that cannot be opened is
an error; there is no other in its place.

An engine is id=NAME and, separated by commas, endpoint=tcp://HOST:PORT where it
publishes (with bind=true or a * for the host: where it connects to us),
replay=tcp://HOST:PORT where it repeats what was missed, topic=, ranks=N, model=,
tokenizer=, tenant=, bytes=4MiB and kind=vllm or sglang. A file in YAML or JSON has the same as

  engines:
    - {id: vllm-a, kind: vllm, endpoint: "tcp://10.0.0.1:5557",
       replay_endpoint: "tcp://10.0.0.1:5558", model_id: M, tokenizer_id: T, tenant_id: X}

With $KVFERRY_INDEX_TOKEN set, requests need it as "Authorization: Bearer TOKEN".`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			engines, err := s.check(x.lease)
			if err != nil {
				return err
			}
			x.renew, s.awaySet = true, c.Flags().Changed("away")
			return x.withIndex(c.Context(), true, func(i index.Index, u indexURL) error {
				if u.scheme == indexHTTP || u.scheme == indexHTTPS {
					return usage(fmt.Errorf("--index %s is served already", u))
				}
				out, err := x.serve(c.Context(), i, u, &s, engines)
				if err != nil {
					return err
				}
				return x.print(out, out.write)
			})
		},
	}
	f := c.Flags()
	s.add(f)
	f.StringVar(&s.config, "config", "", "`file` that names engines")
	f.StringArrayVar(&s.engines, "engine", nil, "an engine, as id=a,endpoint=tcp://host:5557,model=M; may be repeated")
	f.DurationVar(&s.flushEvery, "flush-every", time.Second, "how often what was written becomes durable; 0 is only at the end")
	f.DurationVar(&s.expireAfter, "expire-after", 0, "drop records that were not used for so long; 0 is never")
	f.DurationVar(&s.away, "away", 0, "drop what a publisher had that was away for so long; 0 is never: it is compared when it is back; if not given, --lease on Redis")
	f.DurationVar(&x.lease, "lease", redis.DefaultLease, "how long a worker lives on Redis when no server follows it any more")
	f.DurationVar(&s.silent, "silent", 0, "drop what a pod of workers_from_topics had that said nothing for so long, though its connection is there; 0 is never")
	f.BoolVar(&s.original, "as-original", false, "take batches over HTTP exactly as QuillCache does, its faults included")
	return c
}

// check returns the engines, or what of the command line cannot be.
func (s *indexServing) check(lease time.Duration) ([]engineConfig, error) {
	if err := s.listening.check(); err != nil {
		return nil, err
	}
	if lease <= 0 {
		return nil, usage(errors.New("--lease: want more than 0"))
	}
	if s.flushEvery < 0 || s.expireAfter < 0 || s.away < 0 || s.silent < 0 {
		return nil, usage(errors.New("--flush-every, --expire-after, --away and --silent: want 0 or more"))
	}
	return s.engineList()
}

// awayOn is how long a publisher may be away. On a shared index its worker lives as
// long as its lease is renewed here.
func (s *indexServing) awayOn(about index.Info, lease time.Duration) time.Duration {
	if about.Shared && !s.awaySet {
		return lease
	}
	return s.away
}

// serve serves until ctx ends, and makes everything durable then.
func (x *indexing) serve(ctx context.Context, i index.Index, u indexURL, s *indexServing, engines []engineConfig) (out indexServed, err error) {
	l, certificates, url, err := s.open(ctx)
	if err != nil {
		return out, fmt.Errorf("index serve: %w", err)
	}
	poison := watchPoison(i)
	if !i.Info().Shared {
		i = poison
	}
	s.away = s.awayOn(i.Info(), x.lease)
	subs, err := x.subscribe(i, s, engines)
	if err != nil {
		return out, errors.Join(typed(fmt.Errorf("index serve: %w", err)), l.Close())
	}
	h, intake, err := x.handler(i, s, engines, subs)
	if err != nil {
		return out, errors.Join(fmt.Errorf("index serve: %w", err), subs.Close(), l.Close())
	}
	out.Address, out.Index = url, u.String()
	if err := x.tell(&out, i, engines); err != nil {
		return out, errors.Join(err, subs.Close(), l.Close())
	}
	eg, ctx := errgroup.WithContext(ctx)
	eg.Go(func() error { return httpapi.Serve(ctx, l, h, certificates...) })
	eg.Go(func() error { return x.keep(ctx, i, s) })
	eg.Go(func() error { return poison.wait(ctx) })
	eg.Go(func() error { return events.FollowLeases(ctx, i, append(subs.followers(), intake)...) })
	err = errors.Join(eg.Wait(), subs.Close())
	intake.Close()
	last := context.WithoutCancel(ctx)
	if err := errors.Join(err, x.flush(last, i)); err != nil {
		return out, fmt.Errorf("index serve: %w", err)
	}
	m, err := i.Metrics(last)
	out.Metrics = indexMetrics(m)
	for _, v := range subs {
		n := v.Stats()
		out.Batches, out.Blocks, out.Gaps, out.Undecoded = out.Batches+n.Batches, out.Blocks+n.StoredBlocks, out.Gaps+n.Gaps, out.Undecoded+n.DecodeErrors
	}
	return out, err
}

// tell says what is served, before the first request is taken.
func (x *indexing) tell(out *indexServed, i index.Index, engines []engineConfig) error {
	who := "no engines"
	if len(engines) > 0 {
		names := make([]string, len(engines))
		for i := range engines {
			names[i] = engines[i].String()
		}
		who = count(len(engines), "engine") + ": " + strings.Join(names, ", ")
	}
	about := i.Info()
	kind := about.Name
	if about.Persistent {
		kind += ", persistent"
	}
	_, err := fmt.Fprintf(x.err, "kvferry: serving index %s (%s) on %s; %s\n", out.Index, kind, out.Address, who)
	return err
}

// handler answers over HTTP.
func (x *indexing) handler(i index.Index, s *indexServing, engines []engineConfig, subs subscriptions) (*httpapi.Handler, *events.Intake, error) {
	endpoints := make([]events.Endpoint, len(engines))
	for i := range engines {
		endpoints[i] = engines[i].endpoint()
	}
	intake := events.NewIntake(i, endpoints)
	o := httpapi.Options{Engines: endpoints, Ingest: intake.Ingest, Token: x.token(), Log: x.log, Unavailable: []error{redis.ErrUnavailable, redis.ErrDenied}}
	if s.original {
		o.Ingest = func(ctx context.Context, b *events.Batch) (events.Summary, error) {
			return events.IngestAsOriginal(ctx, i, b, endpoints)
		}
	}
	sources := map[string]func() events.Stats{}
	for _, v := range subs {
		sources[v.name] = v.Stats
	}
	sources["http"] = intake.Stats
	o.Collectors = []prometheus.Collector{httpapi.NewEventsCollector(sources)}
	h, err := httpapi.New(i, o)
	return h, intake, err
}

// keep makes what was written durable, and lets go of what is not used.
func (x *indexing) keep(ctx context.Context, i index.Index, s *indexServing) error {
	every := func(d time.Duration, do func() error) func() error {
		return func() error {
			if d == 0 {
				return nil
			}
			t := time.NewTicker(d)
			defer t.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-t.C:
					if err := do(); err != nil && ctx.Err() == nil {
						return err
					}
				}
			}
		}
	}
	eg, ctx := errgroup.WithContext(ctx) // the first that fails for good ends the other
	eg.Go(every(s.flushEvery, func() error { return x.temporary(x.flush(ctx, i)) }))
	eg.Go(every(min(s.expireAfter, max(s.expireAfter/16, time.Second)), func() error {
		n, err := i.Expire(ctx, uint64(time.Now().Add(-s.expireAfter).UnixMilli()))
		if n > 0 {
			x.log.Info("records expired", "records", n)
		}
		return x.temporary(err)
	}))
	return eg.Wait()
}

// temporary logs an error and returns it only if trying again is in vain. A server
// in the network that is away comes back; a disk that lost writes does not.
func (x *indexing) temporary(err error) error {
	if err == nil || errors.Is(err, kvferry.ErrPoisoned) || errors.Is(err, kvferry.ErrClosed) || errors.Is(err, kvferry.ErrCorrupt) {
		return err
	}
	x.log.Warn("the index could not do its upkeep; it is tried again", "error", err)
	return nil
}

func (s indexServed) write(w io.Writer) error {
	return facts(w,
		"served", s.Index,
		"resident", count(s.Metrics.ResidentBlocks, "block"),
		"events", fmt.Sprintf("%s, %s stored, %s, %d undecoded", countOf(s.Batches, "batch", "batches"), count(s.Blocks, "block"), count(s.Gaps, "gap"), s.Undecoded),
		"answered", fmt.Sprintf("%s, %s, %s", countOf(s.Metrics.Matches, "match", "matches"), count(s.Metrics.PrefixScans, "scan"), count(s.Metrics.Locates, "lookup")))
}
