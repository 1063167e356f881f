package packfile_test

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// found is what a scan visited: sound records, records that are not, and damage.
type found struct {
	sound, unsound []packfile.Spot
	damage         []packfile.Spot
	errs           []error
}

func (f *found) visit(off int64, rec []byte, err error) bool {
	s := packfile.Spot{Pack: 1, Off: off, Bytes: int64(len(rec))}
	var d *packfile.DamageError
	switch {
	case rec != nil && err == nil:
		f.sound = append(f.sound, s)
	case rec != nil:
		f.unsound = append(f.unsound, s)
	case errors.As(err, &d) && d.Off == off:
		f.damage = append(f.damage, packfile.Spot{Pack: d.Pack, Off: off, Bytes: d.Bytes})
	default:
		panic("neither a record nor damage")
	}
	f.errs = append(f.errs, err)
	return true
}

func scanPack(t testing.TB, f vfs.FS, from, to int64) found {
	var all found
	r := openReader(t, f, false)
	require.NoError(t, r.Scan(t.Context(), 1, from, to, all.visit))
	return all
}

// spotsIn returns the places of the blobs that lie in a pack.
func spotsIn(pack uint64, blobs []blob) []packfile.Spot {
	var spots []packfile.Spot
	for _, b := range blobs {
		if b.at.Pack == pack {
			spots = append(spots, b.at)
		}
	}
	return spots
}

// overwrite changes bytes of pack 1.
func overwrite(t testing.TB, f vfs.FS, off int64, p []byte) {
	h, err := f.Open(packfile.Path(1), vfs.ReadWrite)
	require.NoError(t, err)
	_, err = h.WriteAt(p, off)
	require.NoError(t, err)
	require.NoError(t, h.Close())
}

func TestScan(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, f vfs.FS, direct bool) {
		o := options(f, direct)
		o.PackBytes = 16 << 20
		l := openLane(t, o)
		var blobs []blob
		for i, n := range append(manySizes(60, 30_000), 6<<20, 5<<20, 0) { // longer than a window
			b := blobOf(uint64(i), n)
			require.NoError(t, b.put(t, l))
			blobs = append(blobs, b)
			if i%9 == 0 {
				require.NoError(t, l.Sync(t.Context()))
			}
		}
		require.NoError(t, l.Sync(t.Context()))
		r := openReader(t, f, direct)
		for pack := uint64(1); pack <= blobs[len(blobs)-1].at.Pack; pack++ {
			want := spotsIn(pack, blobs)
			i := 0
			err := r.Scan(t.Context(), pack, 0, 0, func(off int64, rec []byte, err error) bool {
				require.NoError(t, err)
				got := packfile.Spot{Pack: pack, Off: off, Bytes: int64(len(rec))}
				require.Equal(t, want[i], got)
				j := slices.IndexFunc(blobs, func(b blob) bool { return b.at == want[i] })
				require.NoError(t, blobs[j].check(rec))
				i++
				return true
			})
			require.NoError(t, err)
			require.Len(t, want, i, "with the room reserved behind them")
		}
		require.NoError(t, l.Close(t.Context()))
		all := scanPack(t, f, blobs[10].at.Off, blobs[20].at.Off)
		require.Equal(t, spotsIn(1, blobs[10:20]), all.sound)
		require.Empty(t, all.damage)
	})
}

func TestScanErrors(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	blobs := fillPacks(t, options(f, false), 100, 200, 300)
	r := openReader(t, f, false)
	never := func(int64, []byte, error) bool { t.Error("visited"); return true }
	require.Error(t, r.Scan(t.Context(), 2, 0, 0, never))
	require.ErrorIs(t, r.Scan(t.Context(), 1, 4097, 0, never), kvferry.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Scan(ctx, 1, 0, 0, never), context.Canceled)
	n := 0
	require.NoError(t, r.Scan(t.Context(), 1, 0, 0, func(int64, []byte, error) bool { n++; return n < 2 }))
	require.Equal(t, 2, n)
	// What lies behind the end of the file is missing.
	all := scanPack(t, f, 0, 20_000)
	require.Equal(t, spotsIn(1, blobs), all.sound)
	require.Equal(t, []packfile.Spot{{Pack: 1, Off: 8192, Bytes: 20_000 - 8192}}, all.damage)
	all = scanPack(t, f, 16_384, 20_480)
	require.Equal(t, []packfile.Spot{{Pack: 1, Off: 16_384, Bytes: 4096}}, all.damage)
}

