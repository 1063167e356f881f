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
