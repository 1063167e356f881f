package memory_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() indextest.Config {
	return indextest.Config{Open: func(t testing.TB, o index.Options) index.Index {
		x, err := memory.New(memory.Options{Options: o})
		require.NoError(t, err)
		return x
	}}
}

func TestSuite(t *testing.T) { indextest.Run(t, config()) }

func TestTraces(t *testing.T) { indextest.Traces(t, config()) }

func TestLinearizable(t *testing.T) { indextest.Linearizable(t, config()) }

func BenchmarkSuite(b *testing.B) { indextest.Bench(b, config()) }
