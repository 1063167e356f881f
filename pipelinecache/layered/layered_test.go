package layered_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mem(t testing.TB, o memory.Options) *memory.Store {
	t.Helper()
	s, err := memory.New(o)
	require.NoError(t, err)
	return s
}

// key returns fingerprints of one shard of every store.
func key(k byte) pipelinecache.Fingerprint { return pipelinecache.Fingerprint{0, k} }

func put(t testing.TB, s pipelinecache.Store, f pipelinecache.Fingerprint, artifact string) {
	t.Helper()
	require.NoError(t, s.Put(t.Context(), f, []byte(artifact)))
}

func get(t testing.TB, s pipelinecache.Store, f pipelinecache.Fingerprint) string {
	t.Helper()
	got, err := s.Get(t.Context(), f)
	require.NoError(t, err)
	return string(got)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		layers    int
		abilities []pipelinetest.Ability
	}{
		{"one layer", 1, []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Gauges, pipelinetest.Shares}},
		{"three layers", 3, []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Gauges, pipelinetest.Shares}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pipelinetest.Run(t, pipelinetest.Config{
				Open: func(t testing.TB, _ pipelinetest.Setup) pipelinecache.Store {
					var layers []pipelinecache.Store
					for range c.layers {
						layers = append(layers, mem(t, memory.Options{ShardEntries: 300}))
					}
					return layered.New(layers...)
				},
				Abilities: c.abilities,
			})
		})
	}
}

// TestConformanceOfSmallTop: the first layer keeps next to nothing, so that the
// suite's reads are answered below, and promotions evict.
func TestConformanceOfSmallTop(t *testing.T) {
	t.Parallel()
	pipelinetest.Run(t, pipelinetest.Config{
		Open: func(t testing.TB, _ pipelinetest.Setup) pipelinecache.Store {
			top := mem(t, memory.Options{ShardEntries: 1})
			below := mem(t, memory.Options{ShardEntries: 300})
			return putsBelow{layered.New(top, below), below}
		},
	})
}

// putsBelow also puts into the layer below, so that nothing is lost where the
// first has no room.
type putsBelow struct {
	*layered.Store
	below pipelinecache.Store
}

func (s putsBelow) Put(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	return errors.Join(s.Store.Put(ctx, f, artifact), s.below.Put(ctx, f, artifact))
}

func (s putsBelow) PutShared(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	return errors.Join(s.Store.PutShared(ctx, f, artifact), s.below.PutShared(ctx, f, artifact))
}

// TestNoLayers: such a store has nothing and says that it keeps nothing.
func TestNoLayers(t *testing.T) {
	t.Parallel()
	s := layered.New()
	_, err := s.Get(t.Context(), key(1))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.ErrorIs(t, s.Put(t.Context(), key(1), nil), kvferry.ErrReadOnly)
	require.ErrorIs(t, s.PutShared(t.Context(), key(1), nil), kvferry.ErrReadOnly)
	require.NoError(t, s.Flush(t.Context()))
	require.Zero(t, s.Metrics())
	require.Equal(t, layered.Report{Requests: 1, Hits: []uint64{}, Misses: 1}, s.Report())
}

// TestPromotionCopiesNothing: all layers above share the memory of the one that
// had the artifact, and so does the caller.
func TestPromotionCopiesNothing(t *testing.T) {
	t.Parallel()
	layers := []pipelinecache.Store{mem(t, memory.Options{}), mem(t, memory.Options{}), mem(t, memory.Options{})}
	artifact := []byte("artifact")
	require.NoError(t, layers[2].PutShared(t.Context(), key(1), artifact))
	s := layered.New(layers...)
	got, err := s.GetShared(t.Context(), key(1))
	require.NoError(t, err)
	require.Same(t, &artifact[0], &got[0])
	for i, l := range layers {
		got, err := l.GetShared(t.Context(), key(1))
		require.NoError(t, err, "layer %d", i)
		require.Same(t, &artifact[0], &got[0], "layer %d", i)
	}
}

