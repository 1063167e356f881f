package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWorkIsTheSameAgain(t *testing.T) {
	var sums []int64
	for _, name := range []string{"a", "b"} {
		db, err := open(filepath.Join(t.TempDir(), name))
		require.NoError(t, err)
		sum, err := work(t.Context(), db, 200)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		sums = append(sums, sum)
	}
	require.Equal(t, sums[0], sums[1])
	require.Positive(t, sums[0])
}

func TestArguments(t *testing.T) {
	require.ErrorContains(t, run("", 1, "builtin"), "usage")
	require.ErrorContains(t, run(t.TempDir(), 0, "builtin"), "usage")
	require.ErrorContains(t, run(t.TempDir(), 1, "none"), "want builtin")
}
