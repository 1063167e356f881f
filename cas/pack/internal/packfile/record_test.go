package packfile_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/internal/vfs"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// reseal makes the checksum of a record's own header right again.
func reseal(rec []byte) {
	binary.LittleEndian.PutUint32(rec[44:], crc32.Checksum(rec[:44], castagnoli))
}

// TestRecordFormat builds a record by the drawing in the package comment.
func TestRecordFormat(t *testing.T) {
	t.Parallel()
	b := blobOf(1, 100)
	sum := b.d.Sum()
	want := []byte{'K', 'V', 'R', 'C', 1, 1, 0, 0}
	want = append(want, sum[:]...)
	want = binary.LittleEndian.AppendUint32(want, written)
	want = binary.LittleEndian.AppendUint32(want, crc32.Checksum(want, castagnoli))
	f := b.frame()
	want = f.AppendTo(want)
	want = append(want, make([]byte, 192-len(want))...)
	require.Equal(t, want, b.record())

	rec, err := packfile.ParseRecord(want[:packfile.OverheadBytes])
	require.NoError(t, err)
	require.Equal(t, b.d, rec.Digest)
	require.Equal(t, uint32(written), rec.Written)
	require.Equal(t, int64(100), rec.Frame.StoredBytes)
	require.Equal(t, int64(192), rec.Bytes())
}

// TestPackFormat builds the header of a pack by the drawing.
func TestPackFormat(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	l := openLane(t, options(f, false))
	b := blobOf(1, 1)
	require.NoError(t, b.put(t, l))
	require.NoError(t, l.Close(t.Context()))

	le := binary.LittleEndian
	want := []byte("KVFRPCK\n\x01\x00\x00\x00\x01\x00\x00\x00")
	want = le.AppendUint64(want, 1)
	want = append(want, storeID[:]...)
	want = le.AppendUint64(want, 9)
	want = le.AppendUint64(want, written*1e9+5)
	want = le.AppendUint32(want, crc32.Checksum(want, castagnoli))
	want = append(want, make([]byte, 4096-len(want))...)
	want = append(want, b.record()...)
	want = append(want, make([]byte, 8192-len(want))...)
	require.Equal(t, want, content(t, f, 1))
}

// content returns the bytes of a pack.
func content(t testing.TB, f vfs.FS, pack uint64) []byte {
	h, err := f.Open(packfile.Path(pack), vfs.ReadOnly)
	require.NoError(t, err)
	info, err := h.Stat()
	require.NoError(t, err)
	p := make([]byte, info.Size)
	_, err = h.ReadAt(p, 0)
	require.NoError(t, err)
	require.NoError(t, h.Close())
	return p
}

// TestHeaderDamage flips every bit of a pack's header.
func TestHeaderDamage(t *testing.T) {
	t.Parallel()
	f := makeDisk(t).Process()
	l := openLane(t, options(f, false))
	b := blobOf(1, 1)
	require.NoError(t, b.put(t, l))
	require.NoError(t, l.Close(t.Context()))
	p := content(t, f, 1)[:4096]
	_, err := packfile.ParseHeader(p)
	require.NoError(t, err)
	for i := range len(p) * 8 {
		p[i/8] ^= 1 << (i % 8)
		if _, err := packfile.ParseHeader(p); err == nil {
			t.Fatalf("bit %d of the header may be anything", i)
		}
		p[i/8] ^= 1 << (i % 8)
	}
	for _, c := range []struct{ at, value int }{{8, 2}, {12, 3}} { // another version, another class
		q := append([]byte(nil), p...)
		q[c.at] = byte(c.value)
		binary.LittleEndian.PutUint32(q[56:], crc32.Checksum(q[:56], castagnoli))
		_, err := packfile.ParseHeader(q)
		require.ErrorIs(t, err, kvferry.ErrUnsupported)
	}
	_, err = packfile.ParseHeader(p[:4095])
	require.ErrorIs(t, err, kvferry.ErrCorrupt)
}

