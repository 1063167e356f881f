package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// mounted returns a small file system of its own and a function that makes it
// read-only. Where nobody may mount, the test is skipped.
func mounted(t *testing.T, options string) (path string, freeze func()) {
	t.Helper()
	path = t.TempDir()
	if err := unix.Mount("tmpfs", path, "tmpfs", 0, options); err != nil {
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(path, unix.MNT_DETACH)) })
	return path, func() {
		// A process that another test starts shares the files that are open,
		// until its program runs.
		require.Eventually(t, func() bool {
			return unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") == nil
		}, time.Minute, time.Millisecond)
	}
}

// refused runs a command line that must fail with exit code 1 and returns the
// kind and the text of its error.
func refused(t *testing.T, line, store string) (kind, text string) {
	t.Helper()
	got := command(t.Context(), append(strings.Fields(line), "--store", store, "--json")...)
	require.Equal(t, exitFailed, got.code, "%s: %s", line, got.err)
	require.Empty(t, got.out)
	var e struct {
		Kind string `json:"kind"`
		Text string `json:"error"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.err), &e))
	return e.Kind, e.Text
}

func accepted(t *testing.T, store string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		got := command(t.Context(), append(strings.Fields(line), "--store", store)...)
		require.Zero(t, got.code, "%s: %s", line, got.err)
	}
}

// TestFullDisk: a disk that is full refuses what is new with a reason of its
// own, and keeps what is there readable, checkable and removable.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{schemePack, schemeDir} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			disk, _ := mounted(t, "size=4m")
			store := kind + ":" + filepath.Join(disk, "store")
			accepted(t, store, "capture --pager synthetic:pages=16 --name a", "capture --pager synthetic:pages=16,seed=4294967296 --name b")
			full := func(line, store string) {
				got, _ := refused(t, line, store)
				require.Equal(t, "no-space", got, line)
			}
			full("capture --pager synthetic:pages=4000,seed=8589934592", store)
			accepted(t, store, "verify --all", "gc")

			f, err := os.Create(filepath.Join(disk, "fill")) //nolint:gosec // of the test
			require.NoError(t, err)
			for chunk := make([]byte, 4096); err == nil; {
				_, err = f.Write(chunk)
			}
			require.ErrorIs(t, err, unix.ENOSPC)
			require.NoError(t, f.Close())
			full("capture --pager synthetic:pages=64,seed=12884901888", store)
			accepted(t, store, "ls", "verify --all", "restore a", "check", "stats", "gc --dry-run")
			full("capture --pager synthetic:pages=1", kind+":"+filepath.Join(disk, "new"))

			require.NoError(t, os.Remove(f.Name()))
			accepted(t, store, "capture --pager synthetic:pages=64,seed=12884901888 --name c", "rm b", "gc", "check --deep", "verify --all", "restore c")
		})
	}
}

// TestReadOnlyDisk: everything that only reads works, also for the superuser,
// whom no permissions bind; the rest says why not.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{schemePack, schemeDir} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			disk, freeze := mounted(t, "size=4m")
			store := kind + ":" + filepath.Join(disk, "store")
			accepted(t, store, "capture --pager synthetic:pages=16 --name a")
			freeze()
			accepted(t, store, "ls", "verify --all", "restore a", "check", "check --deep", "stats", "gc --dry-run", "diff a a", "inspect a")
			for _, line := range []string{"capture --pager synthetic:pages=17", "rm a", "gc", "check --repair"} {
				got, why := refused(t, line, store)
				require.Equal(t, "read-only", got, "%s: %s", line, why)
			}
			got, _ := refused(t, "capture --pager synthetic:pages=1", kind+":"+filepath.Join(disk, "new"))
			require.Equal(t, "read-only", got)
			accepted(t, store, "verify --all")
		})
	}
}
