package pack_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/pack"
)

func TestMain(m *testing.M) {
	if !pack.RunChild() {
		goleak.VerifyTestMain(m)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	castest.Run(t, castest.Config{
		Open: func(t testing.TB, s castest.Setup) cas.Store {
			return open(t, s.Dir, pack.Options{QuotaBytes: s.QuotaBytes, CacheBytes: s.CacheBytes, CacheTTL: s.CacheTTL, Clock: s.Now})
		},
		Abilities: []castest.Ability{
			castest.Quota, castest.Clock, castest.Persistent, castest.Shared, castest.Evicts, castest.Expires,
			castest.Enumerates, castest.Batches, castest.Collects, castest.Checks, castest.Scrubs, castest.Quarantines, castest.Describes,
		},
	})
}

func open(t testing.TB, root string, o pack.Options) *pack.Store {
	t.Helper()
	s, err := pack.Open(root, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() }) // the test may have closed it
	return s
}