func TestPackNames(t *testing.T) {
	t.Parallel()
	id, ok := packfile.ParseName(packfile.Path(0xfe)[len(packfile.Dir)+1:])
	require.True(t, ok)
	require.Equal(t, uint64(0xfe), id)
	for _, name := range []string{"", ".pack", "00000000000000fe", "00000000000000FE.pack", "0000000000000fe.pack",
		"00000000000000fe.pack~", "+0000000000000fe.pack", "0x000000000000fe.pack", "000000000000_0fe.pack"} {
		_, ok := packfile.ParseName(name)
		require.False(t, ok, "%q", name)
	}
}

// TestRecordDamage flips every bit of a record: none of them is overlooked, and
// what decodes nevertheless is right.
func TestRecordDamage(t *testing.T) {
	t.Parallel()
	b := blobOf(1, 150)
	rec := b.record()
	require.NoError(t, b.check(rec))
	for i := range len(rec) * 8 {
		rec[i/8] ^= 1 << (i % 8)
		if packfile.CheckStored(rec, b.d) == nil {
			t.Fatalf("bit %d is checked by nothing", i)
		}
		plain := make([]byte, len(b.plain))
		if n, err := packfile.Decode(plain, rec, b.d, new(codec.Decoder)); err == nil {
			require.Equal(t, b.plain, plain[:n], "bit %d", i)
		}
		rec[i/8] ^= 1 << (i % 8)
	}
}

func TestRecordErrors(t *testing.T) {
	t.Parallel()
	b, other := blobOf(1, 1000), blobOf(2, 1)
	var dec codec.Decoder
	for _, c := range []struct {
		name   string
		change func(rec []byte) []byte
		err    error
	}{
		{"empty", func([]byte) []byte { return nil }, kvferry.ErrCorrupt},
		{"cut in the header", func(rec []byte) []byte { return rec[:79] }, kvferry.ErrCorrupt},
		{"cut", func(rec []byte) []byte { return rec[:len(rec)-64] }, kvferry.ErrCorrupt},
		{"longer", func(rec []byte) []byte { return append(rec, make([]byte, 64)...) }, kvferry.ErrCorrupt},
		{"version", func(rec []byte) []byte { rec[4] = 2; reseal(rec); return rec }, kvferry.ErrUnsupported},
		{"reserved", func(rec []byte) []byte { rec[6] = 1; reseal(rec); return rec }, kvferry.ErrUnsupported},
		{"algorithm", func(rec []byte) []byte { rec[5] = 9; reseal(rec); return rec }, kvferry.ErrUnsupported},
		{"frame", func(rec []byte) []byte { rec[48] = 0; return rec }, kvferry.ErrCorrupt},
		{"frame version", func(rec []byte) []byte { return reframe(rec, 4, 2) }, kvferry.ErrUnsupported},
		{"codec", func(rec []byte) []byte { return reframe(rec, 5, byte(codec.Planes)+1) }, kvferry.ErrUnsupported},
		{"stored length", func(rec []byte) []byte { return reframe(rec, 22, 0x7f) }, kvferry.ErrCorrupt},
		{"another blob", func([]byte) []byte { return other.record() }, kvferry.ErrCorrupt},
	} {
		rec := c.change(b.record())
		_, err := packfile.Decode(make([]byte, 1000), rec, b.d, &dec)
		require.ErrorIs(t, err, c.err, c.name)
		require.ErrorIs(t, packfile.CheckStored(rec, b.d), c.err, c.name)
	}
	n, err := packfile.Decode(make([]byte, 999), b.record(), b.d, &dec)
	require.ErrorIs(t, err, kvferry.ErrShortBuffer)
	require.Equal(t, 1000, n)
}

// reframe changes a byte of the frame's header, whose checksum stays right.
func reframe(rec []byte, at int, value byte) []byte {
	h := rec[48:80]
	h[at] = value
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum(h[:28], castagnoli))
	return rec
}

func TestRecordBytes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ frame, want int64 }{
		{32, 128}, {80, 128}, {81, 192}, {32 + 4096, 4224}, {32 + 1<<20, 1<<20 + 512}, {32 + 64<<20, 64<<20 + 32<<10},
	} {
		require.Equal(t, c.want, packfile.RecordBytes(int(c.frame)), "%d", c.frame)
	}
}
