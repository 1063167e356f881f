package codec_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/kvferry/kvferry/codec"
)

const benchBytes = 180224 // a part of 16 tokens, 22 layers, 4 heads of 64 in bf16

// benchKinds are the contents measured.
var benchKinds = []string{"zero", "bf16", "text", "half zero", "kv", "noise"}

func benchEach(b *testing.B, run func(b *testing.B, h codec.Hint, plain []byte)) {
	for _, kind := range kinds {
		for _, name := range benchKinds {
			if name != kind.name {
				continue
			}
			for _, mode := range modes {
				b.Run(fmt.Sprintf("content=%s/mode=%v", name, mode), func(b *testing.B) {
					b.SetBytes(benchBytes)
					b.ReportAllocs()
					run(b, codec.Hint{Mode: mode}, kind.make(benchBytes))
				})
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	benchEach(b, func(b *testing.B, h codec.Hint, plain []byte) {
		var e codec.Encoder
		var f codec.Frame
		for b.Loop() {
			f, _ = e.Encode(h, plain)
		}
		b.ReportMetric(float64(f.Size())/benchBytes, "stored/plain")
	})
}

func BenchmarkDecode(b *testing.B) {
	benchEach(b, func(b *testing.B, h codec.Hint, plain []byte) {
		var e codec.Encoder
		f, err := e.Encode(h, plain)
		if err != nil {
			b.Fatal(err)
		}
		frame := f.AppendTo(nil)
		var d codec.Decoder
		dst := make([]byte, benchBytes)
		for b.Loop() {
			_, err = d.Decode(dst, frame)
		}
		if err != nil || !bytes.Equal(dst, plain) {
			b.Fatal("decoded differently", err)
		}
	})
}

func BenchmarkEncodeZstd(b *testing.B) {
	benchEach(b, func(b *testing.B, h codec.Hint, plain []byte) {
		var e codec.Encoder
		var file []byte
		for b.Loop() {
			file, _ = e.EncodeZstd(h, plain)
		}
		b.ReportMetric(float64(len(file))/benchBytes, "stored/plain")
	})
}

func BenchmarkDecodeZstd(b *testing.B) {
	benchEach(b, func(b *testing.B, h codec.Hint, plain []byte) {
		file := zstdOf(b, h.Mode, plain)
		var d codec.Decoder
		dst := make([]byte, benchBytes)
		var err error
		for b.Loop() {
			_, err = d.DecodeZstd(dst, file)
		}
		if err != nil || !bytes.Equal(dst, plain) {
			b.Fatal("decoded differently", err)
		}
	})
}

// BenchmarkPlanes measures pages of a model: with windows that are known, as in
// a capture, and with such that are found in each blob.
func BenchmarkPlanes(b *testing.B) {
	k, v := kvlab(b)
	known := bf16(codec.Auto, kvlabShape)
	known.Tuning = tuning(b)
	for name, h := range map[string]codec.Hint{"known": known, "none": bf16(codec.Auto, kvlabShape), "small": bf16(codec.Small, kvlabShape)} {
		for part, plain := range map[string][]byte{"k": k[1], "v": v[1]} {
			b.Run("op=encode/windows="+name+"/part="+part, func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				var e codec.Encoder
				var f codec.Frame
				for b.Loop() {
					f, _ = e.Encode(h, plain)
				}
				b.ReportMetric(float64(f.Size())/float64(len(plain)), "stored/plain")
			})
			b.Run("op=decode/windows="+name+"/part="+part, func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				var e codec.Encoder
				f, err := e.Encode(h, plain)
				if err != nil {
					b.Fatal(err)
				}
				frame, dst := f.AppendTo(nil), make([]byte, len(plain))
				var d codec.Decoder
				for b.Loop() {
					_, err = d.Decode(dst, frame)
				}
				if err != nil || !bytes.Equal(dst, plain) {
					b.Fatal("decoded differently", err)
				}
			})
		}
	}
}
