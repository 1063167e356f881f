package codec_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
)

// frame builds a frame by the package comment, so that the format is told
// twice and independently.
func frame(version, id byte, plain, stored uint64, payload []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	b := append([]byte("KVFR"), version, id, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, plain)
	b = binary.LittleEndian.AppendUint64(b, stored)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, table))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, table))
	return append(b, payload...)
}

func good(id codec.ID, plain int, payload []byte) []byte {
	return frame(1, byte(id), uint64(plain), uint64(len(payload)), payload)
}

func TestFrameBytes(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	for _, x := range []struct {
		name  string
		plain []byte
		want  []byte
	}{
		{"empty", nil, good(codec.Raw, 0, nil)},
		{"raw", []byte("kv"), good(codec.Raw, 2, []byte("kv"))},
		{"zeros", make([]byte, 4096), good(codec.Constant, 4096, []byte{0})},
		{"one bf16", repeat("\x80\x3f", 4096), good(codec.Constant, 4096, []byte("\x80\x3f"))},
		{"cut pattern", []byte("abcabcab"), good(codec.Constant, 8, []byte("abc"))},
	} {
		f, err := e.Encode(codec.Hint{}, x.plain)
		require.NoError(t, err, x.name)
		require.Equal(t, x.want, f.AppendTo(nil), x.name)
		require.Equal(t, len(x.want), f.Size(), x.name)
		h, err := codec.ParseHeader(x.want)
		require.NoError(t, err)
		require.Equal(t, f.Codec(), h.Codec)
		require.EqualValues(t, len(x.plain), h.PlainBytes)
		require.EqualValues(t, len(f.Payload), h.StoredBytes)
	}
	require.Equal(t, unhex(t, "4b564652 01 01 0000 0200000000000000 0200000000000000 108a378f 10599676 6b76"),
		good(codec.Raw, 2, []byte("kv")))
}

// TestRoundTrip encodes all contents and sizes in all modes.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	var d codec.Decoder
	for _, kind := range kinds {
		for _, n := range sizes {
			plain := kind.make(n)
			before := bytes.Clone(plain)
			for _, mode := range modes {
				f, err := e.Encode(codec.Hint{Mode: mode}, plain)
				require.NoError(t, err)
				stored := f.AppendTo(nil)
				require.LessOrEqual(t, len(stored), n+codec.HeaderBytes, "%s of %d in mode %v", kind.name, n, mode)
				dst, check := guarded(t, n)
				got, err := d.Decode(dst, stored)
				require.NoError(t, err, "%s of %d in mode %v", kind.name, n, mode)
				require.Equal(t, n, got)
				require.True(t, bytes.Equal(plain, dst), "%s of %d in mode %v", kind.name, n, mode)
				check()
				require.True(t, bytes.Equal(before, plain), "plain is not written to")

				got, err = d.Decode(make([]byte, n+10), stored)
				require.NoError(t, err)
				require.Equal(t, n, got)
				if n > 0 {
					dst, check = guarded(t, n-1)
					got, err = d.Decode(dst, stored)
					require.ErrorIs(t, err, kvferry.ErrShortBuffer)
					require.Equal(t, n, got, "the announced length")
					check()
				}
			}
		}
	}
}

// TestChoice says which codec is chosen for what.
func TestChoice(t *testing.T) {
	t.Parallel()
	const n = 180224 // a part of 16 tokens, 22 layers, 4 heads of 64 in bf16
	for _, x := range []struct {
		content          string
		auto, preferZstd codec.ID
	}{
		{"zero", codec.Constant, codec.Constant},
		{"bf16", codec.Constant, codec.Constant},
		{"pattern of 8", codec.Constant, codec.Constant},
		{"pattern of 9", codec.Zstd, codec.Zstd},
		{"almost constant", codec.Zstd, codec.Zstd},
		{"text", codec.Zstd, codec.Zstd},
		{"half zero", codec.Zstd, codec.Zstd},
		{"kv", codec.Raw, codec.Zstd}, // a quarter, for those who want to wait for it
		{"noise", codec.Raw, codec.Raw},
	} {
		for _, kind := range kinds {
			if kind.name != x.content {
				continue
			}
			var e codec.Encoder
			for mode, want := range map[codec.Mode]codec.ID{codec.Auto: x.auto, codec.OnlyRaw: codec.Raw, codec.PreferZstd: x.preferZstd} {
				f, err := e.Encode(codec.Hint{Mode: mode}, kind.make(n))
				require.NoError(t, err)
				require.Equal(t, want, f.Codec(), "%s in mode %v", x.content, mode)
			}
		}
	}
}

