package indextest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() indextest.Config {
	c := indextest.Config{
		Open: func(_ testing.TB, o index.Options) index.Index { return indextest.NewModel(o) },
		Reopen: func(t testing.TB, x index.Index, _ index.Options) index.Index {
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			x.(*indextest.Model).Reopen()
			return x
		},
	}
	c.Crash = c.Reopen // whatever was written is there
	return c
}

// TestModel holds the reference to its own suite.
func TestModel(t *testing.T) { indextest.Run(t, config()) }

func TestModelTraces(t *testing.T) { indextest.Traces(t, config()) }

func TestModelLinearizable(t *testing.T) { indextest.Linearizable(t, config()) }
