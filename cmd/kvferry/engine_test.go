package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cmd/kvferry/internal/doctor"
)

func TestEngineMustFitIntoMemory(t *testing.T) {
	t.Parallel()
	small, err := parsePager("synthetic:pages=1000")
	require.NoError(t, err)
	need := engineBytes(small)
	require.GreaterOrEqual(t, need, int64(1000*4096))
	require.NoError(t, fits(need, need))
	require.NoError(t, fits(need, doctor.Unlimited))
	require.ErrorIs(t, fits(need, need-1), kvferry.ErrOutOfMemory)
	require.ErrorIs(t, fits(need, 0), kvferry.ErrOutOfMemory)

	largest, err := parsePager("synthetic:pages=4294967295,layers=1000000")
	require.NoError(t, err)
	require.Greater(t, engineBytes(largest), int64(1)<<60)
}
