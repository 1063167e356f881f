package codec_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/codec"
)

// TestNoAllocations: encoders and decoders that have met blobs of a size
// allocate nothing for more of them, compressed or not. Not parallel:
// AllocsPerRun counts every goroutine's.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations cannot be counted under the race detector")
	}
	for _, kind := range kinds {
		plain := kind.make(100_000)
		for _, mode := range modes {
			t.Run(fmt.Sprintf("%s/mode=%v", kind.name, mode), func(t *testing.T) {
				var e codec.Encoder
				var d codec.Decoder
				h := codec.Hint{Mode: mode}
				f, err := e.Encode(h, plain)
				require.NoError(t, err)
				frame := f.AppendTo(nil)
				file := zstdOf(t, mode, plain)
				dst := make([]byte, len(plain))
				failed := false
				check := func(err error) { failed = failed || err != nil }
				require.Zero(t, testing.AllocsPerRun(20, func() {
					_, err := e.Encode(h, plain)
					check(err)
				}), "Encode")
				require.Zero(t, testing.AllocsPerRun(20, func() {
					_, err := e.EncodeZstd(h, plain)
					check(err)
				}), "EncodeZstd")
				require.Zero(t, testing.AllocsPerRun(20, func() {
					_, err := d.Decode(dst, frame)
					check(err)
				}), "Decode")
				require.Zero(t, testing.AllocsPerRun(20, func() {
					_, err := d.DecodeZstd(dst, file)
					check(err)
				}), "DecodeZstd")
				require.False(t, failed)
			})
		}
	}
}

// TestNoAllocationsOfPlanes: neither with windows that are known nor without.
// Not parallel, as above.
func TestNoAllocationsOfPlanes(t *testing.T) {
	if raceEnabled {
		t.Skip("allocations cannot be counted under the race detector")
	}
	k, v := kvlab(t)
	known := bf16(codec.Auto, kvlabShape)
	known.Tuning = tuning(t)
	for name, h := range map[string]codec.Hint{"known": known, "auto": bf16(codec.Auto, kvlabShape), "fast": bf16(codec.Fast, kvlabShape), "small": bf16(codec.Small, kvlabShape)} {
		t.Run(name, func(t *testing.T) {
			var e codec.Encoder
			var d codec.Decoder
			dst := make([]byte, len(k[0]))
			frame := make([]byte, 0, len(dst)+codec.HeaderBytes)
			failed := false
			require.Zero(t, testing.AllocsPerRun(20, func() {
				for _, p := range [][]byte{k[1], v[1], k[2]} {
					f, err := e.Encode(h, p)
					failed = failed || err != nil || f.Codec() != codec.Planes
					_, err = d.Decode(dst, f.AppendTo(frame[:0]))
					failed = failed || err != nil
				}
			}))
			require.False(t, failed)
		})
	}
}
