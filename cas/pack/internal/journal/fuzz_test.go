package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

var fuzzHeader = header{generation: 5, base: 5, first: 41, id: [16]byte{7}}

// image is a log file of these payloads.
func image(payloads ...string) []byte {
	b := append([]byte(nil), make([]byte, firstTx)...)
	fuzzHeader.encode(b)
	fuzzHeader.encode(b[headerCopy:])
	c := fuzzHeader.start()
	var out output
	for i, p := range payloads {
		t := txHead{seq: c.seq + 1, durable: c.off, flags: Flags(i % 4)}
		if p == "void" {
			t.seq, t.flags, p = t.seq+3, void, ""
		}
		c, _ = out.emit(c, t, fuzzHeader.salt(), [][]byte{[]byte(p)}) // nothing is flushed
	}
	b = append(b, out.buf...)
	copy(b[wordsAt:], words{committed: c.off, durable: c.off}.encode())
	return append(b, make([]byte, 100)...)
}

// FuzzLog reads arbitrary bytes as the inside of a log file: header, words and
// transactions.
func FuzzLog(f *testing.F) {
	good := image("first", "", "void", "last one")
	f.Add(good[:headerBytes], good[wordsAt:wordsAt+wordsBytes], good[firstTx:], false)
	f.Add(good[headerCopy:headerCopy+headerBytes], make([]byte, wordsBytes), good[firstTx+48:], true)
	f.Add([]byte{}, []byte{}, []byte{}, false)
	f.Fuzz(func(t *testing.T, head, hint, txs []byte, mend bool) {
		h, err := decodeHeader(head)
		if err == nil {
			again := make([]byte, headerBytes)
			h.encode(again)
			require.Equal(t, again[:56], head[:56])
		}
		var b [wordsBytes]byte
		copy(b[:], hint)
		if w, whole := decodeWords(b[:]); whole && w.committed%8 == 0 {
			_ = w.encode()
			require.LessOrEqual(t, w.committed, int64(1)<<wordBits)
		}
		file := append(make([]byte, firstTx), txs...)
		if mend {
			mendChecksums(file)
		}
		for _, skip := range []bool{false, true} {
			fuzzWalk(t, file, skip)
		}
	})
}

// mendChecksums makes the checksums of what looks like transactions hold, so
// that fuzzing comes past them.
func mendChecksums(file []byte) {
	le := binary.LittleEndian
	link := fuzzHeader.salt()
	for at := firstTx; at+txHeader <= len(file); at += 8 {
		if b := file[at:]; le.Uint32(b) == magicTx {
			if b[4] == 0 {
				le.PutUint32(b[4:], link)
			}
			if n := int(le.Uint32(b[24:])); n <= len(b)-txHeader {
				le.PutUint32(b[28:], crc(0, b[txHeader:txHeader+n]))
			}
			le.PutUint32(b[36:], crc(fuzzHeader.salt(), b[:36]))
			link = linkOf(b, fuzzHeader.salt())
		}
	}
}

func fuzzWalk(t *testing.T, file []byte, skip bool) {
	w := walker{scanner: scanner{r: bytes.NewReader(file), salt: fuzzHeader.salt(), end: int64(len(file))},
		generation: 5, skip: skip}
	holes := 0
	w.lost = func(l *LostError, _ bool) {
		holes++
		require.Less(t, l.Offset, l.End)
	}
	last := fuzzHeader.first - 1
	end, err := w.walk(context.Background(), fuzzHeader.start(), func(c cursor, f found) error {
		require.Greater(t, f.seq, last)
		require.True(t, f.seq == last+1 || f.flags&void != 0 || holes > 0)
		require.Equal(t, crc(0, f.payload), binary.LittleEndian.Uint32(file[c.off+28:]))
		require.True(t, bytes.Equal(f.payload, file[c.off+txHeader:][:f.bytes]))
		last = f.seq
		return nil
	})
	require.LessOrEqual(t, end.off, int64(len(file)))
	require.LessOrEqual(t, end.seq, uint64(maxOffset))
	if skip {
		require.NoError(t, err)
	}
}

func TestWordsNeedTheirChecks(t *testing.T) {
	t.Parallel()
	_, ok := unseal(0)
	require.False(t, ok, "what was never written says nothing")
	for _, v := range []uint64{0, 1, 8192, 1<<47 - 8, 1<<48 - 1} {
		got, ok := unseal(seal(v))
		require.True(t, ok)
		require.Equal(t, v, got)
		for bit := range 64 {
			_, ok := unseal(seal(v) ^ 1<<bit)
			require.False(t, ok, "bit %d of %x", bit, v)
		}
	}
	want := words{committed: 8200, durable: 8192, successor: 9, suspect: true}
	got, whole := decodeWords(want.encode())
	require.True(t, whole)
	require.Equal(t, want, got)
	require.NotEqual(t, want.first(), words{committed: 8200}.first())
}

func TestHostileHeadersAreNotReadForEver(t *testing.T) {
	t.Parallel()
	// Behind a hole, each 40 bytes announce all the rest as their payload.
	file := make([]byte, firstTx+4<<20)
	for at := firstTx + 40; at+txHeader <= len(file); at += txHeader {
		h := txHead{seq: 1000, durable: maxOffset, bytes: int64(len(file)-at-txHeader) &^ 7}
		h.encode(file[at:], fuzzHeader.salt())
	}
	r := &counting{r: bytes.NewReader(file)}
	w := walker{scanner: scanner{r: r, salt: fuzzHeader.salt(), end: int64(len(file))}, skip: true}
	holes := 0
	w.lost = func(*LostError, bool) { holes++ }
	_, err := w.walk(t.Context(), fuzzHeader.start(), func(cursor, found) error { return nil })
	require.NoError(t, err)
	require.Equal(t, 1, holes)
	require.Less(t, r.n, 32*len(file))
}

type counting struct {
	r *bytes.Reader
	n int
}

func (c *counting) ReadAt(b []byte, off int64) (int, error) {
	c.n += len(b)
	return c.r.ReadAt(b, off)
}