// TestRefusedPromotion: what a layer refuses is counted apart.
func TestRefusedPromotion(t *testing.T) {
	t.Parallel()
	small, wide := mem(t, memory.Options{ShardBytes: 4}), mem(t, memory.Options{})
	bottom := mem(t, memory.Options{})
	s := layered.New(small, wide, bottom)
	put(t, bottom, key(1), "artifact")
	require.Equal(t, "artifact", get(t, s, key(1)))
	want := layered.Promotion{Source: 2, Layers: 1, Bytes: 8, RefusedLayers: 1, RefusedBytes: 8}
	require.Equal(t, layered.Promotions{
		Events: 1, Layers: 1, Bytes: 8, RefusedLayers: 1, RefusedBytes: 8, Last: want,
	}, s.Report().Promotions)

	require.Equal(t, "artifact", get(t, s, key(1))) // now from the second
	want = layered.Promotion{Source: 1, RefusedLayers: 1, RefusedBytes: 8}
	require.Equal(t, layered.Promotions{
		Events: 1, Layers: 1, Bytes: 8, RefusedLayers: 2, RefusedBytes: 16, Last: want,
	}, s.Report().Promotions)
	require.Equal(t, []uint64{0, 1, 1}, s.Report().Hits)
}

// TestErrors: a layer that fails is passed over, and heard if no other has it.
func TestErrors(t *testing.T) {
	t.Parallel()
	broken, torn := errors.New("cable pulled"), errors.New("torn")
	bottom := mem(t, memory.Options{})
	failing := func(err error) pipelinecache.Store {
		return &double{Store: mem(t, memory.Options{}), get: func(context.Context, pipelinecache.Fingerprint) ([]byte, error) { return nil, err }}
	}
	s := layered.New(failing(broken), mem(t, memory.Options{}), failing(torn), bottom)
	put(t, bottom, key(1), "artifact")
	require.Equal(t, "artifact", get(t, s, key(1)))
	_, err := s.Get(t.Context(), key(2))
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, err, torn)
	require.NotErrorIs(t, err, kvferry.ErrNotFound)
	require.Contains(t, err.Error(), "layer 0: cable pulled")
	require.Contains(t, err.Error(), "layer 2: torn")

	_, err = layered.New(failing(broken)).Get(t.Context(), key(2))
	require.ErrorIs(t, err, broken)
	_, err = layered.New(mem(t, memory.Options{}), bottom).Get(t.Context(), key(2))
	require.ErrorIs(t, err, kvferry.ErrNotFound)
}

// TestFlush: all layers are flushed, and all errors are there.
func TestFlush(t *testing.T) {
	t.Parallel()
	var layers []pipelinecache.Store
	var flushed []int
	errs := []error{errors.New("first"), nil, errors.New("third")}
	for i, err := range errs {
		layers = append(layers, &double{Store: mem(t, memory.Options{}), flush: func(context.Context) error {
			flushed = append(flushed, i)
			return err
		}})
	}
	err := layered.New(layers...).Flush(t.Context())
	require.Equal(t, []int{0, 1, 2}, flushed)
	require.ErrorIs(t, err, errs[0])
	require.ErrorIs(t, err, errs[2])
	require.NoError(t, layered.New(layers[1]).Flush(t.Context()))
}

// TestAllocations: a hit in the first layer allocates nothing.
func TestAllocations(t *testing.T) {
	top := mem(t, memory.Options{})
	s := layered.New(top, mem(t, memory.Options{}))
	put(t, s, key(1), "artifact")
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = s.GetShared(ctx, key(1)) }))
	require.Equal(t, uint64(101), s.Report().Hits[0])
}

// double is a store with other methods where they are given.
type double struct {
	pipelinecache.Store
	get   func(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error)
	put   func(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error
	flush func(ctx context.Context) error
}

func (d *double) GetShared(ctx context.Context, f pipelinecache.Fingerprint) ([]byte, error) {
	if d.get != nil {
		return d.get(ctx, f)
	}
	return d.Store.GetShared(ctx, f)
}

func (d *double) Put(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if d.put != nil {
		return d.put(ctx, f, artifact)
	}
	return d.Store.Put(ctx, f, artifact)
}

func (d *double) PutShared(ctx context.Context, f pipelinecache.Fingerprint, artifact []byte) error {
	if d.put != nil {
		return d.put(ctx, f, artifact)
	}
	return d.Store.PutShared(ctx, f, artifact)
}

func (d *double) Flush(ctx context.Context) error {
	if d.flush != nil {
		return d.flush(ctx)
	}
	return d.Store.Flush(ctx)
}
