package pack_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// madeUp is a digest that nothing was hashed for; stores do not look.
func madeUp(n uint64) digest.Digest {
	var sum [digest.Size]byte
	for i := 0; i < len(sum); i += 8 {
		n ^= n << 13
		n ^= n >> 7
		n ^= n << 17
		binary.LittleEndian.PutUint64(sum[i:], n*0x9e3779b97f4a7c15)
	}
	return digest.New(digest.BLAKE3, sum)
}

// TestAllocations: nothing is allocated per call, but for what grows with the
// number of blobs.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := open(t, t.TempDir(), pack.Options{})
	sess, err := s.Begin(t.Context(), cas.SessionOptions{Hint: codec.Hint{Mode: codec.OnlyRaw}})
	require.NoError(t, err)
	ctx := t.Context()
	plain := make([]byte, 8<<10)
	n := uint64(1)
	put := func() {
		n++
		_, err := sess.Put(ctx, madeUp(n), plain)
		require.NoError(t, err)
	}
	for range 30_000 { // maps and lists grow
		put()
	}
	require.NoError(t, sess.Flush(ctx))
	require.Less(t, testing.AllocsPerRun(5000, put), 0.5, "allocations per Put")
	require.NoError(t, sess.Flush(ctx))

	d, dst := madeUp(77), make([]byte, len(plain))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		ok, err := s.Has(ctx, d)
		require.True(t, ok && err == nil)
	}), "allocations per Has")
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, err := s.Get(ctx, d, dst)
		require.NoError(t, err)
	}), "allocations per Get")
	require.NoError(t, sess.Abort(ctx))
}

// TestAllocationsOfCodedBlobs: neither does the codec allocate anything for each
// blob of bf16.
func TestAllocationsOfCodedBlobs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	s := open(t, t.TempDir(), pack.Options{})
	sess, err := s.Begin(t.Context(), cas.SessionOptions{Hint: codec.Hint{Elem: codec.BF16, ElemBytes: 2, RowElems: 64, Segments: 2}})
	require.NoError(t, err)
	ctx := t.Context()
	r := rand.New(rand.NewPCG(1, 2))
	plain := make([]byte, 0, 8<<10)
	for len(plain) < cap(plain) {
		plain = binary.LittleEndian.AppendUint16(plain, uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	}
	n := uint64(1)
	put := func() {
		n++
		got, err := sess.Put(ctx, madeUp(n), plain)
		require.NoError(t, err)
		require.Equal(t, codec.Planes, got.Codec)
	}
	for range 3000 {
		put()
	}
	require.NoError(t, sess.Flush(ctx))
	require.Less(t, testing.AllocsPerRun(1000, put), 0.5, "allocations per Put")
	require.NoError(t, sess.Flush(ctx))
	dst := make([]byte, len(plain))
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		_, err := s.Get(ctx, madeUp(77), dst)
		require.NoError(t, err)
	}), "allocations per Get")
	require.Equal(t, plain, dst)
	require.NoError(t, sess.Abort(ctx))
}

// BenchmarkHas asks for blobs that are there.
func BenchmarkHas(b *testing.B) {
	s := open(b, b.TempDir(), pack.Options{})
	sess, err := s.Begin(b.Context(), cas.SessionOptions{Hint: codec.Hint{Mode: codec.OnlyRaw}})
	require.NoError(b, err)
	const count = 200_000
	for n := range uint64(count) {
		_, err := sess.Put(b.Context(), madeUp(n+1), nil)
		require.NoError(b, err)
	}
	require.NoError(b, sess.Flush(b.Context()))
	ctx, n := b.Context(), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		n = (n*6364136223846793005 + 1442695040888963407)
		if ok, err := s.Has(ctx, madeUp(n>>33%count+1)); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