// TestScanFindsDamage damages one of several records in different ways.
func TestScanFindsDamage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		at      int64 // in the record
		bytes   []byte
		unsound bool // the record is visited, with an error
		err     error
		spoilt  bool // a range is damaged
	}{
		{name: "magic", bytes: []byte{0xff}, spoilt: true, err: kvferry.ErrCorrupt},
		{name: "zero magic", bytes: make([]byte, 4), spoilt: true, err: kvferry.ErrCorrupt},
		{name: "header", at: 20, bytes: []byte{1, 2, 3, 4}, spoilt: true, err: kvferry.ErrCorrupt},
		{name: "frame header", at: 60, bytes: []byte{1, 2, 3, 4}, spoilt: true, err: kvferry.ErrCorrupt},
		{name: "payload", at: 5000, bytes: []byte{1, 2, 3, 4}, unsound: true, err: kvferry.ErrCorrupt},
		{name: "padding", at: 10_080, bytes: []byte{1}, unsound: true, err: kvferry.ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := makeDisk(t).Process()
			blobs := fillPacks(t, options(f, false), 300, 10_000, 500)
			hurt := blobs[1].at
			overwrite(t, f, hurt.Off+c.at, c.bytes)
			all := scanPack(t, f, 0, 0)
			require.Equal(t, []packfile.Spot{blobs[0].at, blobs[2].at}, all.sound)
			require.Len(t, all.errs, 3)
			require.ErrorIs(t, all.errs[1], c.err)
			if c.unsound {
				require.Equal(t, []packfile.Spot{hurt}, all.unsound)
			}
			if c.spoilt {
				require.Len(t, all.damage, 1)
				got := all.damage[0]
				require.GreaterOrEqual(t, got.Off, hurt.Off)
				require.Less(t, got.Off, hurt.Off+128)
				require.LessOrEqual(t, got.Off+got.Bytes, hurt.Off+hurt.Bytes)
				require.Greater(t, got.Off+got.Bytes, hurt.Off+hurt.Bytes-200)
			}
		})
	}
}

// TestScanMeetsNewerRecords shows what this build does not know: a codec, of
// which the checksum still tells whether it is whole, and a version.
func TestScanMeetsNewerRecords(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	blobs := fillPacks(t, options(f, false), 300, 10_000, 500)
	rec := reframe(blobs[1].record(), 5, 9)
	overwrite(t, f, blobs[1].at.Off, rec)
	all := scanPack(t, f, 0, 0)
	require.Equal(t, []packfile.Spot{blobs[0].at, blobs[2].at}, all.sound)
	require.Equal(t, []packfile.Spot{blobs[1].at}, all.unsound)
	require.ErrorIs(t, all.errs[1], kvferry.ErrUnsupported)

	rec = blobs[1].record()
	rec[4] = 2
	reseal(rec)
	overwrite(t, f, blobs[1].at.Off, rec)
	all = scanPack(t, f, 0, 0)
	require.Equal(t, []packfile.Spot{blobs[0].at, blobs[2].at}, all.sound)
	require.Len(t, all.damage, 1)
	require.ErrorIs(t, all.errs[1], kvferry.ErrUnsupported)
}

// TestScanFindsEveryFlippedBit flips every bit behind the header of a small
// pack.
func TestScanFindsEveryFlippedBit(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	fillPacks(t, options(f, false), 10, 100, 20)
	p := content(t, f, 1)
	require.Len(t, p, 8192)
	h, err := f.Open(packfile.Path(1), vfs.ReadWrite)
	require.NoError(t, err)
	r := openReader(t, f, false)
	step := 1
	if testing.Short() || raceEnabled {
		step = 7
	}
	for bit := 4096 * 8; bit < len(p)*8; bit += step {
		_, err := h.WriteAt([]byte{p[bit/8] ^ 1<<(bit%8)}, int64(bit/8))
		require.NoError(t, err)
		told := false
		require.NoError(t, r.Scan(t.Context(), 1, 0, 0, func(_ int64, _ []byte, err error) bool {
			told = told || err != nil
			return true
		}))
		if !told {
			t.Fatalf("bit %d of byte %d is checked by nothing", bit%8, bit/8)
		}
		_, err = h.WriteAt(p[bit/8:bit/8+1], int64(bit/8))
		require.NoError(t, err)
	}
	require.NoError(t, h.Close())
}

// TestScanGoesOnAfterUnreadableBlocks makes a block unreadable: in the middle
// of a record, and with the beginnings of some.
func TestScanGoesOnAfterUnreadableBlocks(t *testing.T) {
	t.Parallel()
	d := makeDisk(t)
	o := options(d.Process(), false)
	o.PackBytes = 16 << 20
	blobs := fillPacks(t, o, 100, 100_000, 50, 60, 70, 5<<20, 80)
	for _, bad := range []int64{40_000, blobs[3].at.Off, blobs[5].at.Off + 1<<20} {
		f := &badBlock{FS: d.Process(), off: bad}
		all := scanPack(t, f, 0, 0)
		require.NotEmpty(t, all.damage)
		for _, b := range blobs {
			hit := b.at.Off < bad&^4095+4096 && b.at.Off+b.at.Bytes > bad&^4095
			if !hit {
				require.Contains(t, all.sound, b.at, "with the block of %d", bad)
			}
		}
		require.ErrorIs(t, all.errs[slices.IndexFunc(all.errs, func(err error) bool { return err != nil })], syscall.EIO)
	}
}

// badBlock cannot read the block at off.
type badBlock struct {
	vfs.FS
	off int64
}

type badBlockFile struct {
	vfs.File
	b *badBlock
}

func (b *badBlock) Open(name string, how vfs.Mode) (vfs.File, error) {
	f, err := b.FS.Open(name, how)
	return &badBlockFile{f, b}, err
}

func (f *badBlockFile) ReadAt(p []byte, off int64) (int, error) {
	if bad := f.b.off &^ 4095; off < bad+4096 && off+int64(len(p)) > bad {
		n, err := f.File.ReadAt(p[:max(bad-off, 0)], off)
		return n, errors.Join(err, syscall.EIO)
	}
	return f.File.ReadAt(p, off)
}
