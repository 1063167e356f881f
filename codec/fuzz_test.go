package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
)

// fuzzMax bounds the buffers of the fuzz targets.
const fuzzMax = 1 << 20

// wantTyped fails unless err is one of the outcomes that decoders may have.
func wantTyped(t *testing.T, err error, unsupported bool) {
	t.Helper()
	if errors.Is(err, kvferry.ErrCorrupt) || errors.Is(err, kvferry.ErrShortBuffer) ||
		unsupported && errors.Is(err, kvferry.ErrUnsupported) {
		return
	}
	t.Fatalf("untyped error %v", err)
}

// wantCanaries fails if bytes behind dst, in the same array, were written.
func wantCanaries(t *testing.T, buf []byte, size int) {
	t.Helper()
	for i, c := range buf[size:] {
		if c != canary {
			t.Fatalf("byte %d behind the buffer was written", i)
		}
	}
}

// FuzzDecode feeds arbitrary frames into buffers of arbitrary size. What
// decodes does so again in a buffer of exactly its length, and in none that is
// shorter.
func FuzzDecode(f *testing.F) {
	f.Add(good(codec.Raw, 2, []byte("kv")), 2)
	f.Add(planesOf(f, 1024), 1024)
	f.Fuzz(func(t *testing.T, frame []byte, size int) {
		size = max(0, min(size, fuzzMax))
		buf := bytes.Repeat([]byte{canary}, size+64)
		var d codec.Decoder
		n, err := d.Decode(buf[:size], frame)
		wantCanaries(t, buf, size)
		if err != nil {
			wantTyped(t, err, true)
			return
		}
		exact := make([]byte, n)
		if m, err := d.Decode(exact, frame); err != nil || m != n || !bytes.Equal(exact, buf[:n]) {
			t.Fatalf("decodes to %d bytes, and again to %d, %v", n, m, err)
		}
		if n > 0 {
			if m, err := d.Decode(exact[:n-1], frame); !errors.Is(err, kvferry.ErrShortBuffer) || m != n {
				t.Fatalf("short buffer: %d, %v", m, err)
			}
		}
	})
}

// FuzzDecodeZstd compares with the library: whatever we take, by our own
// reading of stored blocks too, it takes and reads the same; whatever does not
// fit is told so.
func FuzzDecodeZstd(f *testing.F) {
	f.Add(zstdOf(f, codec.Auto, []byte("kv")), 2)
	f.Fuzz(func(t *testing.T, file []byte, size int) {
		size = max(0, min(size, fuzzMax))
		buf := bytes.Repeat([]byte{canary}, size+64)
		var d codec.Decoder
		n, err := d.DecodeZstd(buf[:size], file)
		wantCanaries(t, buf, size)
		if err != nil {
			wantTyped(t, err, false)
			return
		}
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxWindow(1<<27+1))
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		theirs, err := z.DecodeAll(file, make([]byte, 0, n))
		if err != nil || !bytes.Equal(theirs, buf[:n]) {
			t.Fatalf("we read %d bytes, the library %d, %v", n, len(theirs), err)
		}
		if n > 0 {
			if m, err := d.DecodeZstd(buf[:n-1], file); !errors.Is(err, kvferry.ErrShortBuffer) || m != 0 && m != n {
				t.Fatalf("short buffer: %d, %v", m, err)
			}
		}
	})
}

// FuzzRoundTrip encodes arbitrary bytes, repeated to reach other codecs.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("kv"), uint16(3), uint8(0))
	f.Fuzz(func(t *testing.T, piece []byte, times uint16, mode uint8) {
		if len(piece)*int(times) > fuzzMax {
			return
		}
		plain := bytes.Repeat(piece, int(times))
		h := codec.Hint{Mode: modes[int(mode)%len(modes)]}
		var e codec.Encoder
		var d codec.Decoder
		frame, err := e.Encode(h, plain)
		if err != nil {
			t.Fatal(err)
		}
		dst := make([]byte, len(plain))
		n, err := d.Decode(dst, frame.AppendTo(nil))
		if err != nil || n != len(plain) || !bytes.Equal(dst, plain) {
			t.Fatalf("frame: %d of %d bytes, %v", n, len(plain), err)
		}
		file, err := e.EncodeZstd(h, plain)
		if err != nil {
			t.Fatal(err)
		}
		clear(dst)
		n, err = d.DecodeZstd(dst, file)
		if err != nil || n != len(plain) || !bytes.Equal(dst, plain) {
			t.Fatalf("zstd: %d of %d bytes, %v", n, len(plain), err)
		}
	})
}

// FuzzPlanes encodes arbitrary bytes as bf16 of arbitrary shapes, with windows
// found in them and with arbitrary ones.
func FuzzPlanes(f *testing.F) {
	f.Add(kv(1024), uint8(2), uint8(32), uint8(0), []byte{120, 1, 118, 126, 0, 0})
	f.Fuzz(func(t *testing.T, plain []byte, segments, cols, mode uint8, p []byte) {
		s := planes.Shape{Segments: int(segments), Cols: int(cols)}
		h := bf16(modes[int(mode)%len(modes)], s)
		h.Elem = codec.Elem(mode / 8 % 6) // one of them unknown
		if row := 2 * s.Segments * s.Cols; row > 0 && len(p) >= 6 {
			s.Rows = len(plain) / row
			h.Tuning = new(codec.Tuning)
			_ = h.Tuning.Add("", s, []planes.Params{{ // a shape that cannot be stays unknown
				First: p[0], Down: p[1], Low: p[2], Top: p[3], Second: int8(p[4]), Third: int8(p[5]),
			}})
		}
		var e codec.Encoder
		var d codec.Decoder
		frame, err := e.Encode(h, plain)
		if err != nil || frame.Size() > len(plain)+codec.HeaderBytes {
			t.Fatalf("%d bytes as %d: %v", len(plain), frame.Size(), err)
		}
		dst := bytes.Repeat([]byte{canary}, len(plain)+64)
		n, err := d.Decode(dst[:len(plain)], frame.AppendTo(nil))
		if err != nil || n != len(plain) || !bytes.Equal(dst[:n], plain) {
			t.Fatalf("%d of %d bytes, %v", n, len(plain), err)
		}
		wantCanaries(t, dst, len(plain))
	})
}

// FuzzDecodePlanes damages the payload of frames whose checksums hold.
func FuzzDecodePlanes(f *testing.F) {
	f.Add(planesOf(f, 1024)[codec.HeaderBytes:], uint16(1024))
	f.Fuzz(func(t *testing.T, payload []byte, plain uint16) {
		buf := bytes.Repeat([]byte{canary}, int(plain)+64)
		var d codec.Decoder
		n, err := d.Decode(buf[:plain], good(codec.Planes, int(plain), payload))
		wantCanaries(t, buf, int(plain))
		if err != nil {
			wantTyped(t, err, true)
		} else if n != int(plain) {
			t.Fatalf("%d of %d bytes", n, plain)
		}
	})
}
