package layered_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/layered"
	"github.com/kvferry/kvferry/pipelinecache/memory"
	"github.com/kvferry/kvferry/pipelinecache/pipelinetest"
)

func onDisk(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir, disk.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestConformanceOverDisk(t *testing.T) {
	t.Parallel()
	pipelinetest.Run(t, pipelinetest.Config{
		Open: func(t testing.TB, s pipelinetest.Setup) pipelinecache.Store {
			return layered.New(onDisk(t, s.Dir), mem(t, memory.Options{}))
		},
		Abilities: []pipelinetest.Ability{pipelinetest.Counts, pipelinetest.Persists},
	})
}

// TestUpstreamAdversarial holds what vyre-runtime's adversarial_disk tests
// expect of layers.
func TestUpstreamAdversarial(t *testing.T) {
	t.Parallel()
	t.Run("disk_over_memory", func(t *testing.T) {
		top, below := onDisk(t, t.TempDir()), mem(t, memory.Options{})
		s := layered.New(top, below)
		put(t, below, key(1), "in memory")
		require.Equal(t, "in memory", get(t, s, key(1)), "falls through")
		put(t, s, key(1), "new")
		require.Equal(t, "new", get(t, top, key(1)), "a put goes to the disk")
		require.Equal(t, "in memory", get(t, below, key(1)), "and nowhere else")
		require.Equal(t, "new", get(t, s, key(1)))
	})
	t.Run("dead_remote_is_not_touched", func(t *testing.T) {
		dead := &double{
			get: func(context.Context, pipelinecache.Fingerprint) ([]byte, error) {
				assert.Fail(t, "a get went to the last layer")
				return nil, kvferry.ErrNotFound
			},
			put: func(context.Context, pipelinecache.Fingerprint, []byte) error {
				assert.Fail(t, "a put went to the last layer")
				return kvferry.ErrReadOnly
			},
		}
		s := layered.New(onDisk(t, t.TempDir()), dead)
		put(t, s, key(1), "artifact")
		require.Equal(t, "artifact", get(t, s, key(1)))
	})
}

// TestWarmStart: a process finds in memory what another left on the disk, once it
// has asked for it, and a damaged file is a miss of the disk alone.
func TestWarmStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, onDisk(t, dir), key(1), "artifact")
	put(t, onDisk(t, dir), key(2), "damaged")
	path := filepath.Join(dir, key(2).String()+".bin")
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	file[10] ^= 1
	require.NoError(t, os.WriteFile(path, file, 0o600))

	top, spare := mem(t, memory.Options{}), mem(t, memory.Options{})
	s := layered.New(top, onDisk(t, dir), spare)
	require.Equal(t, "artifact", get(t, s, key(1)))
	require.Equal(t, "artifact", get(t, top, key(1)))
	require.Zero(t, spare.Metrics().Lookups)
	_, err = s.Get(t.Context(), key(2))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	put(t, spare, key(2), "whole")
	require.Equal(t, "whole", get(t, s, key(2)))
	require.Equal(t, []uint64{0, 1, 1}, s.Report().Hits)
}
