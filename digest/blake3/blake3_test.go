package blake3_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	library "github.com/zeebo/blake3"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest/blake3"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKey = [32]byte([]byte("whats the Elvish word for friend"))

// hashers are those that a test uses, plain and with testKey.
type hashers struct{ plain, keyed *blake3.Hasher }

// eachKernel runs f with every implementation that this processor can run.
func eachKernel(t *testing.T, f func(t *testing.T, h hashers)) {
	for _, name := range blake3.Kernels() {
		t.Run(name, func(t *testing.T) {
			h := hashers{blake3.New(), blake3.NewKeyed(&testKey)}
			require.NoError(t, h.plain.Use(name))
			require.NoError(t, h.keyed.Use(name))
			f(t, h)
		})
	}
}

// counted returns n bytes that are never equal for long.
func counted(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(testKey).Read(p) // it never fails
	return p
}

// other returns both sums of p as the library makes them.
func other(t testing.TB, p []byte) (plain, keyed [32]byte) {
	k, err := library.NewKeyed(testKey[:])
	require.NoError(t, err)
	_, _ = k.Write(p)
	k.Sum(keyed[:0])
	return library.Sum256(p), keyed
}

// TestVectors holds the sums that BLAKE3 publishes.
func TestVectors(t *testing.T) {
	f, err := os.Open(filepath.Join("testdata", "vectors.txt"))
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	type vector struct {
		length      int
		hash, keyed string
	}
	var all []vector
	for in := bufio.NewScanner(f); in.Scan(); {
		var v vector
		_, err := fmt.Sscan(in.Text(), &v.length, &v.hash, &v.keyed)
		require.NoError(t, err)
		all = append(all, v)
	}
	require.Len(t, all, 35)
	eachKernel(t, func(t *testing.T, h hashers) {
		for _, v := range all {
			sum := h.plain.Sum(counted(v.length))
			require.Equal(t, v.hash, hex.EncodeToString(sum[:]), "%d bytes", v.length)
			sum = h.keyed.Sum(counted(v.length))
			require.Equal(t, v.keyed, hex.EncodeToString(sum[:]), "%d bytes, keyed", v.length)
		}
	})
}

// TestLengths compares with the library at every length up to some chunks more
// than a kernel takes at once, at lengths about subtrees, and at some others.
func TestLengths(t *testing.T) {
	p := noise(2<<20 + 3000)
	lengths := make([]int, 0, 21_000)
	for n := range 20_001 {
		lengths = append(lengths, n)
	}
	for n := 32 << 10; n <= 2<<20; n += 32 << 10 {
		lengths = append(lengths, n-1, n, n+1, n+1024, n+1025)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 40 {
		lengths = append(lengths, r.IntN(len(p)))
	}
	before := bytes.Clone(p)
	h := []*blake3.Hasher{blake3.New(), blake3.NewKeyed(&testKey)}
	other := []*blake3.Hasher{blake3.New(), blake3.NewKeyed(&testKey)}
	for i := range other {
		require.NoError(t, other[i].Use("zeebo"))
	}
	for _, n := range lengths {
		for i := range h {
			if i == 1 && n > 5000 && n%3 != 0 {
				continue // a key changes nothing that depends on the length
			}
			if h[i].Sum(p[:n]) != other[i].Sum(p[:n]) {
				t.Fatalf("%s differs from the library at %d bytes", blake3.Active(), n)
			}
		}
	}
	require.Equal(t, before, p, "the input was written to")
}

// TestMany: parts hashed together have the sums that each has by itself.
func TestMany(t *testing.T) {
	p := noise(64 << 10)
	r := rand.New(rand.NewPCG(5, 6))
	sets := [][]int{
		{}, {0}, {0, 0}, {1024, 1024}, {1, 1025, 2048, 3072, 3073}, {16 << 10, 100, 100, 16 << 10}, {15 << 10, 15<<10 + 1, 15 << 10},
		slices.Repeat([]int{4096}, 64), slices.Repeat([]int{4096}, 65), slices.Repeat([]int{1000}, 300), slices.Repeat([]int{7 << 10}, 40),
	}
	for range 60 {
		var set []int
		for range r.IntN(70) {
			set = append(set, r.IntN(1+r.IntN(18<<10)))
		}
		sets = append(sets, set)
	}
	eachKernel(t, func(t *testing.T, h hashers) {
		for _, set := range sets {
			var parts [][]byte
			for _, n := range set {
				parts = append(parts, p[r.IntN(len(p)-n):][:n])
			}
			plain, keyed := make([][32]byte, len(parts)+1), make([][32]byte, len(parts)+1)
			h.plain.SumMany(plain, parts)
			h.keyed.SumMany(keyed, parts)
			for i, part := range parts {
				wantPlain, wantKeyed := other(t, part)
				require.Equal(t, wantPlain, plain[i], "%d of %v", i, set)
				require.Equal(t, wantKeyed, keyed[i], "%d of %v, keyed", i, set)
			}
			require.Zero(t, plain[len(parts)])
			require.Equal(t, library.Sum256(p[:20_000]), h.plain.Sum(p[:20_000]), "after many")
		}
		require.Panics(t, func() { h.plain.SumMany(make([][32]byte, 1), [][]byte{p, p}) })
	})
}

// TestSoak compares many random lengths, offsets and keys.
func TestSoak(t *testing.T) {
	if os.Getenv("KVFERRY_SOAK") == "" {
		t.Skip("set KVFERRY_SOAK=1: it takes minutes")
	}
	p := noise(9 << 20)
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		var key [32]byte
		copy(key[:], p[r.IntN(len(p)-32):])
		n := int(float64(8<<20) * r.Float64() * r.Float64() * r.Float64() * r.Float64())
		in := p[r.IntN(len(p)-n):][:n]
		k, err := library.NewKeyed(key[:])
		require.NoError(t, err)
		_, _ = k.Write(in)
		if !bytes.Equal(k.Sum(nil), sliceOf(blake3.NewKeyed(&key).Sum(in))) || blake3.New().Sum(in) != library.Sum256(in) {
			t.Fatalf("differs at %d bytes", n)
		}
	}
}

