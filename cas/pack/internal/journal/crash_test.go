package journal_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/pack/internal/journal"
)

func TestScenario(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var h history
	require.NoError(t, scenario(t.Context(), &h, osFS(t, dir), osFS(t, dir)))
	require.Empty(t, h.maybe)
	require.Len(t, h.sure, len(h.tried))
	for _, o := range []journal.Options{{ReadOnly: true}, {}, {Repair: true}} {
		s, err := openStore(t.Context(), osFS(t, dir), o)
		require.NoError(t, err)
		require.NoError(t, h.check(s, false))
		require.Equal(t, h.tried, s.list)
		require.NoError(t, s.j.Close())
	}
}
