package tiered_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/digest"
)

// TestCatalogAsOneStore compares the catalog of a write-back store with that
// of a store in memory over random changes, while far fails and comes back, and
// the store is opened again. What is queued is never seen as anything else than
// done.
func TestCatalogAsOneStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			b := openBack(t, false, tiered.Options{})
			model := openMem(t, castest.Setup{}, "")
			r := rand.New(rand.NewPCG(seed, 3))
			for i := range 150 {
				disturb(t, b, r)
				got, want := changeBoth(t, b, model, r.Uint64(), i)
				for _, kind := range []error{kvferry.ErrNotFound, kvferry.ErrInvalid} {
					require.Equal(t, errors.Is(want, kind), errors.Is(got, kind), "step %d: %v, %v", i, want, got)
				}
				require.Equal(t, want == nil, got == nil, "step %d: %v, %v", i, want, got)
				sameCatalog(t, model, b, i)
			}
			b.far.fails(nil)
			require.NoError(t, b.Drain(t.Context()))
			sameCatalog(t, model, b.far, -1)
			wantRoots(t, b.near)
			require.NoError(t, whole(t.Context(), b.far))
			require.NoError(t, model.Close())
		})
	}
}

// disturb makes far fail or work, or opens the store again, or does nothing.
func disturb(t *testing.T, b *backed, r *rand.Rand) {
	switch r.IntN(12) {
	case 0:
		b.far.failsIf(func(op string) error { // it takes no data
			if op == "begin" || op == "commit" {
				return syscall.EIO
			}
			return nil
		})
	case 1:
		b.far.fails(nil)
	case 2:
		b.far.fails(nil)
		require.NoError(t, b.Drain(t.Context()))
	case 3:
		b.stop(t)
		b.start(t)
	}
}

// changeBoth makes the same random change in both.
func changeBoth(t *testing.T, got, want cas.Store, seed uint64, step int) (gotErr, wantErr error) {
	do := func(s cas.Store) error {
		r := rand.New(rand.NewPCG(seed, 4))
		blob := noise(r.Uint64N(5), 500)
		var names []string
		for range r.IntN(3) {
			names = append(names, fmt.Sprintf("name%d", r.IntN(4)))
		}
		root := sum(manifest(blob))
		name := fmt.Sprintf("name%d", r.IntN(4))
		switch r.IntN(8) {
		case 0:
			return s.Catalog().Drop(t.Context(), root)
		case 1, 2:
			_, err := s.Catalog().Remove(t.Context(), name)
			return err
		case 3:
			return s.Catalog().SetName(t.Context(), name, root)
		case 4:
			_, err := s.Catalog().Lookup(t.Context(), name)
			return err
		}
		_, err := commit(t.Context(), s, step, names, blob)
		return err
	}
	return do(got), do(want)
}

func sameCatalog(t *testing.T, want, got cas.Store, step int) {
	t.Helper()
	a, err := want.Catalog().Entries(t.Context())
	require.NoError(t, err)
	b, err := got.Catalog().Entries(t.Context())
	require.NoError(t, err)
	require.Equal(t, a, b, "step %d", step)
	names := map[string]digest.Digest{}
	for _, e := range a {
		for _, name := range e.Names {
			names[name] = e.Root
		}
	}
	for name, root := range names {
		if step < 0 {
			break
		}
		e, err := got.Catalog().Lookup(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, root, e.Root, "step %d", step)
	}
}
