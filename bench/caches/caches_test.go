package caches

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	figures, err := Run(t.Context(), Options{Dir: dir, Rounds: 2, Each: time.Millisecond})
	require.NoError(t, err)
	require.Len(t, figures, 12)
	for _, f := range figures {
		require.Positive(t, f.Nanoseconds, f.Name)
		require.LessOrEqual(t, f.Least, f.Nanoseconds, f.Name)
		require.GreaterOrEqual(t, f.Most, f.Nanoseconds, f.Name)
		require.Equal(t, f.Versus != "", f.Ratio > 0, f.Name)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Dir: t.TempDir(), Rounds: -1}, {Dir: t.TempDir(), Each: -1}} {
		_, err := Run(t.Context(), o)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, Options{Dir: t.TempDir(), Each: time.Millisecond})
	require.ErrorIs(t, err, context.Canceled)
}

func TestMedian(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 2, median([]float64{3, 1, 2}), 0)
	require.InDelta(t, 2.5, median([]float64{4, 3, 1, 2}), 0)
}
