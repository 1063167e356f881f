package vfs_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/vfs"
)

var modes = []vfs.CrashMode{vfs.LoseAll, vfs.KeepAll, vfs.Random, vfs.Garbage}

// names are the files of a disk, in order.
func names(d *vfs.Disk) string {
	return strings.Join(slices.Sorted(maps.Keys(d.Files())), " ")
}

// outcomes returns what look sees after many crashes of d.
func outcomes(d *vfs.Disk, mode vfs.CrashMode, look func(*vfs.Disk) string) map[string]bool {
	all := map[string]bool{}
	for seed := range uint64(300) {
		all[look(d.Crash(vfs.CrashOptions{Seed: seed, Mode: mode}))] = true
	}
	return all
}

func TestCrashNames(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	require.NoError(t, put(t, p, "a", "").Sync())
	put(t, p, "b", "")
	require.Empty(t, d.Crash(vfs.CrashOptions{}).Files(), "Sync of a file does not make its name durable")
	require.Equal(t, "a b", names(d.Crash(vfs.CrashOptions{Mode: vfs.KeepAll})))
	want := map[string]bool{"": true, "a": true, "b": true, "a b": true}
	require.Equal(t, want, outcomes(d, vfs.Random, names))
	require.Equal(t, "a b", names(d), "the disk itself goes on")
	require.NoError(t, p.SyncDir("."))
	for _, mode := range modes {
		require.Equal(t, map[string]bool{"a b": true}, outcomes(d, mode, names))
	}
	require.NoError(t, p.Remove("a"))
	require.Equal(t, map[string]bool{"b": true, "a b": true}, outcomes(d, vfs.Random, names))
}

// TestCrashRename: after a crash there is the old or the new, and always one.
func TestCrashRename(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	require.NoError(t, put(t, p, "name", "old").Sync())
	require.NoError(t, p.Mkdir("other"))
	require.NoError(t, p.SyncDir("."))
	require.NoError(t, put(t, p, "temporary", "new").Sync())
	require.NoError(t, p.Rename("temporary", "name"))
	look := func(c *vfs.Disk) string { return fmt.Sprint(names(c), "=", get(t, c.Process(), "name")) }
	require.Equal(t, map[string]bool{"name=old": true, "name temporary=old": true, "name=new": true},
		outcomes(d, vfs.Random, look))
	require.NoError(t, p.SyncDir("."))
	require.Equal(t, "name=new", look(d.Crash(vfs.CrashOptions{})))

	require.NoError(t, p.Rename("name", "other/name"))
	require.Equal(t, map[string]bool{"name": true, "other/name": true}, outcomes(d, vfs.Random, names))
	for _, dir := range []string{".", "other"} {
		s := d.Snapshot()
		require.NoError(t, s.Process().SyncDir(dir))
		require.Equal(t, "other/name", names(s.Crash(vfs.CrashOptions{})), "either directory will do")
	}
}

// TestCrashChain: what happened to one name happens in order.
func TestCrashChain(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	require.NoError(t, p.Mkdir("a"))
	require.NoError(t, p.Mkdir("b"))
	require.NoError(t, p.SyncDir("."))
	put(t, p, "a/1", "")
	require.NoError(t, p.Rename("a/1", "b/2"))
	require.NoError(t, p.Rename("b/2", "b/3"))
	require.Equal(t, map[string]bool{"": true, "a/1": true, "b/2": true, "b/3": true}, outcomes(d, vfs.Random, names))
	s := d.Snapshot()
	require.NoError(t, s.Process().SyncDir("b"))
	require.Equal(t, "b/3", names(s.Crash(vfs.CrashOptions{})))
	s = d.Snapshot()
	require.NoError(t, s.Process().SyncDir("a"))
	require.Equal(t, "b/2", names(s.Crash(vfs.CrashOptions{})))

	require.NoError(t, p.Remove("b/3"))
	require.NoError(t, p.Remove("b"))
	require.NoError(t, p.SyncDir("."))
	require.Empty(t, d.Crash(vfs.CrashOptions{}).Files())
	require.Equal(t, map[string]bool{"": true, "a/1": true}, outcomes(d, vfs.Random, names))
}

