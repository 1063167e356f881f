package journal_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/internal/vfs"
)

const firstLog = "log/0000000000000001.log"

// rotting is a small log, and what it says.
func rotting(t *testing.T) (image []byte, want []string) {
	t.Helper()
	fs := vfs.NewDisk().Process()
	a := open(t, journal.Options{FS: fs})
	a.commit(t, journal.Durable, "one", "two")
	w := a.lock(t)
	require.NoError(t, w.AppendBeside([]journal.Write{{Parts: [][]byte{[]byte("beside")}}}, func() error { return nil }))
	a.got = append(a.got, "3:beside")
	a.add(t, w, 0, "unsynced", "")
	require.NoError(t, w.Sync())
	a.add(t, w, journal.Durable, "the last")
	w.Unlock()
	image, err := readAll(fs, firstLog)
	require.NoError(t, err)
	return image[:8192+1024], a.got
}

// rotten is a disk with that log.
func rotten(t *testing.T, image []byte) vfs.FS {
	t.Helper()
	fs := vfs.NewDisk().Process()
	require.NoError(t, fs.Mkdir("log"))
	require.NoError(t, fs.Mkdir("index"))
	require.NoError(t, writeAll(fs, firstLog, string(image)))
	return fs
}

// opened opens a log and returns what it says, and what is lost.
func opened(t *testing.T, o journal.Options) ([]string, []error, error) {
	t.Helper()
	o.StoreID = storeID
	j, err := journal.Open(t.Context(), o)
	if err != nil {
		return nil, nil, err
	}
	defer func() { require.NoError(t, j.Close()) }()
	r := reader{j: j}
	require.NoError(t, j.Follow(t.Context(), r.apply)) // not Fresh if words are damaged
	return r.got, j.Damage(), nil
}

func TestEveryBitFlipped(t *testing.T) {
	t.Parallel()
	image, want := rotting(t)
	end := 8192 + 40*len(want) + 200
	for _, area := range [][2]int{{0, 72}, {2040, 2120}, {4090, 4136}, {8192, end}} {
		for bit := area[0] * 8; bit < area[1]*8; bit += stride(5, 35) {
			image[bit/8] ^= 1 << (bit % 8)
			flipped(t, image, want, bit)
			image[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// flipped checks that nothing is lost in silence, however the log is opened.
func flipped(t *testing.T, image []byte, want []string, bit int) {
	t.Helper()
	where := fmt.Sprintf("byte %d bit %d", bit/8, bit%8)
	got, _, err := opened(t, journal.Options{FS: rotten(t, image)})
	if err != nil {
		require.True(t, errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrUnsupported), "%s: %v", where, err)
	} else {
		require.Equal(t, want, got, where)
	}
	clean := err == nil
	fs := rotten(t, image)
	for _, o := range []journal.Options{{FS: fs, ReadOnly: true}, {FS: fs, Repair: true}} {
		got, damage, err := opened(t, o)
		require.NoError(t, err, where)
		require.True(t, !clean || len(damage) == 0, "%s: %v", where, damage)
		if len(damage) == 0 {
			require.Equal(t, want, got, where)
			continue
		}
		for _, d := range damage {
			require.ErrorIs(t, d, kvferry.ErrCorrupt)
		}
		require.GreaterOrEqual(t, len(got), len(want)-1, where)
		require.Subset(t, want, got, where)
	}
}

func TestRepairReplacesADamagedLog(t *testing.T) {
	t.Parallel()
	image, want := rotting(t)
	image[8192+48+41] ^= 1 // in "two"
	fs := rotten(t, image)
	_, _, err := opened(t, journal.Options{FS: fs})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.ErrorContains(t, err, "check --repair")
	_, damage, err := opened(t, journal.Options{FS: fs, ReadOnly: true})
	require.NoError(t, err)
	var lost *journal.LostError
	require.Len(t, damage, 1)
	require.ErrorAs(t, damage[0], &lost)
	require.Equal(t, uint64(2), lost.First)
	require.Equal(t, uint64(2), lost.Last)
	require.Equal(t, int64(8192+48), lost.Offset)
	require.Equal(t, int64(8192+96), lost.End)

	_, damage, err = opened(t, journal.Options{FS: fs, Repair: true})
	require.NoError(t, err)
	require.Len(t, damage, 1)
	a := open(t, journal.Options{FS: fs})
	require.Equal(t, append([]string{want[0]}, want[2:]...), a.follow(t))
	a.commit(t, journal.Durable, "new")
	require.Equal(t, "7:new", a.got[len(a.got)-1], "numbers are not used twice")
	require.Empty(t, a.j.Damage())
	require.Equal(t, a.got, open(t, journal.Options{FS: fs}).follow(t))
}

func TestRotBesideTheLiving(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fs := osFS(t, dir)
	a, b := open(t, journal.Options{FS: fs}), open(t, journal.Options{FS: fs})
	a.commit(t, journal.Durable, "one", "two", "three")
	f, err := fs.Open(firstLog, vfs.ReadWrite)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("X"), 8192+48+41)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.ErrorIs(t, b.j.Follow(t.Context(), b.apply), kvferry.ErrCorrupt)
	require.Equal(t, []string{"1:one"}, b.got)
	_, err = b.j.Lock(t.Context(), b.apply)
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	ro := open(t, journal.Options{FS: fs, ReadOnly: true})
	require.Equal(t, []string{"1:one", "3:three"}, ro.follow(t))
	require.Len(t, ro.j.Damage(), 1)
	a.commit(t, journal.Durable, "four")
	require.Equal(t, []string{"1:one", "3:three", "4:four"}, ro.follow(t))
	require.Len(t, ro.j.Damage(), 1)
}

func TestBothHeadersLost(t *testing.T) {
	t.Parallel()
	image, want := rotting(t)
	copy(image[10:], "rubbish")
	copy(image[2058:], "rubbish")
	fs := rotten(t, image)
	_, _, err := opened(t, journal.Options{FS: fs})
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	fs = rotten(t, image)
	for _, o := range []journal.Options{{FS: fs, ReadOnly: true}, {FS: fs, Repair: true}} {
		got, damage, err := opened(t, o)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Len(t, damage, 1)
	}
	require.Equal(t, want, open(t, journal.Options{FS: fs}).follow(t))
	for _, n := range []int{0, 100, 5000} {
		fs := rotten(t, image[:n])
		_, _, err = opened(t, journal.Options{FS: fs})
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
		for _, o := range []journal.Options{{FS: fs, ReadOnly: true}, {FS: fs, Repair: true}} {
			got, damage, err := opened(t, o)
			require.NoError(t, err)
			require.Empty(t, got)
			require.NotEmpty(t, damage)
		}
	}
}
