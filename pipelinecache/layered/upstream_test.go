package layered_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

// TestUpstreamLayered holds what vyre-runtime's tests of its layered module
// expect.
func TestUpstreamLayered(t *testing.T) {
	t.Parallel()
	t.Run("first_hit_preferred", func(t *testing.T) {
		top, below := mem(t, memory.Options{}), mem(t, memory.Options{})
		put(t, top, key(1), "fast")
		put(t, below, key(1), "slow")
		require.Equal(t, "fast", get(t, layered.New(top, below), key(1)))
		require.Zero(t, below.Metrics().Lookups)
	})
	t.Run("metrics", func(t *testing.T) {
		below := mem(t, memory.Options{})
		put(t, below, key(1), "artifact")
		s := layered.New(mem(t, memory.Options{}), below)
		require.Equal(t, "artifact", get(t, s, key(1)))
		m := s.Metrics()
		require.Equal(t, []uint64{2, 1, 1}, []uint64{m.Lookups, m.Hits, m.Misses})
		require.Equal(t, layered.Report{Requests: 1, Hits: []uint64{0, 1}, Promotions: s.Report().Promotions}, s.Report())
	})
	t.Run("promotion_report", func(t *testing.T) {
		below := mem(t, memory.Options{})
		put(t, below, key(1), "artifact")
		s := layered.New(mem(t, memory.Options{}), below)
		require.Zero(t, s.Report().Promotions)
		require.Equal(t, "artifact", get(t, s, key(1)))
		want := layered.Promotions{Events: 1, Layers: 1, Bytes: 8, Last: layered.Promotion{Source: 1, Layers: 1, Bytes: 8}}
		require.Equal(t, want, s.Report().Promotions)
		require.Equal(t, "artifact", get(t, s, key(1)))
		require.Equal(t, want, s.Report().Promotions, "a hit in the first layer promotes nothing")
	})
}

// TestUpstreamFallthroughInvariants is upstream's property
// layered_cache_preserves_fallthrough_invariants, with few keys, so that gets
// hit, and a model in which they promote.
func TestUpstreamFallthroughInvariants(t *testing.T) {
	t.Parallel()
	const cases, operations, keys, layers, seed = 512, 40, 8, 3, 1
	r := rand.New(rand.NewPCG(seed, seed))
	promotions := uint64(0)
	for range cases {
		var stores []pipelinecache.Store
		var model [layers]map[byte]string
		for i := range model {
			stores = append(stores, mem(t, memory.Options{}))
			model[i] = map[byte]string{}
		}
		s := layered.New(stores...)
		for range operations {
			k, artifact := byte(r.IntN(keys)), string(rune('a'+r.IntN(26)))
			switch r.IntN(3) {
			case 0: // SeedLower
				l := 1 + r.IntN(layers-1)
				put(t, stores[l], key(k), artifact)
				model[l][k] = artifact
			case 1: // PutTop
				put(t, s, key(k), artifact)
				model[0][k] = artifact
			default: // Get
				requireFallsThrough(t, s, k, model[:])
			}
			for i, l := range stores {
				requireHolds(t, l, keys, model[i])
			}
		}
		promotions += s.Report().Promotions.Layers
	}
	require.NotZero(t, promotions)
}

// requireFallsThrough gets, and promotes in the model.
func requireFallsThrough(t *testing.T, s *layered.Store, k byte, model []map[byte]string) {
	for i, layer := range model {
		if want, ok := layer[k]; ok {
			require.Equal(t, want, get(t, s, key(k)))
			for _, above := range model[:i] {
				above[k] = want
			}
			return
		}
	}
	_, err := s.Get(t.Context(), key(k))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

func requireHolds(t *testing.T, l pipelinecache.Store, keys byte, model map[byte]string) {
	for k := range keys {
		got, err := l.GetShared(t.Context(), key(k))
		want, ok := model[k]
		require.Equal(t, ok, err == nil)
		require.Equal(t, want, string(got))
	}
}

// TestTraces does what vyre-runtime's LayeredPipelineCache did in recorded runs,
// and wants the same results, metrics and promotions after each operation. A
// folder with further runs is named by KVFERRY_GOLDEN_VYRE.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, trace := range pipelinetest.Traces(t, "layered", "testdata", os.Getenv("KVFERRY_GOLDEN_VYRE")) {
		t.Run(trace.Name, func(t *testing.T) {
			t.Parallel()
			replay(t, trace)
		})
	}
}