// TestCrashSectors: of what was not synchronised any sectors remain, each as
// one of the writes left it; the last one of a write may be torn.
func TestCrashSectors(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	const n = 4
	file := put(t, p, "file", strings.Repeat("a", n*vfs.SectorBytes))
	require.NoError(t, file.Sync())
	require.NoError(t, p.SyncDir("."))
	write := func(c string, from, to int) {
		_, err := file.WriteAt([]byte(strings.Repeat(c, to-from)), int64(from))
		require.NoError(t, err)
	}
	write("b", 0, n*vfs.SectorBytes)
	write("c", vfs.SectorBytes, 2*vfs.SectorBytes+10)
	seen := [n]map[byte]int{{}, {}, {}, {}}
	torn := 0
	for seed := range uint64(300) {
		got := get(t, d.Crash(vfs.CrashOptions{Seed: seed, Mode: vfs.Random}).Process(), "file")
		require.Len(t, got, n*vfs.SectorBytes)
		for i := range n {
			sector := got[i*vfs.SectorBytes:][:vfs.SectorBytes]
			if i == 2 {
				require.NotContains(t, sector[10:], "c", "past the write")
				sector = sector[:10]
			}
			if strings.Trim(sector, sector[:1]) != "" {
				require.GreaterOrEqual(t, i, 2, "only the last sector of a write is torn")
				torn++
			} else {
				seen[i][sector[0]]++
			}
		}
	}
	require.Positive(t, torn)
	for i, want := range []string{"ab", "abc", "abc", "ab"} {
		for _, c := range []byte(want) {
			require.Positive(t, seen[i][c], "%c in sector %d", c, i)
		}
	}
	require.Equal(t, strings.Repeat("a", n*vfs.SectorBytes), get(t, d.Crash(vfs.CrashOptions{}).Process(), "file"))
	require.NoError(t, file.Sync())
	for _, mode := range modes {
		crashed := d.Crash(vfs.CrashOptions{Seed: 1, Mode: mode})
		require.Equal(t, get(t, p, "file"), get(t, crashed.Process(), "file"))
		require.Equal(t, get(t, p, "file"), get(t, crashed.Crash(vfs.CrashOptions{}).Process(), "file"), "what a crash left is durable")
	}
}

func TestCrashLength(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	p := d.Process()
	file := put(t, p, "file", "aaaaaaaaaa")
	require.NoError(t, file.Sync())
	require.NoError(t, p.SyncDir("."))
	require.NoError(t, file.Truncate(4))
	_, err := file.WriteAt([]byte("bbbbbbbbbbbbbbbb"), 4)
	require.NoError(t, err)
	require.NoError(t, file.Allocate(100))
	lengths := map[int]bool{}
	for seed := range uint64(300) {
		got := get(t, d.Crash(vfs.CrashOptions{Seed: seed, Mode: vfs.Random}).Process(), "file")
		lengths[len(got)] = true
		require.Equal(t, "aaaa", got[:4])
		if len(got) == 10 {
			require.Equal(t, "aaaaaaaaaa", got)
		}
		if len(got) > 20 {
			require.Equal(t, strings.Repeat("\x00", 80), got[20:], "reserved room reads as zeros")
		}
	}
	require.Equal(t, map[int]bool{10: true, 4: true, 20: true, 100: true}, lengths)
}

// TestCrashGarbage: a longer file has anything where its data is lost, but not
// in room that was reserved before.
func TestCrashGarbage(t *testing.T) {
	t.Parallel()
	const n = 8 * vfs.SectorBytes
	look := func(reserve int64, mode vfs.CrashMode) map[string]bool {
		d := vfs.NewDisk()
		p := d.Process()
		file := put(t, p, "file", strings.Repeat("a", vfs.SectorBytes))
		if reserve > 0 {
			require.NoError(t, file.Allocate(reserve))
		}
		require.NoError(t, file.Sync())
		require.NoError(t, p.SyncDir("."))
		_, err := file.WriteAt(bytes.Repeat([]byte("b"), n), 0)
		require.NoError(t, err)
		kinds := map[string]bool{}
		for seed := range uint64(100) {
			got := get(t, d.Crash(vfs.CrashOptions{Seed: seed, Mode: mode}).Process(), "file")
			for i := 0; i+vfs.SectorBytes < len(got); i += vfs.SectorBytes {
				sector := got[i:][:vfs.SectorBytes]
				if strings.Trim(sector, sector[:1]) == "" {
					kinds[sector[:1]] = true
				} else {
					kinds["garbage"] = true
					require.Positive(t, i, "it was durable")
				}
			}
		}
		return kinds
	}
	require.Equal(t, map[string]bool{"a": true, "b": true, "garbage": true}, look(0, vfs.Garbage))
	require.Equal(t, map[string]bool{"a": true, "b": true, "\x00": true}, look(n, vfs.Garbage))
	require.Equal(t, map[string]bool{"a": true, "b": true, "\x00": true}, look(0, vfs.Random))
}

