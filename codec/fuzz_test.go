package codec_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
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
