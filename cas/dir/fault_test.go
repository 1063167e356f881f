package dir_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/fault"
)

// memoryDir is a directory in memory where there is one: a sweep opens a
// store hundreds of times.
func memoryDir(t *testing.T) string {
	root, err := os.MkdirTemp("/dev/shm", "kvferry-test-") //nolint:usetesting // in memory, where t.TempDir may not be
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(root)) })
	return root
}

// harmless tells operations whose failure loses nothing: removing a temporary
// file or the file of a session that ended, which a collection does too.
func harmless(fired []string) bool {
	for _, f := range fired {
		if !strings.HasPrefix(f, "unlink sessions/") && !strings.Contains(f, "/.kvf-") {
			return false
		}
	}
	return true
}

// TestFaultsInCommit fails every operation of opening, putting, flushing and
// committing in turn. Each fault surfaces, what was there before is whole, the
// new snapshot is visible if and only if the commit said so, and the next
// attempt works.
func TestFaultsInCommit(t *testing.T) {
	t.Parallel()
	for _, blobs := range []int{2, 17} { // synchronised one by one, and together
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
			if blobs > 2 && !errors.Is(cause, syscall.EIO) {
				continue
			}
			t.Run(fmt.Sprintf("blobs=%d/%v", blobs, cause), func(t *testing.T) {
				t.Parallel()
				fired := 0
				for k := 0; commitWithFault(t, k, blobs, cause); k += faultStride {
					fired++
				}
				require.Greater(t, fired, (10+2*blobs)/faultStride)
				t.Logf("%d operations failed in turn", fired)
			})
		}
	}
}

// commitWithFault fails operation k and reports whether there was one.
func commitWithFault(t *testing.T, k, blobs int, cause error) bool {
	root := memoryDir(t)
	clean := open(t, root, dir.Options{})
	shared := noise(1, 2000)
	old, err := commit(t.Context(), clean, digest.BLAKE3, []string{"name"}, shared, noise(2, 100))
	require.NoError(t, err)
	require.NoError(t, clean.Close())

	var parts [][]byte
	for i := range blobs {
		parts = append(parts, noise(uint64(10+i), 40+i))
	}
	parts = append(parts, shared)
	var inject fault.Injector
	inject.Fail(k, cause)
	if !errors.Is(cause, syscall.EIO) {
		inject.Only(func(op, _ string) bool { return op == "create" || op == "write" || op == "mkdir" || op == "rename" })
	}
	var fresh digest.Digest
	s, err := dir.Open(root, dir.Options{Fault: inject.Hook})
	if err == nil {
		fresh, err = commit(t.Context(), s, digest.SHA256, []string{"name", "other"}, parts...)
		if len(inject.Fired()) == 0 {
			require.NoError(t, err)
			require.NoError(t, s.Close())
			return false
		}
		closed := s.Close()
		if err == nil {
			require.True(t, closed != nil || harmless(inject.Fired()), "%v did not surface", inject.Fired())
		}
	}
	if err != nil {
		require.ErrorIs(t, err, cause, "%v", inject.Fired())
		if errors.Is(cause, syscall.ENOSPC) && strings.HasPrefix(inject.Fired()[0], "write ") {
			require.ErrorIs(t, err, kvferry.ErrNoSpace)
		}
		if errors.Is(cause, syscall.EROFS) && strings.HasPrefix(inject.Fired()[0], "create ") {
			require.ErrorIs(t, err, kvferry.ErrReadOnly)
		}
	}

	again := open(t, root, dir.Options{})
	want := []digest.Digest{old}
	if err == nil {
		want = append(want, fresh)
	}
	var got []digest.Digest
	for _, e := range wantWhole(t, again) {
		got = append(got, e.Root)
	}
	require.ElementsMatch(t, want, got, "%v: %v", inject.Fired(), err)
	named, lookup := again.Catalog().Lookup(t.Context(), "name")
	require.NoError(t, lookup)
	require.Equal(t, want[len(want)-1], named.Root)
	collect(t, again, cas.CollectOptions{})
	for path, p := range problems(t, again) {
		require.NotErrorIs(t, p, kvferry.ErrCorrupt, "%s after %v", path, inject.Fired())
	}
	fresh, err = commit(t.Context(), again, digest.SHA256, []string{"name"}, parts...)
	require.NoError(t, err)
	named, lookup = again.Catalog().Lookup(t.Context(), "name")
	require.NoError(t, lookup)
	require.Equal(t, fresh, named.Root)
	require.Len(t, wantWhole(t, again), 2)
	require.NoError(t, again.Close())
	return true
}

// TestFaultsInCollect fails every operation of a collection in turn: nothing
// that is needed is ever deleted, and the next collection ends the work.
func TestFaultsInCollect(t *testing.T) {
	t.Parallel()
	fired := 0
	for k := 0; ; k++ {
		root := memoryDir(t)
		var inject fault.Injector
		s := open(t, root, dir.Options{Fault: inject.Hook})
		kept, err := commit(t.Context(), s, digest.BLAKE3, []string{"kept"}, noise(1, 100), noise(2, 100))
		require.NoError(t, err)
		_, err = commit(t.Context(), s, digest.BLAKE3, nil, noise(1, 100), noise(3, 100))
		require.NoError(t, err)
		live := begin(t, s)
		held := put(t, live, digest.BLAKE3, noise(4, 100))

		inject.Reset()
		inject.Fail(k, syscall.EIO)
		report, err := s.Collect(t.Context(), cas.CollectOptions{References: references(s), KeepLast: 1})
		if len(inject.Fired()) == 0 {
			require.NoError(t, err)
			break
		}
		fired++
		require.ErrorIs(t, err, syscall.EIO, "%v", inject.Fired())
		inject.Reset()
		wantWhole(t, s)
		second := collect(t, s, cas.CollectOptions{KeepLast: 1})
		require.EqualValues(t, 2, report.Deleted+second.Deleted, "%v", inject.Fired())
		require.Equal(t, kept, wantWhole(t, s)[0].Root)
		has, err := s.Has(t.Context(), held)
		require.NoError(t, err)
		require.True(t, has)
		require.NoError(t, live.Commit(t.Context(), entryOf(held)))
		require.NoError(t, s.Close())
	}
	require.Greater(t, fired, 50)
}
