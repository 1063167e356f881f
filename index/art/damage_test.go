package art_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
	"github.com/kvferry/kvferry/index/internal/crashtest"
	"github.com/kvferry/kvferry/internal/vfs"
)

const firstLog = "0000000000000001.log"

func readFile(t *testing.T, d *vfs.Disk, name string) []byte {
	f, err := d.Process().Open(name, vfs.ReadOnly)
	require.NoError(t, err)
	b := make([]byte, d.Files()[name])
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

// edited returns a disk where a file is another.
func edited(t *testing.T, d *vfs.Disk, name string, edit func(f vfs.File)) *vfs.Disk {
	d = d.Snapshot()
	f, err := d.Process().Open(name, vfs.ReadWrite)
	require.NoError(t, err)
	edit(f)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	return d
}

func flipped(t *testing.T, d *vfs.Disk, name string, at int) *vfs.Disk {
	return edited(t, d, name, func(f vfs.File) {
		var b [1]byte
		_, err := f.ReadAt(b[:], int64(at))
		require.NoError(t, err)
		b[0] ^= 1 << (at % 8)
		_, err = f.WriteAt(b[:], int64(at))
		require.NoError(t, err)
	})
}

// written tells a story on a disk; its lengths are those of the log after each
// state. Only where end says so the index is closed.
func written(t *testing.T, o art.Options, seed uint64, n int, end bool) (*vfs.Disk, *story, []int64) {
	d := vfs.NewDisk()
	p := d.Process()
	o.FS = p
	x, err := art.Open(t.Context(), "disk", o)
	require.NoError(t, err)
	var s story
	var lengths []int64
	for i, do := range calls(seed, n) {
		if i == 0 {
			require.NoError(t, s.tell(t.Context(), x, nil, false))
			lengths = append(lengths, d.Files()[firstLog])
		}
		require.NoError(t, do(t.Context(), x))
		got, err := picture(t, x)
		require.NoError(t, err)
		s.add(got)
		if flushed(do) {
			s.durable = i + 1
		}
		lengths = append(lengths, d.Files()[firstLog])
	}
	if !end {
		p.Kill()
	}
	_ = x.Close()
	return d, &s, lengths
}

// outcome is what an index on a disk holds, or why it cannot be opened.
func outcome(t *testing.T, d *vfs.Disk) (string, art.Recovery, error) {
	o := plain(art.Options{})
	o.FS = d.Process()
	x, err := art.Open(t.Context(), "disk", o)
	if err != nil {
		return "", art.Recovery{}, err
	}
	got, err := picture(t, x)
	require.NoError(t, err)
	require.NoError(t, art.Check(x))
	r := x.Recovery()
	require.NoError(t, x.Close())
	return got, r, nil
}

// TestTornTails cuts the log off at every byte: what is left is all changes that
// are whole.
func TestTornTails(t *testing.T) {
	t.Parallel()
	d, s, lengths := written(t, plain(art.Options{}), 11, 12, false)
	log := readFile(t, d, firstLog)
	for n := 0; n <= len(log); n += crashtest.Every(1) {
		cut := edited(t, d, firstLog, func(f vfs.File) { require.NoError(t, f.Truncate(int64(n))) })
		got, r, err := outcome(t, cut)
		if n < 64 {
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			continue
		}
		require.NoError(t, err, n)
		whole := 0
		for whole+1 < len(lengths) && lengths[whole+1] <= int64(n) {
			whole++
		}
		require.Equal(t, s.states[whole], got, n)
		if r.TornBytes > 0 {
			require.EqualValues(t, n, r.TornAt+r.TornBytes)
		}
	}
}

// TestFlippedBits: in a log that was closed every flipped bit is found; in one that
// was not, what is lost is an end that no Flush made durable.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	stride := crashtest.Every(5)
	for _, end := range []bool{true, false} {
		d, s, _ := written(t, plain(art.Options{}), 12, 25, end)
		log := readFile(t, d, firstLog)
		last := s.states[len(s.states)-1]
		require.Greater(t, s.durable, 3)
		require.NotEqual(t, last, s.states[s.durable], "something is not flushed")
		mark := len(log) - art.MarkBytes
		for at := 0; at < len(log); at += stride {
			got, _, err := outcome(t, flipped(t, d, firstLog, at))
			switch {
			case err != nil:
				require.ErrorIs(t, err, kvferry.ErrCorrupt)
				require.Contains(t, err.Error(), "offset")
			case end && at < mark:
				require.Fail(t, "damage was not found", "byte %d of %d", at, len(log))
			case end:
				require.Equal(t, last, got)
			default:
				require.True(t, slices.Contains(s.states[s.durable:], got), "byte %d: no state since the last Flush", at)
			}
		}
	}
}