// TestSmallSamples: short noise has few different bytes and yet is not taken
// for compressible.
func TestSmallSamples(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	for n := range 600 {
		f, err := e.Encode(codec.Hint{}, noise(n))
		require.NoError(t, err)
		if n > 2 { // the noise of 2 bytes is two equal ones
			require.Equal(t, codec.Raw, f.Codec(), "%d bytes of noise", n)
		}
	}
}

func TestRawAliasesPlain(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	plain := noise(100)
	f, err := e.Encode(codec.Hint{Mode: codec.OnlyRaw}, plain)
	require.NoError(t, err)
	require.Same(t, &plain[0], &f.Payload[0], "raw frames cost no copy")
}

func TestUnknownMode(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	_, err := e.Encode(codec.Hint{Mode: 9}, nil)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	_, err = e.EncodeZstd(codec.Hint{Mode: 9}, nil)
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

// TestDecodeRefuses lists what is wrong with frames whose checksums hold.
func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	z := zstdOf(t, codec.PreferZstd, repeat("text ", 1000))
	p := planesOf(t, 1024)[codec.HeaderBytes:]
	reserved := good(codec.Raw, 2, []byte("kv"))[:28]
	reserved[7] = 1
	reserved = binary.LittleEndian.AppendUint32(reserved, crc32.Checksum(reserved, crc32.MakeTable(crc32.Castagnoli)))
	for _, x := range []struct {
		name  string
		frame []byte
		want  error
	}{
		{"nothing", nil, kvferry.ErrCorrupt},
		{"cut header", good(codec.Raw, 0, nil)[:31], kvferry.ErrCorrupt},
		{"trailing byte", append(good(codec.Raw, 2, []byte("kv")), 0), kvferry.ErrCorrupt},
		{"cut payload", good(codec.Raw, 2, []byte("kv"))[:33], kvferry.ErrCorrupt},
		{"next version", frame(2, 1, 2, 2, []byte("kv")), kvferry.ErrUnsupported},
		{"reserved field", append(reserved, "kv"...), kvferry.ErrUnsupported},
		{"codec 0", good(0, 2, []byte("kv")), kvferry.ErrUnsupported},
		{"codec 5", good(5, 2, []byte("kv")), kvferry.ErrUnsupported},
		{"codec 255", good(255, 2, []byte("kv")), kvferry.ErrUnsupported},
		{"plain of 2^63", frame(1, 2, 1<<63, 1, []byte{0}), kvferry.ErrCorrupt},
		{"stored of 2^64-1", frame(1, 1, 2, math.MaxUint64, []byte("kv")), kvferry.ErrCorrupt},
		{"raw of another length", good(codec.Raw, 1, []byte("kv")), kvferry.ErrCorrupt},
		{"raw of a shorter length", good(codec.Raw, 3, []byte("kv")), kvferry.ErrCorrupt},
		{"constant without a pattern", good(codec.Constant, 3, nil), kvferry.ErrCorrupt},
		{"constant of 9", good(codec.Constant, 100, make([]byte, 9)), kvferry.ErrCorrupt},
		{"constant of more than plain", good(codec.Constant, 1, []byte("kv")), kvferry.ErrCorrupt},
		{"constant of nothing", good(codec.Constant, 0, []byte("k")), kvferry.ErrCorrupt},
		{"zstd of nothing", good(codec.Zstd, 0, nil), kvferry.ErrCorrupt},
		{"zstd of noise", good(codec.Zstd, 10, noise(100)), kvferry.ErrCorrupt},
		{"zstd longer than announced", good(codec.Zstd, 999, z), kvferry.ErrCorrupt},
		{"zstd shorter than announced", good(codec.Zstd, 1001, z), kvferry.ErrCorrupt},
		{"planes of nothing", good(codec.Planes, 0, nil), kvferry.ErrCorrupt},
		{"planes without a head", good(codec.Planes, 2, []byte("kv")), kvferry.ErrCorrupt},
		{"planes of another version", good(codec.Planes, 2, append([]byte{9, 1}, p[2:]...)), kvferry.ErrUnsupported},
		{"planes longer than announced", good(codec.Planes, 1023, p), kvferry.ErrCorrupt},
		{"planes shorter than announced", good(codec.Planes, 1025, p), kvferry.ErrCorrupt},
		{"planes and a byte", good(codec.Planes, 1024, append(bytes.Clone(p), 0)), kvferry.ErrCorrupt},
		{"planes cut by a byte", good(codec.Planes, 1024, p[:len(p)-1]), kvferry.ErrCorrupt},
		{"zstd of two frames", good(codec.Zstd, 1000, append(bytes.Clone(z), z...)), kvferry.ErrCorrupt},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var d codec.Decoder
			dst, check := guarded(t, 2000)
			n, err := d.Decode(dst, x.frame)
			require.ErrorIs(t, err, x.want)
			require.Zero(t, n)
			check()
		})
	}
}

