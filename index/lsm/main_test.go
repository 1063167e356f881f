package lsm_test

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/index/lsm"
)

func child(dir string) (index.Index, error) {
	return lsm.Open(context.Background(), dir, lsm.Options{})
}

func TestMain(m *testing.M) {
	crashtest.Child(child)
	goleak.VerifyTestMain(m)
}

// TestKilled: a process that is killed has lost nothing that it acknowledged.
func TestKilled(t *testing.T) {
	t.Parallel()
	crashtest.Killed(t, t.TempDir(), child)
}

// TestTraces: the original's operations have the original's results.
func TestTraces(t *testing.T) {
	t.Parallel()
	indextest.Traces(t, config())
}
