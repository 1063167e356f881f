package disk_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// zoo fills a directory with one of everything.
func zoo(t testing.TB) (root string, states map[string]disk.State) {
	t.Helper()
	root = t.TempDir()
	s := open(t, root, disk.Options{})
	for i := range 4 {
		put(t, s, key(i), noise(uint64(i), 100))
		age(t, file(root, key(i)), 40-i)
	}
	write := func(name string, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(root, name), b, 0o600))
	}
	write(key(10).String()+".bin", noise(1, 200))
	write(key(11).String()+".bin", footed(t, []byte("unversioned")))
	write(key(12).String()+".bin", footed(t, []byte("VPC0\x09\x00artifact")))
	write(key(13).String()+".bin", append([]byte("VPC0\x02\x00"), noise(1, 200)...))
	write("."+key(14).String()+".bin.corrupt", noise(3, 70))
	write("."+key(15).String()+"-0123456789abcdef.bin.tmp", noise(4, 70))
	write("."+key(16).String()+".bin.tmp", noise(4, 70))
	write("notes.txt", []byte("mine"))
	write("UPPER"+key(1).String()[5:]+".bin", nil)
	require.NoError(t, os.Mkdir(file(root, key(17)), 0o700))
	age(t, filepath.Join(root, "."+key(16).String()+".bin.tmp"), 5)
	return root, map[string]disk.State{
		key(0).String() + ".bin": disk.Sound, key(1).String() + ".bin": disk.Sound,
		key(2).String() + ".bin": disk.Sound, key(3).String() + ".bin": disk.Sound,
		key(10).String() + ".bin": disk.Corrupt, key(11).String() + ".bin": disk.Unversioned,
		key(12).String() + ".bin": disk.OtherSchema, key(13).String() + ".bin": disk.OtherSchema,
	}
}

func TestListAndVerify(t *testing.T) {
	t.Parallel()
	root, states := zoo(t)
	before := names(t, root)
	s := open(t, root, disk.Options{ReadOnly: true})
	entries, err := s.List(t.Context())
	require.NoError(t, err)
	var listed []string
	kinds := map[disk.Kind]int{}
	for _, e := range entries {
		listed = append(listed, e.Name)
		kinds[e.Kind]++
		info, err := os.Lstat(filepath.Join(root, e.Name))
		require.NoError(t, err)
		require.Equal(t, info.Size(), e.Bytes)
		require.True(t, info.ModTime().Equal(e.Modified))
		require.False(t, e.Used.Before(e.Modified))
		require.Equal(t, e.Kind == disk.Foreign, e.Fingerprint == pipelinecache.Fingerprint{})
	}
	require.Equal(t, before, listed)
	require.Equal(t, map[disk.Kind]int{disk.Artifact: 8, disk.Aside: 1, disk.Temporary: 2, disk.Foreign: 3}, kinds)

	var visited []string
	require.NoError(t, s.Verify(t.Context(), func(f disk.Finding) error {
		visited = append(visited, f.Name)
		require.Equal(t, states[f.Name], f.State, "%s: %v", f.Name, f.Err)
		require.Equal(t, f.State == disk.Corrupt || f.State == disk.OtherSchema, f.Err != nil)
		return nil
	}))
	require.Equal(t, before, visited)
	require.Equal(t, before, names(t, root))
	require.Zero(t, s.Metrics())
	again, err := s.List(t.Context())
	require.NoError(t, err)
	for i, e := range entries {
		require.True(t, e.Used.Equal(again[i].Used), "looking at %s was a use", e.Name)
	}
	require.ErrorIs(t, s.Verify(t.Context(), func(disk.Finding) error { return os.ErrProcessDone }), os.ErrProcessDone)
}

func TestVerifyUnreadable(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	s, err := disk.OpenFS(vfs.WithFaults(d.Process(), func(op, path string) error {
		switch {
		case op == "read" && path == key(0).String()+".bin":
			return syscall.EIO
		case op == "open" && path == key(1).String()+".bin":
			return syscall.ENOENT
		}
		return nil
	}), disk.Options{})
	require.NoError(t, err)
	for i := range 3 {
		put(t, s, key(i), nil)
	}
	got := map[string]disk.State{}
	require.NoError(t, s.Verify(t.Context(), func(f disk.Finding) error {
		got[f.Name] = f.State
		return nil
	}))
	require.Equal(t, map[string]disk.State{
		key(0).String() + ".bin": disk.Unreadable, key(1).String() + ".bin": disk.Gone, key(2).String() + ".bin": disk.Sound,
	}, got)
	c, err := s.Collect(t.Context(), disk.CollectOptions{Corrupt: true, OtherSchema: true, Unversioned: true})
	require.ErrorIs(t, err, syscall.EIO)
	require.Equal(t, 2, c.Kept)
	require.Empty(t, c.Removed, "what could not be read is not damaged")
	requireMiss(t, s, key(0), syscall.EIO)
}

