package pipelinetest

import (
	"bytes"
	"errors"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
)

var writeTests = []test{
	{name: "Put keeps a copy", excludes: []Ability{ReadOnly}, run: testPutCopies},
	{name: "PutShared", excludes: []Ability{ReadOnly}, run: testPutShared},
	{name: "PutShared keeps no copy", needs: []Ability{Shares}, run: testPutSharedSame},
	{name: "replacement", excludes: []Ability{ReadOnly}, run: testReplace},
	{name: "shared bytes outlive their replacement", excludes: []Ability{ReadOnly}, run: testSharedOutlives},
	{name: "an artifact that is too long", excludes: []Ability{ReadOnly}, run: testTooLong},
	{name: "a read-only store refuses", needs: []Ability{ReadOnly}, run: testRefuses},
}

func testPutCopies(s *subject) {
	given := noise(1, 1000)
	require.NoError(s, s.Put(s.Context(), key(1), given))
	clear(given)
	s.requireHas(key(1), noise(1, 1000))
}

func testPutShared(s *subject) {
	for _, n := range []int{0, 1, 1000} {
		require.NoError(s, s.PutShared(s.Context(), key(n), noise(1, n)))
		s.requireHas(key(n), noise(1, n))
	}
}

func testPutSharedSame(s *subject) {
	given := make([]byte, 1000, 2000)
	require.NoError(s, s.PutShared(s.Context(), key(1), given))
	got, err := s.GetShared(s.Context(), key(1))
	require.NoError(s, err)
	require.Same(s, &given[0], &got[0])
	require.Equal(s, len(got), cap(got), "the capacity of shared bytes")
}

func testReplace(s *subject) {
	s.keep(key(1), noise(1, 50))
	for i, n := range []int{100, 100, 30, 0, 7, 5000} {
		put := s.Put
		if i%2 == 1 {
			put = s.PutShared
		}
		require.NoError(s, put(s.Context(), key(0), noise(uint64(i), n)))
		s.requireHas(key(0), noise(uint64(i), n))
	}
	s.requireHas(key(1), noise(1, 50))
}

func testSharedOutlives(s *subject) {
	require.NoError(s, s.Put(s.Context(), key(1), noise(1, 1000)))
	a, err := s.GetShared(s.Context(), key(1))
	require.NoError(s, err)
	for i := range 64 {
		require.NoError(s, s.Put(s.Context(), key(1), noise(uint64(100+i), 1000)))
		require.NoError(s, s.Put(s.Context(), key(2+i), noise(uint64(200+i), 1000)))
	}
	require.NoError(s, s.Flush(s.Context()))
	require.True(s, bytes.Equal(noise(1, 1000), a))
}

func testTooLong(s *subject) {
	long := make([]byte, pipelinecache.MaxArtifactBytes+1)
	s.keep(key(1), []byte("the one before"))
	s.keep(key(2), []byte("another"))
	before := s.Metrics()
	for i, put := range []func() error{
		func() error { return s.Put(s.Context(), key(1), long) },
		func() error { return s.PutShared(s.Context(), key(1), long) },
		func() error { return s.Put(s.Context(), key(3), long) },
	} {
		require.ErrorIs(s, put(), kvferry.ErrInvalid, "put %d", i)
	}
	if s.config.can(Counts) {
		require.Equal(s, before.RejectedPuts+3, s.Metrics().RejectedPuts)
		require.Equal(s, before.Puts, s.Metrics().Puts)
	}
	s.requireMiss(key(3))
	s.requireHas(key(2), []byte("another"))
	got, err := s.Get(s.Context(), key(1)) // the one before, or nothing
	if !errors.Is(err, kvferry.ErrNotFound) {
		require.NoError(s, err)
		require.Equal(s, "the one before", string(got))
	}
	require.NoError(s, s.Put(s.Context(), key(1), []byte("the one after")))
	s.requireHas(key(1), []byte("the one after"))
}

func testRefuses(s *subject) {
	s.keep(key(1), []byte("there"))
	for _, f := range []pipelinecache.Fingerprint{key(1), key(2)} {
		require.ErrorIs(s, s.Put(s.Context(), f, []byte("new")), kvferry.ErrReadOnly)
		require.ErrorIs(s, s.PutShared(s.Context(), f, []byte("new")), kvferry.ErrReadOnly)
	}
	s.requireHas(key(1), []byte("there"))
	s.requireMiss(key(2))
}
