package dir_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/castest"
	"github.com/kvferry/kvferry/cas/dir"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	castest.Run(t, castest.Config{
		Open: func(t testing.TB, s castest.Setup) cas.Store {
			store, err := dir.Open(s.Dir, dir.Options{QuotaBytes: s.QuotaBytes, Clock: s.Now})
			require.NoError(t, err)
			return store
		},
		Abilities: []castest.Ability{castest.Quota, castest.Clock, castest.Persistent, castest.Shared,
			castest.Enumerates, castest.Collects, castest.Checks, castest.Quarantines, castest.Describes},
	})
}