func TestCrashSeed(t *testing.T) {
	t.Parallel()
	d := scribble(t, 5)
	for _, mode := range modes {
		a := d.Crash(vfs.CrashOptions{Seed: 9, Mode: mode})
		b := d.Snapshot().Crash(vfs.CrashOptions{Seed: 9, Mode: mode})
		require.Equal(t, a.Files(), b.Files())
		for name := range a.Files() {
			require.Equal(t, get(t, a.Process(), name), get(t, b.Process(), name))
		}
		free, err := a.Process().FreeBytes()
		require.NoError(t, err)
		require.Positive(t, free)
	}
}

// TestCrashModel: whatever was done, after a crash a file that was synchronised
// and has not been changed since is as it was.
func TestCrashModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		d := scribble(t, seed)
		p := d.Process()
		want := map[string]string{}
		for name := range d.Files() {
			file, err := p.Open(name, vfs.ReadOnly)
			require.NoError(t, err)
			require.NoError(t, file.Sync())
			require.NoError(t, file.Close())
			want[name] = get(t, p, name)
		}
		require.NoError(t, p.SyncDir("."))
		require.NoError(t, p.SyncDir("dir"))
		for _, mode := range modes {
			c := d.Crash(vfs.CrashOptions{Seed: seed, Mode: mode})
			require.Equal(t, d.Files(), c.Files())
			for name := range want {
				require.Equal(t, want[name], get(t, c.Process(), name))
			}
		}
	}
}

// scribble returns a disk on which many things were done, most of them not
// durable.
func scribble(t *testing.T, seed uint64) *vfs.Disk {
	dice := rand.New(rand.NewPCG(seed, 1))
	d := vfs.NewDisk()
	p := d.Process()
	require.NoError(t, p.Mkdir("dir"))
	require.NoError(t, p.SyncDir("."))
	name := func() string { return []string{"", "dir/"}[dice.IntN(2)] + string(rune('a'+dice.IntN(4))) }
	for range 200 {
		file, err := p.Open(name(), vfs.Create)
		require.NoError(t, err)
		size := dice.Int64N(200_000)
		switch dice.IntN(8) {
		case 0:
			require.NoError(t, file.Truncate(size))
		case 1:
			require.NoError(t, file.Allocate(size+1))
		case 2:
			require.NoError(t, file.Sync())
		case 3:
			require.NoError(t, p.SyncDir([]string{".", "dir"}[dice.IntN(2)]))
		case 4:
			_ = p.Remove(name()) // it may not be there
		case 5:
			_ = p.Rename(name(), name()) // likewise
		default:
			_, err := file.WriteAt(bytes.Repeat([]byte{byte(1 + dice.IntN(255))}, dice.IntN(50_000)), size)
			require.NoError(t, err)
		}
		require.NoError(t, file.Close())
	}
	return d
}

// BenchmarkCrash is what a crash at an operation costs, with content that a
// write has just changed.
func BenchmarkCrash(b *testing.B) {
	d := vfs.NewDisk()
	file, err := d.Process().Open("file", vfs.Create)
	require.NoError(b, err)
	_, err = file.WriteAt(make([]byte, 8<<20), 0)
	require.NoError(b, err)
	require.NoError(b, file.Sync())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := file.WriteAt([]byte("x"), 4<<20); err != nil {
			b.Fatal(err)
		}
		d.Crash(vfs.CrashOptions{Mode: vfs.Random})
		if err := file.Sync(); err != nil {
			b.Fatal(err)
		}
	}
}
