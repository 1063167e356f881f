package codec_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
)

// zstdOf returns plain as one of our zstd files, in memory of its own.
func zstdOf(t testing.TB, m codec.Mode, plain []byte) []byte {
	t.Helper()
	var e codec.Encoder
	z, err := e.EncodeZstd(codec.Hint{Mode: m}, plain)
	require.NoError(t, err)
	return bytes.Clone(z)
}

// foreign returns plain as another encoder writes it: streamed, so without a
// content size.
func foreign(t testing.TB, plain []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, append([]zstd.EOption{zstd.WithEncoderConcurrency(1)}, opts...)...)
	require.NoError(t, err)
	for len(plain) > 0 { // in pieces, or the writer may know the whole length
		n := min(len(plain), 1000)
		_, err = w.Write(plain[:n])
		require.NoError(t, err)
		plain = plain[n:]
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// TestProcessForkVectors decodes blobs as ProcessFork writes them.
func TestProcessForkVectors(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, file string
		plain      []byte
	}{
		{"empty", "28b52ffd2000010000", nil},
		{"fox", "28b52ffd0068990000" + "74686520717569636b2062726f776e20666f78", []byte("the quick brown fox")},
		{"repeated", "28b52ffd006845000008ab0100fc2b2004", repeat("\xab", 1024)},
		{"page", "28b52ffd006821000041b9da03", []byte{0x41, 0xb9, 0xda, 0x03}},
		{"page v", "28b52ffd0068210000ec3be7bb", []byte{0xec, 0x3b, 0xe7, 0xbb}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			file := unhex(t, x.file)
			var d codec.Decoder
			dst, check := guarded(t, len(x.plain))
			n, err := d.DecodeZstd(dst, file)
			require.NoError(t, err)
			require.Equal(t, len(x.plain), n)
			require.True(t, bytes.Equal(x.plain, dst))
			check()
			for cut := range file {
				_, err := d.DecodeZstd(make([]byte, len(x.plain)), file[:cut])
				require.ErrorIs(t, err, kvferry.ErrCorrupt, "cut to %d", cut)
			}
			for short := range len(x.plain) {
				dst, check := guarded(t, short)
				n, err := d.DecodeZstd(dst, file)
				require.ErrorIs(t, err, kvferry.ErrShortBuffer, "into %d", short)
				require.Contains(t, []int{0, len(x.plain)}, n)
				check()
			}
		})
	}
}

// TestEncodeZstdBytes: what the frames look like where we write them
// ourselves. The empty one is the original's.
func TestEncodeZstdBytes(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		require.Equal(t, unhex(t, "28b52ffd 20 00 010000"), zstdOf(t, mode, nil))
		require.Equal(t, unhex(t, "28b52ffd 20 04 210000 41b9da03"), zstdOf(t, mode, []byte{0x41, 0xb9, 0xda, 0x03}))
	}
	// 256 + 128 KiB: the first byte raw, then RLE blocks of 128 KiB at most.
	require.Equal(t, unhex(t, "28b52ffd a0 00010200 080000 ab 020010 ab fb0700 ab"),
		zstdOf(t, codec.Auto, repeat("\xab", 128<<10+256)))
}

// TestZstdRoundTrip: our files are read by us and by the other implementation
// within the limits of ProcessFork's reader.
func TestZstdRoundTrip(t *testing.T) {
	t.Parallel()
	other, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	require.NoError(t, err)
	defer other.Close()
	var e codec.Encoder
	var d codec.Decoder
	for _, kind := range kinds {
		for _, n := range sizes {
			plain := kind.make(n)
			for _, mode := range modes {
				file, err := e.EncodeZstd(codec.Hint{Mode: mode}, plain)
				require.NoError(t, err)
				require.LessOrEqual(t, len(file), n+16+3*(n/(128<<10)), "%s of %d in mode %v", kind.name, n, mode)
				dst, check := guarded(t, n)
				got, err := d.DecodeZstd(dst, file)
				require.NoError(t, err, "%s of %d in mode %v", kind.name, n, mode)
				require.Equal(t, n, got)
				require.True(t, bytes.Equal(plain, dst), "%s of %d in mode %v", kind.name, n, mode)
				check()
				theirs, err := other.DecodeAll(file, nil)
				require.NoError(t, err)
				require.True(t, bytes.Equal(plain, theirs))
				if n > 0 {
					dst, check := guarded(t, n-1)
					got, err := d.DecodeZstd(dst, file)
					require.ErrorIs(t, err, kvferry.ErrShortBuffer)
					if got != n {
						require.Zero(t, got, "unknown")
						require.Less(t, n, 256, "our frames tell their length")
						require.NotEqual(t, codec.OnlyRaw, mode)
					}
					check()
				}
			}
		}
	}
}

