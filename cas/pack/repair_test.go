package pack

import (
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/internal/vfs"
)

// mend repairs what is on a disk and returns the report.
func mend(t testing.TB, f vfs.FS) cas.RepairReport {
	t.Helper()
	o := ruinOptions(f)
	o.Repair = true
	s, err := Open("ruin", o)
	require.NoError(t, err)
	report, err := s.Repair(context.Background(), cas.RepairOptions{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
	return report
}

// overwrite replaces a file's content.
func overwrite(t testing.TB, d *vfs.Disk, name string, b []byte) {
	t.Helper()
	f, err := d.Process().Open(name, vfs.ReadWrite|vfs.Create)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(0))
	_, err = f.WriteAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// ruins are kinds of damage of the log and index. kept is how many snapshots
// are still known after it.
var ruins = []struct {
	name string
	rest bool // there is a checkpoint
	kept int
	do   func(t testing.TB, d *vfs.Disk)
}{
	{"the log is gone", false, 0, func(t testing.TB, d *vfs.Disk) { remove(t, d, "log/*") }},
	{"the log is gone, there is a checkpoint", true, 1, func(t testing.TB, d *vfs.Disk) { remove(t, d, "log/*") }},
	{"the directory of the log is gone", true, 1, func(t testing.TB, d *vfs.Disk) {
		remove(t, d, "log/*")
		require.NoError(t, d.Process().Remove("log"))
	}},
	{"the log is empty", true, 1, func(t testing.TB, d *vfs.Disk) { overwrite(t, d, files(d, "log/*.log")[0], nil) }},
	{"the log is zeros", false, 0, func(t testing.TB, d *vfs.Disk) {
		name := files(d, "log/*.log")[0]
		overwrite(t, d, name, make([]byte, d.Files()[name]))
	}},
	{"the log is zeros behind its header", false, 0, func(t testing.TB, d *vfs.Disk) {
		name := files(d, "log/*.log")[0]
		b := []byte(contentOf(t, d)[name])
		clear(b[4096:])
		overwrite(t, d, name, b)
	}},
	{"a transaction is damaged", false, 3, func(t testing.TB, d *vfs.Disk) {
		flipBits(t, d.Process(), files(d, "log/*.log")[0], (8192+60)*8) // the first one
	}},
	{"the checkpoint is gone", true, 2, func(t testing.TB, d *vfs.Disk) { remove(t, d, "index/*.idx") }},
	{"the checkpoint is empty", true, 2, func(t testing.TB, d *vfs.Disk) { overwrite(t, d, files(d, "index/*.idx")[0], nil) }},
	{"all but the packs is gone", true, 0, func(t testing.TB, d *vfs.Disk) {
		for _, name := range slices.Collect(maps.Keys(d.Files())) {
			if name[:5] != "packs" {
				require.NoError(t, d.Process().Remove(name))
			}
		}
		for _, dir := range []string{"log", "index", "streams"} {
			require.NoError(t, d.Process().Remove(dir))
		}
	}},
}

func TestRepairFindsAllBlobs(t *testing.T) {
	t.Parallel()
	for _, ruined := range ruins {
		t.Run(ruined.name, func(t *testing.T) {
			t.Parallel()
			r := buildRuin(t, ruined.rest)
			ruined.do(t, r.disk)
			packs := files(r.disk, "packs/*")
			_, err := Open("ruin", ruinOptions(r.disk.Process()))
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.ErrorContains(t, err, "check --repair")
			r.readDamaged(t)

			report := mend(t, r.disk.Process())
			require.NotEmpty(t, report.Lost)
			require.Equal(t, packs, files(r.disk, "packs/*"))
			s, err := Open("ruin", ruinOptions(r.disk.Process()))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Close()) }()
			require.Empty(t, r.wrong(t, s), "every blob is back")
			require.Empty(t, problems(t, s))
			entries, err := s.Catalog().Entries(t.Context())
			require.NoError(t, err)
			require.Len(t, entries, ruined.kept)
			for _, e := range entries {
				require.Contains(t, r.refs, e.Root)
			}
			r.commit(t, s, "afterwards", 4, nil)
			_, err = s.Collect(t.Context(), r.collect())
			require.NoError(t, err)
			require.Empty(t, problems(t, s))
			require.Empty(t, mend(t, r.disk.Snapshot().Process()), "it is done")
		})
	}
}

// readDamaged opens the store for reading: what is read is right, what is
// missing is told.
func (r *ruin) readDamaged(t testing.TB) {
	t.Helper()
	o := ruinOptions(r.disk.Process())
	o.ReadOnly = true
	s, err := Open("ruin", o)
	if err != nil {
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		return
	}
	r.wrong(t, s)
	_, err = s.Catalog().Entries(context.Background())
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	_, err = s.Catalog().Lookup(context.Background(), "nobody")
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.NotEmpty(t, problems(t, s))
	require.NoError(t, s.Close())
}

