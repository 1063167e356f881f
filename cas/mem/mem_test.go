package mem_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var config = castest.Config{
	Open: func(t testing.TB, s castest.Setup) cas.Store {
		store, err := mem.Open(mem.Options{QuotaBytes: s.QuotaBytes, Now: s.Now})
		require.NoError(t, err)
		return store
	},
	Abilities: []castest.Ability{
		castest.Quota, castest.Clock, castest.Enumerates, castest.Views,
		castest.Collects, castest.Quarantines, castest.Describes,
	},
	MaxBlobBytes: 9 << 20, // beyond what lies in slabs
}

func TestConformance(t *testing.T) { castest.Run(t, config) }

func BenchmarkStore(b *testing.B) {
	c := config
	c.Open = func(t testing.TB, _ castest.Setup) cas.Store {
		store, err := mem.Open(mem.Options{ReserveBytes: 320 << 20, ReserveBlobs: 1 << 16})
		require.NoError(t, err)
		return store
	}
	castest.Bench(b, c)
}