func replay(t *testing.T, trace pipelinetest.Trace) {
	var layers []*memory.Store
	var stores []pipelinecache.Store
	for _, l := range trace.Head.Layers {
		require.Positive(t, min(l[0], l[1]), "0 is another limit there")
		m := mem(t, memory.Options{ShardEntries: l[0], ShardBytes: int64(l[1])})
		layers, stores = append(layers, m), append(stores, m)
	}
	s := layered.New(stores...)
	for _, step := range trace.Steps {
		f, target := pipelinecache.Fingerprint(step.Key), pipelinecache.Store(s)
		if step.Op == "seed" || step.Op == "layer_get" {
			target = layers[step.Layer]
		}
		switch step.Op {
		case "get", "layer_get":
			got, err := target.GetShared(t.Context(), f)
			require.Equal(t, step.Hit, err == nil, "%+v", step)
			require.Equal(t, string(step.Artifact()), string(got), "%+v", step)
		case "put", "seed":
			before := s.Metrics().RejectedPuts
			err := target.Put(t.Context(), f, step.Artifact())
			require.Equal(t, step.Metrics.RejectedPuts != before, err != nil, "%+v", step)
		default:
			require.Fail(t, "unknown operation", "%+v", step)
		}
		require.Equal(t, pipelinecache.Metrics(step.Metrics), s.Metrics(), "%+v", step)
		require.Equal(t, step.Promotion, promotionOf(s), "%+v", step)
	}
	require.Equal(t, pipelinecache.Metrics(trace.End.Metrics), s.Metrics())
	require.Equal(t, trace.End.Promotion, promotionOf(s))
	for i, l := range layers {
		require.Equal(t, pipelinecache.Metrics(trace.End.LayerMetrics[i]), l.Metrics())
		require.Equal(t, trace.End.LayerReports[i], evictions(l))
	}
}

// promotionOf makes the original's report, which counts what was refused, too.
func promotionOf(s *layered.Store) [6]uint64 {
	r := s.Report()
	p, last := r.Promotions, r.Promotions.Last
	events := uint64(0)
	for _, hits := range r.Hits[1:] {
		events += hits
	}
	return [6]uint64{
		events, p.Layers + p.RefusedLayers, p.Bytes + p.RefusedBytes,
		uint64(last.Source), last.Layers + last.RefusedLayers, last.Bytes + last.RefusedBytes,
	}
}

func evictions(s *memory.Store) []pipelinetest.Report {
	all := []pipelinetest.Report{}
	for _, r := range s.EvictionReports() {
		all = append(all, pipelinetest.Report{Entries: r.Entries, Bytes: r.Bytes, MaxAgeTicks: r.MaxAgeTicks, Reason: r.Reason.String()})
	}
	return all
}

// TestReportIsOfOneMoment reads reports while others get and put: the counts of
// each belong together.
func TestReportIsOfOneMoment(t *testing.T) {
	t.Parallel()
	below := mem(t, memory.Options{})
	s := layered.New(mem(t, memory.Options{ShardEntries: 2}), below)
	for k := range byte(8) {
		put(t, below, key(k), "artifact")
	}
	const workers, each = 4, 500
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() { getAround(t.Context(), t, s, w, each) })
	}
	for last := uint64(0); last < workers*each; {
		r := s.Report()
		require.Equal(t, r.Requests, r.Hits[0]+r.Hits[1]+r.Misses)
		require.LessOrEqual(t, r.Promotions.Layers+r.Promotions.RefusedLayers, r.Hits[1])
		require.GreaterOrEqual(t, r.Requests, last)
		last = r.Requests
	}
	wg.Wait()
	r := s.Report()
	require.Equal(t, uint64(workers*each), r.Requests)
	require.NotZero(t, r.Misses)
	require.NotZero(t, r.Hits[1])
	require.Equal(t, r.Promotions.Layers*8, r.Promotions.Bytes)
}

func getAround(ctx context.Context, t assert.TestingT, s *layered.Store, from, n int) {
	for i := range n {
		k := byte(i+from) % 9
		got, err := s.GetShared(ctx, key(k))
		if k == 8 {
			assert.ErrorIs(t, err, kvferry.ErrNotFound)
		} else {
			assert.Equal(t, "artifact", string(got))
		}
	}
}
