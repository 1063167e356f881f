package fsdir_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/fsdir"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/internal/fault"
	"github.com/kvferry/kvferry/internal/vfs"
)

// tolerated: what fails there is tried again at the next opening, or only tells
// whether a directory is empty.
func tolerated(fired string) bool {
	return strings.HasPrefix(fired, "unlink tmp/") || strings.HasPrefix(fired, "unlink scopes/") && !strings.Contains(fired, ".json")
}

// TestFaults: operation k on the file system fails, for every k. The scenario
// ends with that error, and what the directory holds then is what it may.
func TestFaults(t *testing.T) {
	t.Parallel()
	every := crashtest.Every(3)
	for k := 0; ; k += every {
		d := vfs.NewDisk()
		faults := &fault.Injector{}
		faults.Fail(k, syscall.EIO)
		l, run := scenario(t, vfs.WithFaults(d.Process(), faults.Hook), 4)
		err := run()
		fired := faults.Fired()
		if len(fired) == 0 {
			require.NoError(t, err)
			require.Greater(t, k, 300)
			break
		}
		if !tolerated(fired[0]) {
			require.ErrorIs(t, err, syscall.EIO, "%d: %v", k, fired)
		}
		t.Run(fmt.Sprintf("%d: %s", k, fired[0]), func(t *testing.T) { reopened(t, d, l, crashtest.Crash) })
	}
}

// TestPoisoned: after a synchronisation failed nothing is written, and reading
// goes on.
func TestPoisoned(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	faults := &fault.Injector{}
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: vfs.WithFaults(d.Process(), faults.Hook)})
	require.NoError(t, err)
	r := record("b0")
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	faults.Reset()
	faults.Only(func(op, _ string) bool { return op == "fsync" })
	faults.Fail(0, syscall.EIO)
	require.ErrorIs(t, x.Flush(t.Context()), syscall.EIO)
	require.ErrorIs(t, x.Put(t.Context(), []index.Record{record("b1")}), kvferry.ErrPoisoned)
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrPoisoned)
	got, err := x.Locate(t.Context(), &r.Key, nil)
	require.NoError(t, err)
	require.Equal(t, []index.Record{r}, got)
	require.ErrorIs(t, x.Close(), kvferry.ErrPoisoned)
	require.NoError(t, x.Close())
}

// TestNoSpace: a full disk is an error that changes nothing, and writes go on
// when there is room.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b0")}))
	require.NoError(t, x.Flush(t.Context()))
	d.SetCapacity(1 << 14)
	var full error
	n := uint64(1)
	for ; full == nil; n++ {
		full = x.Put(t.Context(), []index.Record{record(fmt.Sprint("more", n))})
		require.Less(t, n, uint64(100))
	}
	require.ErrorIs(t, full, kvferry.ErrNoSpace)
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, n-1, m.ResidentBlocks)
	d.SetCapacity(1 << 30)
	require.NoError(t, x.Put(t.Context(), []index.Record{record("b1")}))
	require.NoError(t, x.Close())
	for name := range d.Files() {
		require.False(t, strings.HasPrefix(name, "tmp/"), name)
	}
}

// TestFlipped: a bit that is another one, in any byte of any file, gives no wrong
// record: the file is told to be damaged, or the opening fails.
func TestFlipped(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d)
	rs := []index.Record{record("b0"), record("b1"), record(strings.Repeat("long", 100))}
	require.NoError(t, x.Put(t.Context(), rs))
	require.NoError(t, x.Announce(t.Context(), "w", 7))
	require.NoError(t, x.Close())
	every := crashtest.Every(5)
	for name, size := range d.Files() {
		if name == "lock" || strings.HasPrefix(name, "tmp/") {
			continue
		}
		for at := int64(0); at < size; at += int64(every) {
			flipped(t, d.Snapshot(), name, at)
		}
	}
}

func flipped(t *testing.T, d *vfs.Disk, name string, at int64) {
	t.Helper()
	f, err := d.Process().Open(name, vfs.ReadWrite)
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 1 << (at % 8)
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	x, err := fsdir.Open(t.Context(), "", fsdir.Options{FS: d.Process()})
	if err != nil {
		require.True(t, name == "format" || name == "sequence.json", name)
		if name != "format" { // whose rules may be those of another index
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
		}
		return
	}
	err = x.Check(t.Context())
	require.ErrorIs(t, err, kvferry.ErrCorrupt, "%s at %d", name, at)
	require.ErrorContains(t, err, name)
	found := 0
	_, err = x.Snapshot(t.Context(), func(r *index.Record) error {
		require.Equal(t, record(r.Hash), *r)
		found++
		return nil
	})
	require.NoError(t, err)
	if strings.HasPrefix(name, "scopes/") {
		require.Equal(t, 2, found)
	} else {
		require.Equal(t, 3, found)
	}
	require.NoError(t, x.Close())
}

func record(hash string) index.Record {
	return index.Record{
		Key:    index.Key{Scope: index.Scope{Model: "Meta/Llama-3.1", Tokenizer: "llama", Tenant: "a"}, Prefix: index.Root, Hash: hash, Tokens: 16},
		Worker: "w", Tier: index.LocalSSD, Bytes: 5, LastAccess: 7,
	}
}