// TestZstdBeyondSingleSegment: long content asks for a small window.
func TestZstdBeyondSingleSegment(t *testing.T) {
	t.Parallel()
	var d codec.Decoder
	for _, n := range []int{8 << 20, 8<<20 + 1} {
		for _, plain := range [][]byte{make([]byte, n), noise(n)} {
			for _, mode := range []codec.Mode{codec.Auto, codec.OnlyRaw} {
				file := zstdOf(t, mode, plain)
				require.Equal(t, n == 8<<20, file[4]&(1<<5) != 0, "single segment")
				dst := make([]byte, n)
				got, err := d.DecodeZstd(dst, file)
				require.NoError(t, err)
				require.True(t, bytes.Equal(plain, dst[:got]))
			}
		}
	}
}

// TestForeignFiles: several frames, skippable frames, checksums, no content
// sizes, large windows.
func TestForeignFiles(t *testing.T) {
	t.Parallel()
	text := repeat("a page of text, and ", 300<<10)
	text = append(text, noise(1000)...)
	skip := unhex(t, "5a2a4d18 03000000 010203")
	half := len(text) / 2
	files := map[string][]byte{
		"streamed":           foreign(t, text, zstd.WithEncoderCRC(false)),
		"checksum":           foreign(t, text, zstd.WithEncoderCRC(true)),
		"best level":         foreign(t, text, zstd.WithEncoderLevel(zstd.SpeedBestCompression)),
		"window of 8 MiB":    foreign(t, text, zstd.WithWindowSize(8<<20)),
		"window of 2^27":     foreign(t, text, zstd.WithWindowSize(1<<27), zstd.WithLowerEncoderMem(true)),
		"window of 1 KiB":    foreign(t, text, zstd.WithWindowSize(1<<10)),
		"two frames":         append(foreign(t, text[:half]), zstdOf(t, codec.PreferZstd, text[half:])...),
		"stored and not":     append(zstdOf(t, codec.OnlyRaw, text[:half]), foreign(t, text[half:])...),
		"skippable before":   append(bytes.Clone(skip), foreign(t, text)...),
		"skippable after":    append(foreign(t, text), skip...),
		"skippable between":  bytes.Join([][]byte{foreign(t, text[:half]), foreign(t, text[half:])}, skip),
		"stored, skippables": bytes.Join([][]byte{skip, zstdOf(t, codec.OnlyRaw, text), skip}, nil),
		"stored, streamed":   append([]byte("\x28\xb5\x2f\xfd\x00\x68"), zstdOf(t, codec.OnlyRaw, text)[9:]...),
		"empty frames":       bytes.Join([][]byte{zstdOf(t, codec.Auto, nil), foreign(t, text), zstdOf(t, codec.Auto, nil)}, nil),
	}
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d codec.Decoder
			for range 2 { // a decoder can be used again
				dst, check := guarded(t, len(text))
				n, err := d.DecodeZstd(dst, file)
				require.NoError(t, err)
				require.Equal(t, len(text), n)
				require.True(t, bytes.Equal(text, dst))
				check()
				for _, short := range []int{0, 1, 1000, half, len(text) - 1} {
					dst, check := guarded(t, short)
					n, err := d.DecodeZstd(dst, file)
					require.ErrorIs(t, err, kvferry.ErrShortBuffer, "into %d", short)
					require.Contains(t, []int{0, len(text)}, n)
					check()
				}
			}
			for _, cut := range []int{1, 2, 3, 4, 5, 100} {
				if name == "empty frames" || name[:4] == "skip" && name[len(name)-5:] == "after" || name == "stored, skippables" {
					continue // the cut ends between frames
				}
				_, err := d.DecodeZstd(make([]byte, len(text)), file[:len(file)-cut])
				require.ErrorIs(t, err, kvferry.ErrCorrupt, "cut by %d", cut)
			}
			for _, tail := range []string{"\x00", "\x28", "\x28\xb5\x2f", "garbage", "\x50\x2a\x4d\x18", "\x50\x2a\x4d\x18\x01\x00\x00\x00"} {
				_, err := d.DecodeZstd(make([]byte, len(text)), append(bytes.Clone(file), tail...))
				require.ErrorIs(t, err, kvferry.ErrCorrupt, "trailing %q", tail)
			}
		})
	}
}

