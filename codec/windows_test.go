package codec_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/codec/planes"
)

// bf16 describes blobs of segments of rows of cols bf16 values.
func bf16(mode codec.Mode, s planes.Shape) codec.Hint {
	return codec.Hint{Mode: mode, Elem: codec.BF16, ElemBytes: 2, RowElems: s.Cols, Segments: s.Segments}
}

// planesOf returns a frame of planes of n plain bytes, in memory of its own.
func planesOf(t testing.TB, n int) []byte {
	t.Helper()
	var e codec.Encoder
	f, err := e.Encode(bf16(codec.Fast, planes.Shape{Segments: 2, Rows: n / 128, Cols: 32}), kv(n))
	require.NoError(t, err)
	require.Equal(t, codec.Planes, f.Codec())
	return f.AppendTo(nil)
}

// kvlabShape is that of a part of the pages of a model in the test data of
// package planes.
var kvlabShape = planes.Shape{Segments: 6, Rows: 16, Cols: 256}

// kvlab returns the parts of these pages: all keys, and all values.
func kvlab(t testing.TB) (k, v [][]byte) {
	t.Helper()
	raw, err := os.ReadFile("planes/testdata/kvlab.kv")
	require.NoError(t, err)
	n := kvlabShape.Bytes()
	for ; len(raw) >= 2*n; raw = raw[2*n:] {
		k, v = append(k, raw[:n]), append(v, raw[n:2*n])
	}
	require.Greater(t, len(k), 4)
	return k, v
}

// tuning returns what fits the pages of kvlab: a set for keys, one for values.
func tuning(t testing.TB) *codec.Tuning {
	t.Helper()
	k, v := kvlab(t)
	tu := new(codec.Tuning)
	for name, parts := range map[string][][]byte{"k": k, "v": v} {
		p, err := planes.Tune(kvlabShape, parts[1:4]...)
		require.NoError(t, err)
		require.NoError(t, tu.Add(name, kvlabShape, p))
	}
	return tu
}

// TestPagesShrink holds the ratio of real pages to what the codec is for, with
// windows that are known, and with such that are found in each blob.
func TestPagesShrink(t *testing.T) {
	t.Parallel()
	k, v := kvlab(t)
	known := bf16(codec.Auto, kvlabShape)
	known.Tuning = tuning(t)
	for _, x := range []struct {
		name  string
		hint  codec.Hint
		ratio float64
	}{
		{"auto, tuned", known, 1.47},
		{"fast, tuned", codec.Hint{Mode: codec.Fast, Tuning: known.Tuning}, 1.47}, // the sets tell the shape
		{"small", bf16(codec.Small, kvlabShape), 1.49},
		{"small, tuned", codec.Hint{Mode: codec.Small, Tuning: known.Tuning}, 1.49},
		{"auto", bf16(codec.Auto, kvlabShape), 1.46},
		{"fast", bf16(codec.Fast, kvlabShape), 1.46},
	} {
		var e codec.Encoder
		var d codec.Decoder
		plain, stored := 0, 0
		for _, p := range append(k[:len(k)-1:len(k)-1], v[:len(v)-1]...) { // the last pages are partly empty
			f, err := e.Encode(x.hint, p)
			require.NoError(t, err)
			require.Equal(t, codec.Planes, f.Codec())
			plain, stored = plain+len(p), stored+f.Size()
			back := make([]byte, len(p))
			n, err := d.Decode(back, f.AppendTo(nil))
			require.NoError(t, err)
			require.Equal(t, len(p), n)
			require.True(t, bytes.Equal(p, back))
		}
		require.Greater(t, float64(plain)/float64(stored), x.ratio, x.name)
	}
}

// TestBestSetIsTaken: of the sets for a shape the encoder takes the one that
// fits, in whatever order they were added and whatever it coded before.
func TestBestSetIsTaken(t *testing.T) {
	t.Parallel()
	k, v := kvlab(t)
	sets := map[string][]planes.Params{}
	for name, parts := range map[string][][]byte{"k": k, "v": v} {
		p, err := planes.Tune(kvlabShape, parts[1:4]...)
		require.NoError(t, err)
		sets[name] = p
	}
	var before [][]byte
	for _, order := range [][]string{{"k", "v"}, {"v", "k"}} {
		tu := new(codec.Tuning)
		require.NoError(t, tu.Expect(codec.BF16, kvlabShape))
		for _, name := range order {
			require.NoError(t, tu.Add(name, kvlabShape, []planes.Params{{First: 3}})) // to be replaced
			require.NoError(t, tu.Add(name, kvlabShape, sets[name]))
		}
		var e codec.Encoder
		for i, p := range [][]byte{k[2], v[2], k[3], v[3]} {
			f, err := e.Encode(codec.Hint{Tuning: tu}, p)
			require.NoError(t, err)
			want, err := new(planes.Encoder).Append(nil, p, kvlabShape, sets[[]string{"k", "v"}[i%2]])
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, f.Payload), "part %d", i)
			before = append(before, f.AppendTo(nil))
		}
	}
	require.Equal(t, before[:4], before[4:])
}

