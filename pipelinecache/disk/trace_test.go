package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

// TestTraces does what vyre-runtime's disk cache did, line by line. It differs
// in one point: a flush does not fail because somebody removed a file. The
// replay models what the original then has pending, holds that against the
// trace, and demands of our cache the same without those files.
func TestTraces(t *testing.T) {
	t.Parallel()
	for _, trace := range pipelinetest.Traces(t, "disk", folders()...) {
		t.Run(trace.Name, func(t *testing.T) {
			t.Parallel()
			r := &replay{T: t, root: t.TempDir(), theirs: map[pipelinecache.Fingerprint]bool{}, ours: map[pipelinecache.Fingerprint]bool{}}
			r.s = open(t, r.root, disk.Options{Damaged: disk.Leave})
			for _, step := range trace.Steps {
				r.step(step)
			}
			require.Equal(t, trace.End.Files, names(t, r.root))
			require.Equal(t, trace.Head.Vanish, r.wedged > 0, "only traces with vanishing files have failing flushes")
		})
	}
}

type replay struct {
	*testing.T
	root   string
	s      *disk.Store
	theirs map[pipelinecache.Fingerprint]bool // pending in the original
	ours   map[pipelinecache.Fingerprint]bool
	wedged uint64 // flushes that failed in the original
}

func (r *replay) step(x pipelinetest.Step) {
	f := pipelinecache.Fingerprint(x.Key)
	switch x.Op {
	case "none":
	case "get":
		got, err := r.s.Get(r.Context(), f)
		require.Equal(r, x.Hit, err == nil, "line %d: %v", x.I, err)
		if x.Hit {
			require.Equal(r, x.Artifact(), got, "line %d", x.I)
		}
	case "put":
		put(r, r.s, f, x.Artifact())
		r.theirs[f], r.ours[f] = true, true
	case "flush":
		require.NoError(r, r.s.Flush(r.Context()))
		r.flushed(x)
	default:
		r.edit(x, file(r.root, f))
	}
	want := pipelinecache.Metrics(x.Metrics)
	require.Equal(r, want.FlushErrors, r.wedged, "line %d: the model of the original", x.I)
	want.FlushErrors = 0
	require.Equal(r, want, r.s.Metrics(), "line %d", x.I)
	require.Len(r, r.theirs, x.Pending, "line %d: the model of the original", x.I)
	require.Equal(r, x.Durable, len(r.theirs) == 0)
	report := disk.DurabilityReport{PendingFlushes: len(r.ours), Durable: len(r.ours) == 0}
	require.Equal(r, report, r.s.DurabilityReport(), "line %d", x.I)
}

// flushed models a flush, which follows links in the original.
func (r *replay) flushed(x pipelinetest.Step) {
	clear(r.ours)
	for f := range r.theirs {
		if _, err := os.Stat(file(r.root, f)); err != nil {
			require.False(r, x.OK, "line %d: a pending file is missing", x.I)
			r.wedged++
			return
		}
	}
	require.True(r, x.OK, "line %d", x.I)
	clear(r.theirs)
}

// edit does what the recording did to the files behind the cache's back.
func (r *replay) edit(x pipelinetest.Step, path string) {
	if x.Op == "legacy" {
		require.NoError(r, removeIfThere(path))
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		require.NoError(r, err)
		d := h.Sum(x.Artifact())
		sum := d.Sum()
		require.NoError(r, os.WriteFile(path, append(x.Artifact(), sum[:]...), 0o600))
		return
	}
	info, err := os.Lstat(path)
	require.NoError(r, err, "line %d", x.I)
	require.True(r, info.Mode().IsRegular(), "line %d", x.I)
	switch x.Op {
	case "remove":
		require.NoError(r, os.Remove(path))
	case "flip":
		require.Equal(r, x.Done, int64(x.Offset) < info.Size(), "line %d", x.I)
		if x.Done {
			flip(r, path, x.Offset)
		}
	case "cut":
		require.NoError(r, os.Truncate(path, int64(x.Size)))
	case "extend":
		require.NoError(r, os.Truncate(path, info.Size()+1))
	case "link":
		target := path[:len(path)-len(".bin")] + ".target"
		require.NoError(r, os.Rename(path, target))
		require.NoError(r, os.Symlink(filepath.Base(target), path))
	default:
		require.Fail(r, "unknown operation", "line %d: %s", x.I, x.Op)
	}
}

func flip(t testing.TB, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[at] ^= 0xFF
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