// TestBomb: a frame of 33 bytes that announces 2^62 bytes is told from its
// header and costs nothing.
func TestBomb(t *testing.T) {
	t.Parallel()
	var d codec.Decoder
	n, err := d.Decode(make([]byte, 100), frame(1, 2, 1<<62, 1, []byte{7}))
	require.ErrorIs(t, err, kvferry.ErrShortBuffer)
	require.Equal(t, 1<<62, n)
}

// TestEveryBitFlip: no single flipped bit goes unnoticed.
func TestEveryBitFlip(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	var d codec.Decoder
	frames := [][]byte{planesOf(t, 512)}
	for _, plain := range [][]byte{nil, []byte("kv"), noise(200), make([]byte, 300), repeat("text ", 500)} {
		f, err := e.Encode(codec.Hint{Mode: codec.PreferZstd}, plain)
		require.NoError(t, err)
		frames = append(frames, f.AppendTo(nil))
	}
	for _, stored := range frames {
		dst := make([]byte, 1000)
		for bit := range 8 * len(stored) {
			stored[bit/8] ^= 1 << (bit % 8)
			_, err := d.Decode(dst, stored)
			require.ErrorIs(t, err, kvferry.ErrCorrupt, "bit %d of %v", bit, codec.ID(stored[5]))
			stored[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// TestEveryCut: no prefix of a frame decodes.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	var e codec.Encoder
	var d codec.Decoder
	f, err := e.Encode(codec.Hint{Mode: codec.PreferZstd}, repeat("text ", 500))
	require.NoError(t, err)
	for _, stored := range [][]byte{f.AppendTo(nil), planesOf(t, 512)} {
		for n := range stored {
			_, err := d.Decode(make([]byte, 512), stored[:n])
			require.ErrorIs(t, err, kvferry.ErrCorrupt, "%d bytes", n)
		}
	}
}

func TestModeText(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		got, err := codec.ParseMode(m.String())
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, s := range []string{"", "Auto", "zst", "invalid"} {
		_, err := codec.ParseMode(s)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	require.Equal(t, "invalid", codec.Mode(9).String())
	require.Equal(t, "planes", codec.Planes.String())
	require.Equal(t, "codec 9", codec.ID(9).String())
}