// TestDamagedSnapshots: one before and the logs take the place of a snapshot that
// does not hold.
func TestDamagedSnapshots(t *testing.T) {
	t.Parallel()
	d, s, _ := written(t, plain(art.Options{CompactBytes: 1200}), 13, 120, true)
	var snapshots []string
	for name := range d.Files() {
		if strings.HasSuffix(name, ".snapshot") {
			snapshots = append(snapshots, name)
		}
	}
	slices.Sort(snapshots)
	require.Len(t, snapshots, 2)
	last := s.states[len(s.states)-1]
	stride := crashtest.Every(29)
	size := int(d.Files()[snapshots[1]])
	for at := 0; at < size; at += stride {
		got, r, err := outcome(t, flipped(t, d, snapshots[1], at))
		require.NoError(t, err)
		require.Equal(t, last, got)
		require.Equal(t, snapshots[1:], r.Damaged)
	}
	for n := 0; n < size; n += 7 * stride {
		cut := edited(t, d, snapshots[1], func(f vfs.File) { require.NoError(t, f.Truncate(int64(n))) })
		got, _, err := outcome(t, cut)
		require.NoError(t, err)
		require.Equal(t, last, got)
	}
	_, _, err := outcome(t, flipped(t, flipped(t, d, snapshots[1], size-1), snapshots[0], 100))
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
	require.ErrorContains(t, err, snapshots[0])
	require.ErrorContains(t, err, snapshots[1])
}

// TestMissingFiles: a file that somebody took away is no empty index.
func TestMissingFiles(t *testing.T) {
	t.Parallel()
	d, s, _ := written(t, plain(art.Options{CompactBytes: 1200}), 14, 120, true)
	for name := range d.Files() {
		if name == "lock" {
			continue
		}
		less := d.Snapshot()
		require.NoError(t, less.Process().Remove(name))
		got, _, err := outcome(t, less)
		if err == nil {
			require.Equal(t, s.states[len(s.states)-1], got, name)
			continue
		}
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
}

func TestOneAtATime(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	x := open(t, d, art.Options{})
	_, err := try(t, d, art.Options{})
	require.ErrorIs(t, err, kvferry.ErrReadOnly)
	require.NoError(t, x.Close())
	require.NoError(t, x.Close())
	x = open(t, d, art.Options{})
	require.NoError(t, x.Put(t.Context(), []index.Record{benchRecord("p", "h", 0)}))
	require.NoError(t, x.Close())
	_, err = try(t, d, art.Options{Options: index.Options{Rules: index.AsHolt}})
	require.ErrorIs(t, err, kvferry.ErrInvalid, "keys were made with other rules")
	_, err = try(t, d, art.Options{CompactBytes: -1})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestNumbersGoOn: over reopening, with and without snapshots; where the index was
// not closed, behind all that may be lost.
func TestNumbersGoOn(t *testing.T) {
	t.Parallel()
	d := vfs.NewDisk()
	seq := uint64(0)
	for i := range 12 {
		x := open(t, d, art.Options{CompactBytes: 300})
		for range 5 {
			m, err := x.Metrics(t.Context())
			require.NoError(t, err)
			require.Equal(t, seq, m.Seq)
			r := benchRecord("p", strings.Repeat("h", 40), int(seq%5))
			r.Tier = index.LocalSSD
			require.NoError(t, x.Put(t.Context(), []index.Record{r}))
			seq++
		}
		if i%2 == 0 {
			require.NoError(t, x.Close())
		} else {
			x.process.Kill()
			seq = (seq>>32 + 1) << 32
		}
	}
}

// TestNumbersAreGivenOnce: whoever watched changes that a power failure took away
// is told.
func TestNumbersAreGivenOnce(t *testing.T) {
	t.Parallel()
	put := func(x *opened, hash string) {
		require.NoError(t, x.Put(t.Context(), []index.Record{benchRecord("p", hash, 0)}))
	}
	for _, closed := range []bool{false, true} { // once before, and opened again
		d := vfs.NewDisk()
		x := open(t, d, art.Options{})
		put(x, "first")
		require.NoError(t, x.Flush(t.Context()))
		if closed {
			require.NoError(t, x.Close())
			x = open(t, d, art.Options{})
		}
		for range 5 {
			put(x, "old")
		}
		m, err := x.Metrics(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 6, m.Seq)
		for _, c := range crashes(0) {
			y := open(t, d.Crash(c), art.Options{})
			_ = y.Watch(t.Context(), 0) // from now on changes are kept
			for range 7 {
				put(y, "new")
			}
			for c, err := range y.Watch(t.Context(), m.Seq) {
				require.ErrorIs(t, err, kvferry.ErrExpired, c)
				break
			}
			require.NoError(t, y.Close())
		}
	}
}
