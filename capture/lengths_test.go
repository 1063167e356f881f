package capture_test

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// countedPack counts the blobs that are read alone.
type countedPack struct {
	*pack.Store
	gets atomic.Int64
}

func (c *countedPack) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, d, dst)
}

// TestDeepCheckLearnsLengths: blobs that are coded are longer than they are
// stored, and only the first of them are read twice for that.
func TestDeepCheckLearnsLengths(t *testing.T) {
	t.Parallel()
	const long = 300
	p, err := pack.Open(t.TempDir(), pack.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	s := &countedPack{Store: p}
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	x, err := s.Begin(t.Context(), cas.SessionOptions{Hint: codec.Hint{Mode: codec.PreferZstd}})
	require.NoError(t, err)
	put := func(b []byte) {
		_, err := x.Put(t.Context(), h.Sum(b), b)
		require.NoError(t, err)
	}
	put([]byte("a short one comes first"))
	for i := range long {
		put(bytes.Repeat(fmt.Appendf(nil, "token %d of a text; ", i), 1000))
	}
	require.NoError(t, x.Flush(t.Context()))
	st, err := s.Stats(t.Context())
	require.NoError(t, err)
	require.Less(t, st.StoredBytes, int64(long*1000), "they are coded")
	c, err := capture.Check(t.Context(), s, capture.CheckOptions{Workers: 1})
	require.NoError(t, err)
	require.Equal(t, st.Blobs, c.Blobs)
	require.Empty(t, c.Bad)
	require.Less(t, s.gets.Load(), int64(long/2))
	require.NoError(t, x.Abort(t.Context()))
}
