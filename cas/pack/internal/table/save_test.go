package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

func (t *Table) saved(tb testing.TB) []byte {
	var b bytes.Buffer
	n, err := t.Save(&b, same)
	require.NoError(tb, err)
	require.EqualValues(tb, b.Len(), n)
	return b.Bytes()
}

func load(t *testing.T, b []byte, slots []uint32, threads int) (*Table, int64) {
	// Other bytes lie around those of the table.
	file := slices.Concat(make([]byte, 100), b, make([]byte, 100))
	tab, lost, err := Load(bytes.NewReader(file), 100, int64(len(b)), slots, threads)
	require.NoError(t, err)
	t.Cleanup(tab.Close)
	tab.check(t)
	return tab, lost
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, blockEntries - 1, blockEntries, blockEntries + 1, 70*blockEntries + 5} {
		r, tab := seeded(t), newTable(t)
		m := tab.fill(t, r, n)
		for d := range m {
			if r.IntN(4) == 0 {
				tab.Touch(d, 7)
				tab.Set(d, Marked|Condemned, true)
			}
		}
		b := tab.saved(t)
		require.Len(t, b, 2*frameBytes+int(bodyBytes(uint64(n))))
		for _, threads := range []int{0, 3} {
			again, lost := load(t, b, sameSlots(1000), threads)
			require.Zero(t, lost)
			m.compare(t, again)
			_, _, err := again.Put(randomDigest(r), MakePlace(1, 64, 64))
			require.NoError(t, err)
		}
	}
}