// TestCollect removes each kind alone and then all, dry first: what a dry run
// tells is what the real one does.
func TestCollect(t *testing.T) {
	t.Parallel()
	const each = 138 // bytes of a sound file
	all := disk.CollectOptions{Corrupt: true, Unversioned: true, OtherSchema: true, Aside: true, Stale: true, BudgetBytes: 2*each + 1}
	for name, c := range map[string]struct {
		o      disk.CollectOptions
		reason map[string]string
		kept   int
	}{
		"nothing":      {disk.CollectOptions{}, map[string]string{}, 8},
		"corrupt":      {disk.CollectOptions{Corrupt: true}, map[string]string{key(10).String() + ".bin": "corrupt"}, 7},
		"unversioned":  {disk.CollectOptions{Unversioned: true}, map[string]string{key(11).String() + ".bin": "unversioned"}, 7},
		"other schema": {disk.CollectOptions{OtherSchema: true}, map[string]string{key(12).String() + ".bin": "other schema", key(13).String() + ".bin": "other schema"}, 6},
		"aside":        {disk.CollectOptions{Aside: true}, map[string]string{"." + key(14).String() + ".bin.corrupt": "set aside"}, 8},
		"stale":        {disk.CollectOptions{Stale: true}, map[string]string{"." + key(16).String() + ".bin.tmp": "stale"}, 8},
		"all": {all, map[string]string{
			key(10).String() + ".bin": "corrupt", key(11).String() + ".bin": "unversioned",
			key(12).String() + ".bin": "other schema", key(13).String() + ".bin": "other schema",
			"." + key(14).String() + ".bin.corrupt": "set aside", "." + key(16).String() + ".bin.tmp": "stale",
			key(0).String() + ".bin": "budget", key(1).String() + ".bin": "budget",
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, _ := zoo(t)
			before := names(t, root)
			dry := c.o
			dry.DryRun = true
			planned, err := open(t, root, disk.Options{ReadOnly: true}).Collect(t.Context(), dry)
			require.NoError(t, err)
			require.Equal(t, before, names(t, root))
			requireReasons(t, c.reason, planned)
			require.Equal(t, c.kept, planned.Kept)
			// Open removes what is stale, whatever is collected then.
			s := open(t, root, disk.Options{})
			requireGone(t, root, before, "."+key(16).String()+".bin.tmp")
			got, err := s.Collect(t.Context(), c.o)
			require.NoError(t, err)
			require.Equal(t, planned.Kept, got.Kept)
			require.Equal(t, planned.KeptBytes, got.KeptBytes)
			var gone []string
			for n := range c.reason {
				gone = append(gone, n)
			}
			requireGone(t, root, before, append(gone, "."+key(16).String()+".bin.tmp")...)
		})
	}
}

func requireReasons(t testing.TB, want map[string]string, c disk.Collected) {
	t.Helper()
	got, bytes := map[string]string{}, int64(0)
	for _, r := range c.Removed {
		got[r.Name] = r.Reason
		bytes += r.Bytes
	}
	require.Equal(t, want, got)
	require.Equal(t, bytes, c.RemovedBytes)
}

// requireGone fails unless the directory has what it had less some.
func requireGone(t testing.TB, root string, before []string, gone ...string) {
	t.Helper()
	want := slices.DeleteFunc(slices.Clone(before), func(n string) bool { return slices.Contains(gone, n) })
	require.Equal(t, want, names(t, root))
}

func TestCollectRefuses(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	_, err := open(t, root, disk.Options{ReadOnly: true}).Collect(t.Context(), disk.CollectOptions{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	_, err = open(t, root, disk.Options{}).Collect(t.Context(), disk.CollectOptions{BudgetBytes: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestStaleTemporaries: Open removes what is old and nobody's, and nothing else.
func TestStaleTemporaries(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, open(t, root, disk.Options{}), key(9), nil)
	var all []string
	for i := range 4 {
		all = append(all, filepath.Join(root, "."+key(i).String()+"-0123456789abcdef.bin.tmp"))
		require.NoError(t, os.WriteFile(all[i], noise(1, 10), 0o600))
	}
	age(t, all[1], 2)
	age(t, all[2], 2)
	foreign := filepath.Join(root, ".somebody.bin.tmp")
	require.NoError(t, os.WriteFile(foreign, nil, 0o600))
	age(t, foreign, 2)
	held, err := vfs.OS(root)
	require.NoError(t, err)
	writer, err := held.Open(filepath.Base(all[2]), vfs.ReadWrite)
	require.NoError(t, err)
	locked, err := writer.TryLock()
	require.NoError(t, err)
	require.True(t, locked)

	open(t, root, disk.Options{ReadOnly: true})
	require.FileExists(t, all[1])
	open(t, root, disk.Options{})
	require.FileExists(t, all[0])
	require.NoFileExists(t, all[1])
	require.FileExists(t, all[2], "its writer lives")
	require.FileExists(t, all[3])
	require.FileExists(t, foreign)
	require.FileExists(t, file(root, key(9)))
	require.NoError(t, writer.Close())
	require.NoError(t, held.Close())
	open(t, root, disk.Options{})
	require.NoFileExists(t, all[2])
}
