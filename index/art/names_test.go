package art

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

func ofWorker(name string) []index.Record {
	return []index.Record{{Worker: name, Tier: index.LocalSSD}}
}

// TestNumbersAreGivenAgain: what goes takes its number along, and the lowest is
// given first, so that what is left has no number that is out of reach.
func TestNumbersAreGivenAgain(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	o := Options{FS: d.Process(), CompactBytes: 20_000}
	x, err := Open(t.Context(), "disk", o)
	require.NoError(t, err)
	many := make([]index.Record, 1000)
	for i := range many {
		many[i] = index.Record{Key: index.Key{Scope: index.Scope{Tenant: fmt.Sprint(i)}}, Worker: fmt.Sprint(i), Tier: index.LocalSSD}
	}
	require.NoError(t, x.Put(t.Context(), many))
	require.NoError(t, x.Clear(t.Context()))
	x.writing.Wait()
	long := ofWorker("w")
	for g := x.log.generation; g == x.log.generation; { // the snapshot forgets them
		long[0].Hash = strings.Repeat("h", 9000)
		require.NoError(t, x.Put(t.Context(), long))
	}
	x.writing.Wait()
	fresh := index.Record{Key: index.Key{Scope: index.Scope{Tenant: "fresh"}}, Worker: "fresh", Tier: index.LocalSSD}
	require.NoError(t, x.Put(t.Context(), []index.Record{fresh}))
	sid, _ := x.state.scopes.find(fresh.Scope)
	wid, _ := x.state.workers.find("fresh")
	require.Zero(t, sid)
	require.Zero(t, wid)
	require.NoError(t, x.Close())
	o.FS = d.Process()
	x, err = Open(t.Context(), "disk", o)
	require.NoError(t, err)
	got, err := x.Locate(t.Context(), &fresh.Key, nil)
	require.NoError(t, err)
	require.Equal(t, []index.Record{fresh}, got)
	require.NoError(t, x.Close())
}

// TestNumbersOfAFullDisk: what was not written has no number, however often.
func TestNumbersOfAFullDisk(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x, err := Open(t.Context(), "disk", Options{FS: d.Process()})
	require.NoError(t, err)
	require.NoError(t, x.Put(t.Context(), ofWorker("w")))
	d.SetCapacity(16 << 10)
	for round := range 3 {
		rs := make([]index.Record, 1000)
		for i := range rs {
			rs[i] = index.Record{Key: index.Key{Scope: index.Scope{Tenant: fmt.Sprint(round, "/", i)}}, Worker: fmt.Sprint(round, "/", i), Tier: index.LocalSSD}
		}
		require.ErrorIs(t, x.Put(t.Context(), rs), kvferry.ErrNoSpace)
		require.Len(t, x.state.scopes.ids, 1)
		require.Len(t, x.state.workers.ids, 1)
	}
	require.Len(t, x.state.workers.all, 1000+1)
	d.SetCapacity(1 << 20)
	require.NoError(t, x.Put(t.Context(), ofWorker("fresh")))
	wid, _ := x.state.workers.find("fresh")
	require.EqualValues(t, 1, wid)
	require.NoError(t, x.Flush(t.Context()))
	require.NoError(t, x.state.check())
	y, err := Open(t.Context(), "disk", Options{FS: d.Crash(vfs.CrashOptions{}).Process()})
	require.NoError(t, err)
	require.Len(t, y.state.workers.ids, 2)
	require.NoError(t, y.Close())
	require.NoError(t, x.Close())
}

// TestNumbersFarApart: the only name that is left may have a high number.
func TestNumbersFarApart(t *testing.T) {
	t.Parallel()
	x := newState(index.Recommended)
	far := uint64(3 << 20)
	b := appendString(appendUints([]byte{entryWorker}, far), "w")
	require.NoError(t, x.replay(b))
	wid, ok := x.workers.find("w")
	require.True(t, ok)
	require.EqualValues(t, far, wid)
	require.Zero(t, x.worker("next"))
	require.ErrorIs(t, x.replay(appendString(appendUints([]byte{entryWorker}, maxNames), "v")), kvferry.ErrCorrupt)
}

// TestNumbersRunOut: a name for which there is no number is refused.
func TestNumbersRunOut(t *testing.T) {
	t.Parallel()
	var n names[string, worker]
	n.ids = map[string]uint32{"a": 0}
	require.True(t, n.room(maxNames-1))
	require.False(t, n.room(maxNames))
}

// TestNumbersOfALongLife: the first change behind lifeChanges is durable, and so is
// that its numbers are used.
func TestNumbersOfALongLife(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	l, _, err := createLog(p, logHead{rules: uint32(index.Recommended), generation: 1})
	require.NoError(t, err)
	_, err = l.append(appendNumbers(nil, l.salt, 3*lifeChanges-2))
	require.NoError(t, err)
	_, err = l.append(appendClosed(nil, l.salt, 3*lifeChanges-2))
	require.NoError(t, err)
	require.NoError(t, l.f.Sync())
	require.NoError(t, l.close())
	x, err := Open(t.Context(), "disk", Options{FS: p})
	require.NoError(t, err)
	require.EqualValues(t, 3*lifeChanges-2, x.feed.Seq())
	for i := range 2 {
		require.NoError(t, x.Put(t.Context(), ofWorker(fmt.Sprint(i))))
	}
	y, err := Open(t.Context(), "disk", Options{FS: d.Crash(vfs.CrashOptions{}).Process()})
	require.NoError(t, err)
	require.EqualValues(t, 4*lifeChanges, y.feed.Seq())
	require.Len(t, y.state.workers.ids, 2)
	require.NoError(t, y.Close())
	require.NoError(t, x.Close())
}

// TestAFullDiskIsOpened: that there is no room to say that the index is open stops
// no reader, and the first change says it.
func TestAFullDiskIsOpened(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x, err := Open(t.Context(), "disk", Options{FS: d.Process()})
	require.NoError(t, err)
	require.NoError(t, x.Put(t.Context(), ofWorker("w")))
	require.NoError(t, x.Close())
	for _, change := range []bool{false, true} {
		full := true
		x, err = Open(t.Context(), "disk", Options{FS: vfs.WithFaults(d.Process(), func(op, _ string) error {
			if full && op == "write" {
				return syscall.ENOSPC
			}
			return nil
		})})
		require.NoError(t, err)
		require.True(t, x.unsaid)
		require.EqualValues(t, 1, x.feed.Seq(), "it was closed")
		require.ErrorIs(t, x.Put(t.Context(), ofWorker("v")), kvferry.ErrNoSpace)
		full = false
		if change {
			require.NoError(t, x.Put(t.Context(), ofWorker("v")))
			require.False(t, x.unsaid)
			y, err := Open(t.Context(), "disk", Options{FS: d.Crash(vfs.CrashOptions{}).Process()})
			require.NoError(t, err)
			require.EqualValues(t, lifeChanges, y.feed.Seq())
			require.NoError(t, y.Close())
		}
		require.NoError(t, x.Close())
	}
}