// TestZstdRefuses lists files that ProcessFork's reader refuses, and more.
func TestZstdRefuses(t *testing.T) {
	t.Parallel()
	wrongSum := foreign(t, repeat("text", 1000), zstd.WithEncoderCRC(true))
	wrongSum[len(wrongSum)-1] ^= 1
	dict := zstdOf(t, codec.OnlyRaw, []byte("kv"))
	dict = append(append(bytes.Clone(dict[:4]), 0x21, 7), dict[5:]...)
	for name, file := range map[string][]byte{
		"empty file":               nil,
		"zeros":                    make([]byte, 100),
		"the original's test":      append(unhex(t, "28b52ffd00"), "garbage"...),
		"only a skippable frame":   unhex(t, "502a4d18 00000000"),
		"skippable frame too long": unhex(t, "502a4d18 ffffffff 28b52ffd2000010000"),
		"wrong checksum":           wrongSum,
		"dictionary":               dict,
		"reserved bit":             unhex(t, "28b52ffd 28 00 010000"),
		"reserved block type":      unhex(t, "28b52ffd 20 00 070000"),
		"window of 2^27 + 2^24":    unhex(t, "28b52ffd 00 89 010000"),
		"window of 2^41":           unhex(t, "28b52ffd 00 ff 010000"),
		"single segment of 2^27+2": unhex(t, "28b52ffd a0 02000008 010000"),
		"content of 2^64-1":        unhex(t, "28b52ffd c0 00 ffffffffffffffff 010000"),
		"content of 2^63-1":        unhex(t, "28b52ffd c0 00 ffffffffffffff7f 010000"),
		"block above the window":   append(unhex(t, "28b52ffd 00 00 092000"), make([]byte, 1025)...),
		"block above 128 KiB":      append(unhex(t, "28b52ffd 00 68 090010"), make([]byte, 128<<10+1)...),
		"less than announced":      unhex(t, "28b52ffd 20 02 090000 41"),
		"more than announced":      unhex(t, "28b52ffd 20 01 110000 4141"),
		"compressed block of 1":    unhex(t, "28b52ffd 00 68 0d0000 00"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var d codec.Decoder
			dst, check := guarded(t, 300<<10)
			n, err := d.DecodeZstd(dst, file)
			require.ErrorIs(t, err, kvferry.ErrCorrupt)
			require.Zero(t, n)
			check()
		})
	}
	var d codec.Decoder
	_, err := d.DecodeZstd(nil, unhex(t, "28b52ffd 00 88 010000"))
	require.NoError(t, err, "a window of 2^27 is allowed")
}

// bomb returns a frame without content size of n compressed blocks, each of
// which is a few bytes and gives 128 KiB.
func bomb(t testing.TB, n int) []byte {
	t.Helper()
	z := foreign(t, repeat("a bomb of text, ", 1<<20), zstd.WithEncoderCRC(false), zstd.WithWindowSize(128<<10))
	head, block := z[:6], z[6:]
	size := int(binary.LittleEndian.Uint32(append(bytes.Clone(block[:3]), 0)) >> 3)
	block = block[:3+size]
	require.Less(t, len(block), 40)
	require.Zero(t, block[0]&1, "not the last block")
	require.EqualValues(t, 2, block[0]>>1&3, "a compressed block")
	out := append(bytes.Clone(head), bytes.Repeat(block, n)...)
	return append(out, 1, 0, 0) // the last block is raw and empty
}

// TestZstdBomb: content beyond the buffer is noticed without room for it.
// Not parallel: the count of allocated bytes is every goroutine's.
func TestZstdBomb(t *testing.T) {
	var d codec.Decoder
	file := bomb(t, 1024)
	dst, check := guarded(t, 100<<10)
	n, err := d.DecodeZstd(dst, file)
	require.ErrorIs(t, err, kvferry.ErrShortBuffer)
	require.Zero(t, n)
	check()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = d.DecodeZstd(dst, file)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, kvferry.ErrShortBuffer)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20), "bytes for refusing %d bytes that stand for 128 MiB", len(file))
}

// TestZstdBitFlips: a flipped bit of a file without a checksum is refused, or
// gives bytes of which only their digest can tell; it never gives more than
// the buffer holds.
func TestZstdBitFlips(t *testing.T) {
	t.Parallel()
	text := append(repeat("a page of text, and ", 1000), noise(100)...)
	for _, file := range [][]byte{foreign(t, text), zstdOf(t, codec.PreferZstd, text), zstdOf(t, codec.OnlyRaw, text)} {
		var d codec.Decoder
		for bit := range 8 * len(file) {
			file[bit/8] ^= 1 << (bit % 8)
			dst, check := guarded(t, len(text))
			_, err := d.DecodeZstd(dst, file)
			check()
			file[bit/8] ^= 1 << (bit % 8)
			if err != nil {
				require.NotErrorIs(t, err, kvferry.ErrUnsupported)
			}
		}
	}
}