func sliceOf(sum [32]byte) []byte { return sum[:] }

func TestUse(t *testing.T) {
	require.Contains(t, blake3.Kernels(), "zeebo")
	require.Equal(t, blake3.Kernels()[0], blake3.Active(), "the fastest is not what is used")
	h := blake3.New()
	require.ErrorIs(t, h.Use("abacus"), kvferry.ErrInvalid)
	if blake3.Active() != "avx512" {
		require.ErrorIs(t, h.Use("avx512"), kvferry.ErrUnsupported)
	}
	require.Equal(t, library.Sum256(testKey[:]), h.Sum(testKey[:]))
}

// TestSumAllocatesNothing, but for the library's hasher at the first time.
func TestSumAllocatesNothing(t *testing.T) {
	p := noise(600_000)
	eachKernel(t, func(t *testing.T, h hashers) {
		h.keyed.Sum(p)
		for _, n := range []int{0, 64, 1024, 5000, 20_000, len(p)} {
			require.Zero(t, testing.AllocsPerRun(10, func() { h.keyed.Sum(p[:n]) }), "%d bytes", n)
		}
		parts, sums := [][]byte{p[:3000], p[:900], p[:9000], p}, make([][32]byte, 4)
		h.keyed.SumMany(sums, parts)
		require.Zero(t, testing.AllocsPerRun(10, func() { h.keyed.SumMany(sums, parts) }))
	})
}

// TestWorkers: hashers of several goroutines do not disturb each other.
func TestWorkers(t *testing.T) {
	p := noise(300_000)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			h := blake3.New()
			for n := w; n < len(p); n += 50_021 {
				if h.Sum(p[:n]) != library.Sum256(p[:n]) {
					t.Errorf("worker %d differs at %d bytes", w, n)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzSum(f *testing.F) {
	for _, n := range []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 2048, 3072, 8 << 10, 8<<10 + 1, 9 << 10, 17<<10 - 1} {
		f.Add(counted(n), uint16(3), uint8(n))
	}
	f.Fuzz(func(t *testing.T, seed []byte, times uint16, offset uint8) {
		p := bytes.Repeat(seed, 1+int(times)%40)
		if len(p) > 1<<20 {
			p = p[:1<<20]
		}
		p = p[min(len(p), int(offset)):]
		plain, keyed := other(t, p)
		require.Equal(t, plain, blake3.New().Sum(p))
		require.Equal(t, keyed, blake3.NewKeyed(&testKey).Sum(p))
	})
}

// FuzzSumMany cuts an input into parts of lengths that the input tells.
func FuzzSumMany(f *testing.F) {
	f.Add(counted(5000), []byte{0, 1, 16, 64, 200})
	f.Add(counted(70_000), bytes.Repeat([]byte{64}, 40))
	f.Fuzz(func(t *testing.T, p, lengths []byte) {
		p = bytes.Repeat(p, 1+20_000/(1+len(p)))
		var parts [][]byte
		for i, n := range lengths[:min(len(lengths), 300)] {
			length := min(len(p), 64*int(n)+i%3)
			at := min(len(p)-length, 31*i)
			parts = append(parts, p[at:][:length])
		}
		plain, keyed := make([][32]byte, len(parts)), make([][32]byte, len(parts))
		blake3.New().SumMany(plain, parts)
		blake3.NewKeyed(&testKey).SumMany(keyed, parts)
		for i, part := range parts {
			wantPlain, wantKeyed := other(t, part)
			require.Equal(t, wantPlain, plain[i], "%d", i)
			require.Equal(t, wantKeyed, keyed[i], "%d", i)
		}
	})
}
