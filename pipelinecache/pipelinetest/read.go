package pipelinetest

import (
	"bytes"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pipelinecache"
)

var readTests = []test{
	{name: "a miss", run: testMiss},
	{name: "all lengths", run: testLengths},
	{name: "no bytes", run: testEmpty},
	{name: "fingerprints that differ in a bit", run: testNear},
	{name: "a copy is the caller's", run: testOwned},
	{name: "shared bytes end where they end", run: testClipped},
	{name: "many artifacts", run: testMany},
}

func testMiss(s *subject) {
	s.requireMiss(key(1))
	s.requireMiss(pipelinecache.Fingerprint{})
	s.keep(key(1), []byte("something"))
	s.requireHas(key(1), []byte("something"))
	s.requireMiss(key(2))
}

func testLengths(s *subject) {
	lengths := []int{1, 2, 5, 6, 31, 32, 33, 37, 38, 39, 63, 64, 65, 4095, 4096, 4097, 65536, 100_001, 1 << 20}
	for _, n := range lengths {
		s.keep(key(n), noise(uint64(n), n))
	}
	for _, n := range lengths {
		s.requireHas(key(n), noise(uint64(n), n))
	}
}

func testEmpty(s *subject) {
	s.keep(key(1), []byte{})
	s.keep(key(2), nil)
	s.keep(pipelinecache.Fingerprint{}, nil)
	s.requireHas(key(1), nil)
	s.requireHas(key(2), nil)
	s.requireHas(pipelinecache.Fingerprint{}, nil)
}

func testNear(s *subject) {
	var zero pipelinecache.Fingerprint
	keys := []pipelinecache.Fingerprint{zero}
	for bit := range 8 * pipelinecache.FingerprintBytes {
		f := zero
		f[bit/8] ^= 1 << (bit % 8)
		keys = append(keys, f)
	}
	for i, f := range keys[:len(keys)-1] {
		s.keep(f, numbered(i, 0))
	}
	for i, f := range keys[:len(keys)-1] {
		s.requireHas(f, numbered(i, 0))
	}
	s.requireMiss(keys[len(keys)-1])
}

func testOwned(s *subject) {
	want := noise(1, 1000)
	s.keep(key(1), want)
	got, err := s.Get(s.Context(), key(1))
	require.NoError(s, err)
	clear(got)
	_ = append(got, 1, 2, 3)
	s.requireHas(key(1), want)
}

// testClipped: an append to what several share must not write into memory that
// they share.
func testClipped(s *subject) {
	for _, n := range []int{0, 1, 1000} {
		s.keep(key(n), noise(1, n))
		got, err := s.GetShared(s.Context(), key(n))
		require.NoError(s, err)
		require.Len(s, got, n)
		require.Equal(s, n, cap(got), "the capacity of shared bytes")
	}
}

func testMany(s *subject) {
	const n = 300
	for i := range n {
		s.keep(key(i), numbered(i, i))
	}
	for i := range n {
		got, err := s.Get(s.Context(), key(i))
		require.NoError(s, err)
		require.True(s, bytes.Equal(numbered(i, i), got), "artifact %d", i)
	}
	s.requireMiss(key(n))
}
