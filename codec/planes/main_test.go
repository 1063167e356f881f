package planes

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// realPages are pages of a model: every third in testdata, all where the folder
// KVFERRY_MODELS has them.
type realPages struct {
	name  string
	shape Shape
	pages [][]byte
}

func readPages(t testing.TB) []realPages {
	dir := cmp.Or(os.Getenv("KVFERRY_MODELS"), "testdata")
	sets := []realPages{
		{name: "s260k", shape: Shape{10, 16, 32}},
		{name: "kvlab", shape: Shape{12, 16, 256}},
	}
	for i := range sets {
		raw, err := os.ReadFile(filepath.Join(dir, sets[i].name+".kv"))
		require.NoError(t, err)
		for n := sets[i].shape.Bytes(); len(raw) >= n; raw = raw[n:] {
			sets[i].pages = append(sets[i].pages, raw[:n])
		}
	}
	return sets
}

// tuned returns windows from some pages of the set, not from its first.
func (r *realPages) tuned(t testing.TB) []Params {
	p, err := Tune(r.shape, r.pages[1:5]...)
	require.NoError(t, err)
	return p
}

// shapes lie around what stripes, groups and bit planes are made of.
var shapes = []Shape{
	{1, 1, 1}, {1, 1, 7}, {3, 2, 8}, {1, 16, 9}, {2, 5, 31}, {2, 16, 32}, {1, 15, 32}, {1, 1, 64}, {4, 16, 64},
	{1, 16, 63}, {1, 16, 65}, {2, 7, 80}, {1, 16, 96}, {1, 3, 112}, {1, 33, 127}, {2, 16, 128}, {1, 16, 576}, {1, 256, 96},
}

// contents are kinds of values: every one of n values by its number.
var contents = []struct {
	name string
	make func(r *rand.Rand, s Shape, i int) uint16
}{
	{"zero", func(*rand.Rand, Shape, int) uint16 { return 0 }},
	{"one", func(*rand.Rand, Shape, int) uint16 { return 0x3f80 }},
	{"noise", func(r *rand.Rand, _ Shape, _ int) uint16 { return uint16(r.Uint32()) }},
	{"normal", func(r *rand.Rand, _ Shape, _ int) uint16 { return bf16(r.NormFloat64()) }},
	{"channels", func(r *rand.Rand, s Shape, i int) uint16 {
		return bf16(r.NormFloat64() * math.Exp2(float64(i%s.Cols%9-4)))
	}},
	{"outliers", func(r *rand.Rand, s Shape, i int) uint16 {
		if i%s.Cols == 3 {
			return bf16(1e9 * r.NormFloat64())
		}
		return bf16(r.NormFloat64())
	}},
	{"specials", func(r *rand.Rand, _ Shape, _ int) uint16 {
		return [...]uint16{0, 0x8000, 1, 0x807f, 0x7f80, 0xff80, 0x7fc0, 0xffff, 0x7f81, 0x3f80, bf16(r.NormFloat64())}[r.IntN(11)]
	}},
	{"zeros at the end", func(r *rand.Rand, s Shape, i int) uint16 {
		if i/s.Cols%s.Rows >= s.Rows/2 {
			return 0
		}
		return bf16(r.NormFloat64())
	}},
	{"zeros at other ends", func(r *rand.Rand, s Shape, i int) uint16 {
		if segment := i / s.Cols / s.Rows; i/s.Cols%s.Rows > (3*segment+s.Rows/2)%s.Rows {
			return 0
		}
		return bf16(r.NormFloat64())
	}},
}

func bf16(f float64) uint16 { return uint16(math.Float32bits(float32(f)) >> 16) }

// makePage returns a page of s and extra bytes behind it.
func makePage(s Shape, extra, content int) []byte {
	r := rand.New(rand.NewPCG(uint64(s.Cols), uint64(content)))
	p := make([]byte, 0, s.Bytes()+extra)
	for i := range s.Bytes() / 2 {
		p = binary.LittleEndian.AppendUint16(p, contents[content].make(r, s, i))
	}
	for range extra {
		p = append(p, byte(r.Uint32()))
	}
	return p
}

// eachKernels runs f for every implementation that this processor can run.
func eachKernels(t *testing.T, f func(t *testing.T, k *kernels)) {
	for _, k := range implementations {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.Segments, s.Rows, s.Cols) }

const canary = 0xa5

// guarded returns a slice of n bytes within an array that goes on behind it,
// and a check that what is behind was not written.
func guarded(n int) (b []byte, check func(t testing.TB)) {
	all := make([]byte, n+256)
	for i := range all {
		all[i] = canary
	}
	return all[:n:n], func(t testing.TB) {
		t.Helper()
		for i, c := range all[n:] {
			if c != canary {
				t.Fatalf("byte %d behind %d bytes was written", i, n)
			}
		}
	}
}
