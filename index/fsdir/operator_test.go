package fsdir_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/internal/vfs"
)

const blockFile = "scopes/model=Meta%2FLlama-3.1,tokenizer=llama,tenant=a/root/b0,worker=w,tier=local_ssd,index=0,group=0.json"

func onDisk(t *testing.T, dir string) *fsdir.Index {
	t.Helper()
	x, err := fsdir.Open(t.Context(), dir, fsdir.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { _ = x.Close() }) // the test may have closed it
	return x
}

func count(t *testing.T, x index.Index) int {
	t.Helper()
	n := 0
	_, err := x.Snapshot(t.Context(), func(*index.Record) error { n++; return nil })
	require.NoError(t, err)
	return n
}

// TestOperator: what is where, on a real file system, and what an operator's rm, mv
// and ln do.
func TestOperator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := onDisk(t, dir)
	child := record("b1")
	child.Prefix, child.Worker = "b0", "../../x"
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0"), child}))
	require.NoError(t, x.Announce(t.Context(), "w", 9))
	require.FileExists(t, filepath.Join(dir, blockFile+".new"))
	require.NoError(t, x.Flush(t.Context()))
	got, err := os.ReadFile(filepath.Join(dir, blockFile))
	require.NoError(t, err)
	require.Equal(t, `{"key":{"model_id":"Meta/Llama-3.1","tokenizer_id":"llama","adapter_id":null,"tenant_id":"a","prefix_hash":"root",`+
		`"block_hash":"b0","block_index":0,"token_count":16},"worker_id":"w","tier":"LocalSsd","bytes":5,"last_access_ms":7,"ref_count":0,"pinned":false}`+"\n"+
		`{"crc32c":"3c9e4f7d"}`+"\n", string(got))
	childFile := filepath.Join(dir, filepath.Dir(filepath.Dir(blockFile)), "b0", "b1,worker=%2E.%2F..%2Fx,tier=local_ssd,index=0,group=0.json")
	require.FileExists(t, childFile)
	got, err = os.ReadFile(filepath.Join(dir, "workers", "w.json"))
	require.NoError(t, err)
	require.Equal(t, `{"worker_id":"w","incarnation":9}`+"\n"+`{"crc32c":"f90e2883"}`+"\n", string(got))
	require.NoError(t, x.Close())

	t.Run("rm", func(t *testing.T) {
		require.NoError(t, os.Remove(childFile))
		x := onDisk(t, dir)
		require.Equal(t, 1, count(t, x))
		require.NoError(t, x.Check(t.Context()))
		require.NoError(t, x.Close())
		require.NoDirExists(t, filepath.Dir(childFile), "it was empty")
	})
	t.Run("rm while it is open", func(t *testing.T) {
		x := onDisk(t, dir)
		r := record("b9")
		r.Prefix = "b8"
		require.NoError(t, x.Put(t.Context(), []index.Record{r}))
		require.NoError(t, os.RemoveAll(filepath.Join(dir, filepath.Dir(filepath.Dir(blockFile)), "b8")))
		require.NoError(t, x.Flush(t.Context()))
		n, err := x.Remove(t.Context(), []index.Removal{{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}})
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.NoError(t, x.Close())
	})
	t.Run("mv", func(t *testing.T) {
		moved := strings.Replace(blockFile, "tenant=a", "tenant=b", 1)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(moved)), 0o700))
		require.NoError(t, os.Rename(filepath.Join(dir, blockFile), filepath.Join(dir, moved)))
		x := onDisk(t, dir)
		require.Zero(t, count(t, x))
		err := x.Check(t.Context())
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		require.ErrorContains(t, err, "fsdir: "+moved+" has the record of "+blockFile)
		require.NoError(t, x.Close())
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(blockFile)), 0o700))
		require.NoError(t, os.Rename(filepath.Join(dir, moved), filepath.Join(dir, blockFile)))
	})
	t.Run("ln", func(t *testing.T) {
		secret := filepath.Join(t.TempDir(), "secret")
		require.NoError(t, os.Rename(filepath.Join(dir, blockFile), secret))
		require.NoError(t, os.Symlink(secret, filepath.Join(dir, blockFile)))
		x := onDisk(t, dir)
		require.Zero(t, count(t, x))
		require.ErrorContains(t, x.Check(t.Context()), blockFile+" is nothing of the index")
		require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
		require.NoError(t, x.Close())
		info, err := os.Lstat(filepath.Join(dir, blockFile))
		require.NoError(t, err)
		require.True(t, info.Mode().IsRegular(), "the link was replaced, not followed")
	})
	t.Run("other files", func(t *testing.T) {
		for _, name := range []string{"scopes/README", filepath.Dir(blockFile) + "/x.json~", "workers/w.txt", "workers/v.json.new"} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("hello"), 0o600))
		}
		x := onDisk(t, dir)
		require.Equal(t, 1, count(t, x))
		err := x.Check(t.Context())
		for _, name := range []string{"scopes/README", "x.json~", "workers/w.txt"} {
			require.ErrorContains(t, err, name)
			require.FileExists(t, filepath.Join(dir, "scopes/README"))
		}
		require.NoFileExists(t, filepath.Join(dir, "workers/v.json.new"), "a file that was not flushed")
	})
}

// TestLocked: one index has the directory.
func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := onDisk(t, dir)
	_, err := fsdir.Open(t.Context(), dir, fsdir.Options{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	require.NoError(t, x.Close())
	_, err = fsdir.Open(t.Context(), dir, fsdir.Options{Options: index.Options{Rules: index.AsHolt}})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, onDisk(t, dir).Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "format"), []byte("something else"), 0o600))
	_, err = fsdir.Open(t.Context(), dir, fsdir.Options{})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

// TestSync: with Sync a write is durable when it returns.
func TestSync(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: d.Process(), Sync: true})
	require.NoError(t, err)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	again := open(t, d.Crash(vfs.CrashOptions{Mode: vfs.LoseAll}))
	require.Equal(t, 1, count(t, again))
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.Positive(t, m.BytesWritten)
	require.NoError(t, x.Close())
}

// TestSequence: no number is used twice, whatever happened.
func TestSequence(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	crashed := open(t, d.Crash(vfs.CrashOptions{Mode: vfs.LoseAll}))
	m, err := crashed.Metrics(t.Context())
	require.NoError(t, err)
	require.Greater(t, m.Seq, uint64(1))
	require.NoError(t, x.Close())
	m, err = open(t, d).Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(1), m.Seq, "after a Close none is skipped")
}
