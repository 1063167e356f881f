package pack

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// crashScale is how many times longer than the short form a test runs.
func crashScale() int {
	n, err := strconv.Atoi(os.Getenv("KVFERRY_SOAK"))
	if err != nil {
		return 0
	}
	return n
}

func crashPatient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	t.Cleanup(cancel)
	return ctx
}

// TestCrashScenario lives without anybody looking at what a crash would leave.
func TestCrashScenario(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		r := &crashRun{w: newCrashWorld(seed), seed: seed, every: 1}
		require.NoError(t, r.live(crashPatient(t), 100))
		t.Log(r.k, "operations,", r.w.notes)
	}
}

// TestCrashAtOperations looks at what a power failure, or the end of all
// processes, would leave before operations of stores' lives.
func TestCrashAtOperations(t *testing.T) {
	t.Parallel()
	every, seeds, modes := 19, uint64(3), 1
	if n := crashScale(); n > 0 {
		every, seeds, modes = 5, uint64(n*8), 2
	}
	crashes, operations := 0, 0
	for seed := range seeds {
		r := &crashRun{w: newCrashWorld(seed), seed: seed, every: every, modes: modes}
		err := r.live(crashPatient(t), 60)
		require.Empty(t, r.failures)
		require.NoError(t, err)
		crashes, operations = crashes+r.crashes, operations+r.k
	}
	t.Logf("%d crashes at %d operations", crashes, operations)
}

// TestCrashDuringRecovery lets the power fail a second time while the store is
// opened, and its garbage collected, after the first.
func TestCrashDuringRecovery(t *testing.T) {
	t.Parallel()
	every, again, seeds := 301, 5, uint64(2)
	if n := crashScale(); n > 0 {
		every, again, seeds = 61, 2, uint64(n*8)
	}
	crashes, recoveries := 0, 0
	for seed := 100 + seeds; seed > 100; seed-- {
		r := &crashRun{w: newCrashWorld(seed), seed: seed, every: every, modes: 1, again: again}
		err := r.live(crashPatient(t), 60)
		require.Empty(t, r.failures)
		require.NoError(t, err)
		crashes, recoveries = crashes+r.crashes, recoveries+r.recoveries
	}
	t.Logf("%d crashes during %d recoveries", crashes, recoveries)
}
