package fault_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/fault"
)

func TestInjectorFailsTheChosenOperation(t *testing.T) {
	t.Parallel()
	var i fault.Injector
	i.Fail(1, io.ErrUnexpectedEOF)
	require.NoError(t, i.Hook("open", "a"))
	require.ErrorIs(t, i.Hook("write", "b"), io.ErrUnexpectedEOF)
	require.NoError(t, i.Hook("close", "c"))
	require.Equal(t, 3, i.Count())
	require.Equal(t, []string{"write b"}, i.Fired())

	i.Reset()
	require.Zero(t, i.Count())
	require.Empty(t, i.Fired())
	require.NoError(t, i.Hook("open", "a"))
	require.NoError(t, i.Hook("write", "b"))
}

func TestInjectorCountsOnlyWhatMatches(t *testing.T) {
	t.Parallel()
	var i fault.Injector
	i.Only(func(op, _ string) bool { return op == "write" })
	i.Fail(0, io.EOF)
	require.NoError(t, i.Hook("open", "a"))
	require.ErrorIs(t, i.Hook("write", "a"), io.EOF)
	require.Equal(t, 1, i.Count())
}