func TestNothingIsTakenForGarbageBeforeItWasRead(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	remove(t, r.disk, "log/*")
	packs := files(r.disk, "packs/*")
	o := ruinOptions(r.disk.Process())
	o.Repair = true
	s, err := Open("ruin", o)
	require.NoError(t, err)
	_, err = s.Collect(t.Context(), r.collect())
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.NoError(t, s.checkpoint(t.Context()), "which looks sound")
	require.NoError(t, s.Close())

	_, err = Open("ruin", ruinOptions(r.disk.Process()))
	require.ErrorIs(t, err, kvferry.ErrCorrupt, "the packs were not read")
	r.readDamaged(t)
	require.Equal(t, packs, files(r.disk, "packs/*"))
	require.NotZero(t, mend(t, r.disk.Process()).Found)
	require.Equal(t, packs, files(r.disk, "packs/*"))
}

func TestRepairIsForStoresOpenedForIt(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, false)
	s, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	_, err = s.Repair(t.Context(), cas.RepairOptions{})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.NoError(t, s.Close())
	before := contentOf(t, r.disk)
	require.Empty(t, mend(t, r.disk.Process()), "of a sound store nothing is changed")
	require.Equal(t, before, contentOf(t, r.disk))
}

// TestRepairKilled ends a repair before each of its operations, also with the
// power, and repairs again.
func TestRepairKilled(t *testing.T) {
	t.Parallel()
	for _, ruined := range ruins {
		t.Run(ruined.name, func(t *testing.T) {
			t.Parallel()
			if underRace && !ruined.rest {
				t.Skip("takes long with the race detector")
			}
			r := buildRuin(t, ruined.rest)
			ruined.do(t, r.disk)
			d := r.disk.Crash(vfs.CrashOptions{Mode: vfs.KeepAll})
			ends := 0
			step := 11 * slow
			if faultSoak() {
				step = 1
			}
			for k, more := 0, true; more; k += step {
				more = r.killedRepair(t, d.Snapshot(), k)
				ends++
			}
			t.Logf("%d ends of a repair", ends)
		})
	}
}

func (r *ruin) killedRepair(t *testing.T, d *vfs.Disk, k int) (more bool) {
	t.Helper()
	var crashed []*vfs.Disk
	var n atomic.Int64
	d.Before(func(string, string) {
		if n.Add(1) == int64(k+1) {
			for mode := range vfs.CrashMode(4) {
				crashed = append(crashed, d.Crash(vfs.CrashOptions{Mode: mode, Seed: uint64(k)}))
			}
		}
	})
	mend(t, d.Process())
	d.Before(nil)
	packs := files(r.disk, "packs/*")
	for mode, c := range crashed {
		mend(t, c.Process())
		s, err := Open("ruin", ruinOptions(c.Process()))
		require.NoError(t, err, "operation %d, mode %d", k, mode)
		require.Empty(t, r.wrong(t, s), "operation %d, mode %d", k, mode)
		require.Empty(t, problems(t, s))
		require.NoError(t, s.Close())
		require.Equal(t, packs, files(c, "packs/*"))
	}
	return len(crashed) > 0
}

func TestPacksGetTheirNamesBack(t *testing.T) {
	t.Parallel()
	r := buildRuin(t, true)
	p := r.disk.Process()
	packs := files(r.disk, "packs/*")
	swap := func(a, b string) {
		require.NoError(t, p.Rename(a, "x"))
		require.NoError(t, p.Rename(b, a))
		require.NoError(t, p.Rename("x", b))
	}
	swap(packs[0], packs[1])
	r.misnamed(t, 2)
	require.NoError(t, p.Rename(packs[0], "packs/0000000000000001.pack"))
	r.misnamed(t, 1)
}

// misnamed looks at a store of which so many packs are under wrong names.
func (r *ruin) misnamed(t *testing.T, n int) {
	t.Helper()
	before := contentOf(t, r.disk)
	for _, readOnly := range []bool{true, false} {
		o := ruinOptions(r.disk.Process())
		o.ReadOnly = readOnly
		s, err := Open("ruin", o)
		require.NoError(t, err)
		require.NotEmpty(t, problems(t, s))
		if readOnly {
			r.wrong(t, s) // else it forgets what the cache lost
		} else {
			_, err = s.tidy(t.Context(), false)
			require.NoError(t, err)
		}
		require.NoError(t, s.Close())
	}
	after := contentOf(t, r.disk)
	for name, b := range before {
		if name[:5] == "packs" {
			require.Equal(t, b, after[name], "%s is as it was: %d bytes, %d now", name, len(b), len(after[name]))
		}
	}
	require.EqualValues(t, n, mend(t, r.disk.Process()).Renamed)
	s, err := Open("ruin", ruinOptions(r.disk.Process()))
	require.NoError(t, err)
	require.True(t, r.same(t, s))
	require.Empty(t, problems(t, s))
	require.NoError(t, s.Close())
}