// TestManySets: among the sets of many groups, each blob finds one that is about
// as good as its own.
func TestManySets(t *testing.T) {
	t.Parallel()
	k, v := kvlab(t)
	tu := new(codec.Tuning)
	for i := range 15 {
		p, err := planes.Tune(kvlabShape, [][]byte{k[i%5], v[i%5]}[i%2])
		require.NoError(t, err)
		if i%4 > 1 { // of another group, with greater values
			for j := range p {
				p[j].First, p[j].Low, p[j].Top = p[j].First+3, p[j].Low+3, p[j].Top+3
			}
		}
		require.NoError(t, tu.Add(string(rune('a'+i)), kvlabShape, p))
	}
	few := codec.Hint{Tuning: tuning(t)}
	var e codec.Encoder
	best, found := 0, 0
	for _, p := range append(k[:5:5], v[:5]...) {
		f, err := e.Encode(few, p)
		require.NoError(t, err)
		best += f.Size()
		f, err = e.Encode(codec.Hint{Tuning: tu}, p)
		require.NoError(t, err)
		found += f.Size()
	}
	require.Less(t, float64(found), 1.005*float64(best))
}

// TestHintsThatLie: a hint never lets a blob grow by more than the header nor
// come back as anything else, whatever the blob is.
func TestHintsThatLie(t *testing.T) {
	t.Parallel()
	tu := tuning(t)
	require.NoError(t, tu.Expect(codec.BF16, planes.Shape{Segments: 2, Rows: 8, Cols: 64}))
	var e codec.Encoder
	var d codec.Decoder
	for _, kind := range kinds {
		for _, n := range append([]int{2048, 2046, 2047, 2050, kvlabShape.Bytes(), kvlabShape.Bytes() + 1}, sizes...) {
			plain := kind.make(n)
			for _, mode := range modes {
				h := bf16(mode, planes.Shape{Segments: 2, Cols: 64})
				for _, h.Tuning = range []*codec.Tuning{nil, new(codec.Tuning), tu} {
					f, err := e.Encode(h, plain)
					require.NoError(t, err)
					stored := f.AppendTo(nil)
					require.LessOrEqual(t, len(stored), n+codec.HeaderBytes, "%s of %d in mode %v", kind.name, n, mode)
					dst, check := guarded(t, n)
					got, err := d.Decode(dst, stored)
					require.NoError(t, err, "%s of %d in mode %v", kind.name, n, mode)
					require.Equal(t, n, got)
					require.True(t, bytes.Equal(plain, dst), "%s of %d in mode %v", kind.name, n, mode)
					check()
				}
			}
		}
	}
}

// TestChoiceOfBF16 says which codec is chosen for what is called bf16.
func TestChoiceOfBF16(t *testing.T) {
	t.Parallel()
	s := planes.Shape{Segments: 22, Rows: 16, Cols: 256}
	for name, want := range map[string][4]codec.ID{ // auto, fast, small, and auto of elements that are not bf16
		"zero":  {codec.Constant, codec.Constant, codec.Constant, codec.Constant},
		"kv":    {codec.Planes, codec.Planes, codec.Planes, codec.Raw},
		"noise": {codec.Raw, codec.Raw, codec.Raw, codec.Raw},
		"text":  {codec.Planes, codec.Planes, codec.Planes, codec.Zstd}, // nobody calls text bf16
		"slim":  {codec.Raw, codec.Planes, codec.Planes, codec.Raw},     // saves less than a sixteenth
	} {
		var plain []byte
		for _, kind := range kinds {
			if kind.name == name {
				plain = kind.make(s.Bytes())
			}
		}
		if plain == nil {
			plain = slim(s.Bytes())
		}
		var e codec.Encoder
		for i, h := range []codec.Hint{bf16(codec.Auto, s), bf16(codec.Fast, s), bf16(codec.Small, s), {ElemBytes: 2, RowElems: s.Cols, Segments: s.Segments}} {
			f, err := e.Encode(h, plain)
			require.NoError(t, err)
			require.Equal(t, want[i], f.Codec(), "%s by hint %d", name, i)
		}
	}
}