// TestSlots: packs have other numbers when they are saved and when they are
// loaded; some are not saved, and some are not there any more.
func TestSlots(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	m := tab.fill(t, r, 5000)
	var b bytes.Buffer
	_, err := tab.Save(&b, func(slot uint32) (uint32, bool) { return slot / 2, slot%2 == 0 })
	require.NoError(t, err)
	slots := make([]uint32, 400) // those from 400 on are unknown
	for i := range slots {
		slots[i] = uint32(i + 5)
	}
	slots[3] = MaxSlots
	var want int64
	for d, n := range m {
		ref := n.at.Slot() / 2
		odd := n.at.Slot()%2 == 1
		if delete(m, d); odd {
			continue
		}
		if ref >= 400 || ref == 3 {
			want++
			continue
		}
		m[d] = note{at: MakePlace(ref+5, n.at.Offset(), n.at.Size())}
	}
	again, lost := load(t, b.Bytes(), slots, 2)
	require.Equal(t, want, lost)
	m.compare(t, again)

	_, err = tab.Save(io.Discard, func(uint32) (uint32, bool) { return MaxSlots, true })
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestDamage: a damaged block is lost, and nothing else.
func TestDamage(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	const blocks = 5
	n := (blocks-1)*blockEntries + 100
	tab.fill(t, r, n)
	b := tab.saved(t)
	for number := range blocks {
		entries := blockEntries
		if number == blocks-1 {
			entries = 100
		}
		for range 8 {
			bit := r.IntN(8 * (blockHead + entries*entryBytes))
			bad := slices.Clone(b)
			bad[frameBytes+number*blockBytes+bit/8] ^= 1 << (bit % 8)
			again, lost := load(t, bad, sameSlots(1000), 2)
			require.EqualValues(t, entries, lost)
			require.EqualValues(t, n-entries, again.Len())
			again.Close()
		}
	}
}

// TestDamagedFrames: one frame is enough; without the one at the end it is not
// known what is missing.
func TestDamagedFrames(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	m := tab.fill(t, r, blockEntries+100)
	b := tab.saved(t)
	front, end := slices.Clone(b), slices.Clone(b)
	front[r.IntN(frameBytes)] ^= 1
	end[len(b)-1-r.IntN(frameBytes)] ^= 1
	again, lost := load(t, front, sameSlots(1000), 1)
	require.Zero(t, lost)
	m.compare(t, again)
	again, lost = load(t, end, sameSlots(1000), 1)
	require.Positive(t, lost)
	m.compare(t, again)
	again, lost = load(t, b[:frameBytes+blockBytes], sameSlots(1000), 1)
	require.Positive(t, lost)
	require.EqualValues(t, blockEntries, again.Len())

	// The file is shorter than was said.
	again, lost, err := Load(bytes.NewReader(b[:len(b)-2*frameBytes]), 0, int64(len(b)), sameSlots(1000), 1)
	require.NoError(t, err)
	require.Positive(t, lost)
	require.EqualValues(t, blockEntries, again.Len())
	again.Close()
}

func TestLoadNothing(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	tab.fill(t, r, 10)
	b := tab.saved(t)
	both := slices.Clone(b)
	both[0] ^= 1
	both[len(b)-1] ^= 1
	for name, bad := range map[string][]byte{"nothing": nil, "zeros": make([]byte, 4096), "both frames": both, "front alone": b[:frameBytes]} {
		_, _, err := Load(bytes.NewReader(bad), 0, int64(len(bad)), sameSlots(1000), 1)
		require.ErrorIs(t, err, kvferry.ErrCorrupt, name)
	}
	for _, at := range [][2]int64{{-1, 100}, {1, -1}, {1 << 62, 1 << 62}, {1 << 40, 1000}} {
		_, _, err := Load(bytes.NewReader(b), at[0], at[1], nil, 1)
		require.ErrorIs(t, err, kvferry.ErrCorrupt)
	}
	newer := slices.Clone(b)
	newer[8] = 2
	binary.LittleEndian.PutUint32(newer[60:], crc32.Checksum(newer[:60], castagnoli))
	_, _, err := Load(bytes.NewReader(newer), 0, int64(len(b)), nil, 1)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
}

// TestTwins: bytes that say the same blob is there twice do not break the
// table.
func TestTwins(t *testing.T) {
	t.Parallel()
	var b []byte
	b = frame{version, frameFront, 9, 0, 0}.append(b)
	at := len(b)
	b = append(b, make([]byte, blockHead)...)
	for i := range 1000 {
		sum := numbered(uint64(i % 10)).Sum()
		b = append(b, sum[:]...)
		p := MakePlace(0, int64(i)*64, 64) | Place(digest.SHA256)<<algorithmShift
		b = binary.LittleEndian.AppendUint64(b, uint64(p))
	}
	sealBlock(b[at:], 9, 0, 1000)
	b = frame{version, frameEnd, 9, 1000, 1}.append(b)
	tab, lost := load(t, b, sameSlots(1), 1)
	require.EqualValues(t, 990, lost)
	require.EqualValues(t, 10, tab.Len())
}

// TestWriteFails: the error of every write is that of Save.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	tab.fill(t, r, 40*blockEntries)
	broken := errors.New("broken")
	for k := 0; ; k++ {
		w := &failingWriter{after: k, err: broken}
		n, err := tab.Save(w, same)
		require.Equal(t, w.n, n)
		if err == nil {
			require.Greater(t, k, 3)
			break
		}
		require.ErrorIs(t, err, broken)
	}
}

type failingWriter struct {
	after int
	err   error
	n     int64
}

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.after--; w.after < 0 {
		return 0, w.err
	}
	w.n += int64(len(b))
	return len(b), nil
}

// TestUnreadable: what cannot be read is lost like what is damaged.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	r, tab := seeded(t), newTable(t)
	n := 10 * blockEntries
	tab.fill(t, r, n)
	b := tab.saved(t)
	f := badSector{bytes.NewReader(b), frameBytes + 3*blockBytes + 1000}
	again, lost, err := Load(f, 0, int64(len(b)), sameSlots(1000), 2)
	require.NoError(t, err)
	defer again.Close()
	require.EqualValues(t, blockEntries, lost)
	require.EqualValues(t, n-blockEntries, again.Len())
}

type badSector struct {
	io.ReaderAt
	at int64
}

func (f badSector) ReadAt(b []byte, off int64) (int, error) {
	if off <= f.at && f.at < off+int64(len(b)) {
		n, _ := f.ReaderAt.ReadAt(b[:f.at-off], off)
		return n, errors.New("input/output error")
	}
	return f.ReaderAt.ReadAt(b, off)
}
