package tiered_test

import (
	"context"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/codec"
)

// hinted notes what sessions are told of their blobs.
type hinted struct {
	cas.Store
	hints []codec.Hint // the store begins one session at a time
}

func (h *hinted) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	h.hints = append(h.hints, o.Hint)
	return h.Store.Begin(ctx, o)
}

// TestCopiesAreCodedLikeTheLatestSession: what is copied to far is coded there as
// those who put it into near asked for.
func TestCopiesAreCodedLikeTheLatestSession(t *testing.T) {
	t.Parallel()
	b := openBack(t, false, tiered.Options{})
	h := &hinted{Store: b.far.Store}
	b.far.Store = h
	b.far.fails(syscall.EIO)
	root, err := commit(t.Context(), b, 1, []string{"new"}, noise(1, 1000))
	require.NoError(t, err)
	hint := codec.Hint{Mode: codec.Fast, Elem: codec.BF16, RowElems: 64, Segments: 2, Tuning: new(codec.Tuning)}
	sess, err := b.Begin(t.Context(), cas.SessionOptions{Hint: hint})
	require.NoError(t, err)
	require.NoError(t, sess.Abort(t.Context()))
	b.far.fails(nil)
	b.wantCopied(t, root)
	require.NotEmpty(t, h.hints)
	require.Equal(t, hint, h.hints[len(h.hints)-1])
}