// TestSmallKnowsOtherElements: float16 and float8 shrink at the level small, with
// the shape told by the hint or by what is expected. The modes for speed leave
// them as they are.
func TestSmallKnowsOtherElements(t *testing.T) {
	t.Parallel()
	s := planes.Shape{Segments: 4, Rows: 16, Cols: 64}
	r := rand.New(rand.NewPCG(1, 1))
	for elem, x := range map[codec.Elem]struct{ bytes, mantissa int }{codec.F16: {2, 10}, codec.FP8E4M3: {1, 3}, codec.FP8E5M2: {1, 2}} {
		var plain []byte
		for range s.Segments * s.Rows * s.Cols {
			exponent := 7 - min(7, int(r.ExpFloat64())) // few values take most
			v := exponent<<x.mantissa | r.IntN(1<<x.mantissa) | r.IntN(2)<<(8*x.bytes-1)
			plain = append(plain, byte(v))
			if x.bytes == 2 {
				plain = append(plain, byte(v>>8))
			}
		}
		tu := new(codec.Tuning)
		require.NoError(t, tu.Expect(elem, s))
		for _, mode := range modes {
			told := codec.Hint{Mode: mode, Elem: elem, ElemBytes: x.bytes, RowElems: s.Cols, Segments: s.Segments}
			for _, h := range []codec.Hint{told, {Mode: mode, Tuning: tu}} {
				var e codec.Encoder
				f, err := e.Encode(h, plain)
				require.NoError(t, err)
				require.Equal(t, mode == codec.Small, f.Codec() == codec.Planes, "%d in mode %v", elem, mode)
				back := make([]byte, len(plain))
				_, err = new(codec.Decoder).Decode(back, f.AppendTo(nil))
				require.NoError(t, err)
				require.True(t, bytes.Equal(plain, back))
			}
		}
		require.False(t, tu.Wanted(), "windows are of bf16")
	}
}

// slim returns n bytes of bf16 whose exponents are spread almost too far to be
// worth anything.
func slim(n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	p := make([]byte, 0, n)
	for len(p) < n {
		x := float32(math.Exp2(float64(r.IntN(17)))) * (1 + r.Float32())
		p = binary.LittleEndian.AppendUint16(p, uint16(math.Float32bits(x)>>16))
	}
	return p
}

func TestTuningRefuses(t *testing.T) {
	t.Parallel()
	s := planes.Shape{Segments: 2, Rows: 4, Cols: 8}
	tu := new(codec.Tuning)
	require.ErrorIs(t, tu.Expect(codec.BF16, planes.Shape{}), kvferry.ErrInvalid)
	require.ErrorIs(t, tu.Expect(codec.Bytes, s), kvferry.ErrInvalid)
	require.ErrorIs(t, tu.Expect(99, s), kvferry.ErrInvalid)
	require.ErrorIs(t, tu.Add("k", s, nil), kvferry.ErrInvalid)
	require.ErrorIs(t, tu.Add("k", s, make([]planes.Params, 3)), kvferry.ErrInvalid)
	require.ErrorIs(t, tu.Add("k", planes.Shape{Segments: 1}, make([]planes.Params, 1)), kvferry.ErrInvalid)
	for i := range 512 {
		require.NoError(t, tu.Add(string(rune('a'+i)), s, make([]planes.Params, 1)))
	}
	require.ErrorIs(t, tu.Add("one too many", s, make([]planes.Params, 1)), kvferry.ErrInvalid)
	require.ErrorIs(t, tu.Add("a", s, make([]planes.Params, 2), make([]byte, s.Bytes()), make([]byte, 2)), kvferry.ErrInvalid)
	require.NoError(t, tu.Add("a", s, make([]planes.Params, 2)), "one that takes the place of another")
}

// TestWanted: a tuning knows whether anybody codes blobs of its shapes.
func TestWanted(t *testing.T) {
	t.Parallel()
	tu := new(codec.Tuning)
	require.NoError(t, tu.Expect(codec.BF16, kvlabShape))
	var e codec.Encoder
	for _, x := range []struct {
		mode codec.Mode
		n    int
		want bool
	}{
		{codec.Auto, 100, false},
		{codec.OnlyRaw, kvlabShape.Bytes(), false},
		{codec.PreferZstd, kvlabShape.Bytes(), false},
		{codec.Auto, kvlabShape.Bytes(), true},
	} {
		_, err := e.Encode(codec.Hint{Mode: x.mode, Tuning: tu}, noise(x.n))
		require.NoError(t, err)
		require.Equal(t, x.want, tu.Wanted(), "%v of %d", x.mode, x.n)
	}
}

// TestTuningWhileEncoding adds sets while encoders use them.
func TestTuningWhileEncoding(t *testing.T) {
	t.Parallel()
	k, _ := kvlab(t)
	tu := new(codec.Tuning)
	require.NoError(t, tu.Expect(codec.BF16, kvlabShape))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			var e codec.Encoder
			var d codec.Decoder
			back := make([]byte, len(k[0]))
			for i := range 50 {
				p := k[i%len(k)]
				f, err := e.Encode(codec.Hint{Tuning: tu}, p)
				if err == nil {
					_, err = d.Decode(back, f.AppendTo(nil))
				}
				if err != nil || !bytes.Equal(p, back) {
					t.Errorf("blob %d comes back differently: %v", i, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		p, err := planes.Tune(kvlabShape, k[i%len(k)])
		require.NoError(t, err)
		require.NoError(t, tu.Add("k", kvlabShape, p))
	}
	wg.Wait()
}
