package pipelinetest

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

// key returns fingerprints that differ all over, as hashes do.
func key(i int) pipelinecache.Fingerprint {
	return pipelinecache.Fingerprint(noise(uint64(i), pipelinecache.FingerprintBytes))
}

// noise returns n bytes that i alone decides.
func noise(i uint64, n int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], i)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// numbered returns an artifact that tells its key and number, so that whether
// it is whole can be seen from itself.
func numbered(k, number int) []byte {
	n := 16 + (k*7919+number*104729)%maxNumbered
	b := noise(uint64(k)<<32|uint64(number), n)
	binary.LittleEndian.PutUint64(b, uint64(k))
	binary.LittleEndian.PutUint64(b[8:], uint64(number))
	return b
}

const maxNumbered = 20_000

// whole tells whether b is one of the artifacts numbered(k, ...) with a number
// below the limit.
func whole(k, limit int, b []byte) bool {
	if len(b) < 16 {
		return false
	}
	number := binary.LittleEndian.Uint64(b[8:])
	return number < uint64(limit) && bytes.Equal(numbered(k, int(number)), b)
}

// requireHas fails unless both ways to read return the artifact.
func (s *subject) requireHas(f pipelinecache.Fingerprint, want []byte) {
	s.Helper()
	got, err := s.Get(s.Context(), f)
	require.NoError(s, err)
	require.True(s, bytes.Equal(want, got), "got %d bytes, want %d, or others", len(got), len(want))
	got, err = s.GetShared(s.Context(), f)
	require.NoError(s, err)
	require.True(s, bytes.Equal(want, got), "shared: got %d bytes, want %d, or others", len(got), len(want))
}

// requireMiss fails unless both ways to read find nothing.
func (s *subject) requireMiss(f pipelinecache.Fingerprint) {
	s.Helper()
	got, err := s.Get(s.Context(), f)
	require.ErrorIs(s, err, kvferry.ErrNotFound)
	require.Nil(s, got)
	got, err = s.GetShared(s.Context(), f)
	require.ErrorIs(s, err, kvferry.ErrNotFound)
	require.Nil(s, got)
}
