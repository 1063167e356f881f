package capture_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/digest"
)

// vanishing is a store of which another process removes the snapshot, and
// collects, when it is first read.
type vanishing struct {
	*scrubStore
	once sync.Once
	drop func()
}

func (v *vanishing) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	v.once.Do(v.drop)
	return v.scrubStore.Get(ctx, d, dst)
}

// TestCheckBesideARemoval: a snapshot that goes while a check looks at it is not
// called lost, one that stays and lost its blobs is.
func TestCheckBesideARemoval(t *testing.T) {
	t.Parallel()
	for _, removed := range []bool{true, false} {
		x := newSick(t, native())
		v := &vanishing{scrubStore: x.store, drop: func() {
			if removed {
				require.NoError(t, x.store.Catalog().Drop(t.Context(), x.root))
			}
			x.lose(t, append(x.parts, x.docs...)...)
		}}
		c, err := capture.Check(t.Context(), v, capture.CheckOptions{Quick: true})
		require.NoError(t, err)
		require.Equal(t, removed, c.Sound(), "%+v", c)
		if removed {
			require.Empty(t, c.Snapshots)
		} else {
			require.ErrorIs(t, c.Snapshots[0].Err, kvferry.ErrNotFound)
		}
		there, err := capture.Listed(t.Context(), v, x.root)
		require.NoError(t, err)
		require.Equal(t, !removed, there)
	}
}
