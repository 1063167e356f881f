package codec_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
)

// layers returns the parts of the pages of kvlab as an engine has them that
// keeps each layer by itself: by layer, the blobs of keys and of values.
func layers(t testing.TB) (s planes.Shape, blobs [][][]byte) {
	t.Helper()
	k, v := kvlab(t)
	s = planes.Shape{Segments: 1, Rows: kvlabShape.Rows, Cols: kvlabShape.Cols}
	n := s.Bytes()
	for l := range kvlabShape.Segments {
		for _, parts := range [][][]byte{k, v} {
			var of [][]byte
			for _, p := range parts {
				of = append(of, p[l*n:][:n])
			}
			blobs = append(blobs, of)
		}
	}
	return s, blobs
}

// layered returns what is known of them: a set of windows for each, by which
// blobs it was found or not.
func layered(t testing.TB, s planes.Shape, blobs [][][]byte, profiled bool) codec.Hint {
	t.Helper()
	tu := new(codec.Tuning)
	for i, of := range blobs {
		p, err := planes.Tune(s, of[1:4]...)
		require.NoError(t, err)
		var like [][]byte
		if profiled {
			like = of[1:4]
		}
		require.NoError(t, tu.Add(fmt.Sprint(i), s, p, like...))
	}
	return codec.Hint{Tuning: tu}
}

// TestProfilesFindSets: trying the few sets whose blobs are most alike costs
// next to nothing against trying all.
func TestProfilesFindSets(t *testing.T) {
	t.Parallel()
	s, blobs := layers(t)
	few, all := layered(t, s, blobs, true), layered(t, s, blobs, false)
	var e codec.Encoder
	found, best := 0, 0
	for _, of := range blobs {
		for _, p := range of {
			f, err := e.Encode(few, p)
			require.NoError(t, err)
			found += f.Size()
			f, err = e.Encode(all, p)
			require.NoError(t, err)
			best += f.Size()
		}
	}
	require.Less(t, float64(found), 1.002*float64(best), "%d bytes, %d by trying all", found, best)
	t.Logf("%d bytes, %d by trying all", found, best)
}

// BenchmarkLayers codes pages of an engine that keeps each of 80 layers by
// itself, keys and values, with sets of windows that are chosen from by profile,
// and by trying all.
func BenchmarkLayers(b *testing.B) {
	s, blobs := layers(b)
	for i := 0; len(blobs) < 160; i++ {
		var of [][]byte
		for _, p := range blobs[i] {
			q := append([]byte(nil), p...)
			for j := 1; j < len(q); j += 2 { // four times as large, but for the zeros
				if q[j]&0x7f != 0 {
					q[j]++
				}
			}
			of = append(of, q)
		}
		blobs = append(blobs, of)
	}
	for _, profiled := range []bool{true, false} {
		b.Run(fmt.Sprint("profiled=", profiled), func(b *testing.B) {
			h := layered(b, s, blobs, profiled)
			var e codec.Encoder
			b.SetBytes(int64(s.Bytes()))
			i := 0
			for b.Loop() {
				of := blobs[i%len(blobs)]
				if _, err := e.Encode(h, of[i%len(of)]); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
	}
}
