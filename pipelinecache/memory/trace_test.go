package memory_test

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/memory"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

// TestTraces does what vyre-runtime's InMemoryPipelineCache did in recorded
// runs, and wants the same results, metrics and reports after each operation. A
// folder with further runs is named by KVFERRY_GOLDEN_VYRE.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, trace := range pipelinetest.Traces(t, "memory", "testdata", os.Getenv("KVFERRY_GOLDEN_VYRE")) {
		t.Run(trace.Name, func(t *testing.T) {
			t.Parallel()
			replay(t, trace)
		})
	}
}

func replay(t *testing.T, trace pipelinetest.Trace) {
	s := open(t, memory.Options{ShardEntries: limit(trace.Head.MaxEntries), ShardBytes: int64(limit(trace.Head.MaxBytes))})
	for _, step := range trace.Steps {
		f, want := pipelinecache.Fingerprint(step.Key), step.Artifact()
		switch step.Op {
		case "get":
			requireFound(t, step, s.Get)
		case "get_arc":
			requireFound(t, step, s.GetShared)
		case "put":
			before := s.Metrics()
			err := s.Put(t.Context(), f, want)
			if step.Metrics.RejectedPuts == before.RejectedPuts {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, kvferry.ErrQuota)
			}
		default:
			require.Fail(t, "unknown operation", "%+v", step)
		}
		require.Equal(t, pipelinecache.Metrics(step.Metrics), s.Metrics(), "%+v", step)
		require.Equal(t, step.Reports, reports(s), "%+v", step)
	}
	m := s.Metrics()
	require.Equal(t, pipelinecache.Metrics(trace.End.Metrics), m)
	require.Equal(t, uint64(trace.End.Len), m.Entries)
	require.Equal(t, trace.End.Empty, m.Entries == 0)
	require.Equal(t, trace.End.CachedBytes, m.CachedBytes)
	require.Equal(t, trace.End.Reports, reports(s))
	ppm, err := m.HitRatePPM()
	require.NoError(t, err)
	require.Equal(t, trace.End.HitRatePPM, ppm)
}

// limit translates a limit of the original, where 0 keeps nothing.
func limit(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

func requireFound(t *testing.T, step pipelinetest.Step, get func(context.Context, pipelinecache.Fingerprint) ([]byte, error)) {
	t.Helper()
	got, err := get(t.Context(), pipelinecache.Fingerprint(step.Key))
	if !step.Hit {
		require.ErrorIs(t, err, kvferry.ErrNotFound, "%+v", step)
		return
	}
	require.NoError(t, err)
	require.Equal(t, string(step.Artifact()), string(got), "%+v", step)
}

func reports(s *memory.Store) []pipelinetest.Report {
	all := []pipelinetest.Report{}
	for _, r := range s.EvictionReports() {
		all = append(all, pipelinetest.Report{Entries: r.Entries, Bytes: r.Bytes, MaxAgeTicks: r.MaxAgeTicks, Reason: r.Reason.String()})
	}
	return all
}
