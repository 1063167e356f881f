package pipelinetest

import (
	"errors"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

var concurrentTests = []test{
	{name: "own fingerprints", excludes: []Ability{ReadOnly}, run: testOwnKeys},
	{name: "the same fingerprints", excludes: []Ability{ReadOnly}, run: testSameKeys},
	{name: "readers", run: testReaders},
}

// testOwnKeys is upstream's expectation: 8 threads with 32 fingerprints each
// read back what each put.
func testOwnKeys(s *subject) {
	const threads, each = 8, 32
	var wg sync.WaitGroup
	for w := range threads {
		wg.Go(func() {
			for i := w * each; i < (w+1)*each; i++ {
				assert.NoError(s, s.Put(s.Context(), key(i), numbered(i, w)))
				got, err := s.Get(s.Context(), key(i))
				assert.NoError(s, err)
				assert.Equal(s, numbered(i, w), got)
			}
		})
	}
	wg.Wait()
	for i := range threads * each {
		s.requireHas(key(i), numbered(i, i/each))
	}
	requireIdentity(s, s.Metrics())
}

// testSameKeys: everything that is read of 5 fingerprints is one of the whole
// artifacts that were put for it, and shared bytes stay what they are.
func testSameKeys(s *subject) {
	const keys, writers, readers, rounds = 5, 4, 4, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				k, put := (i+w)%keys, s.Put
				if i%2 == 0 {
					put = s.PutShared
				}
				assert.NoError(s, put(s.Context(), key(k), numbered(k, w*rounds+i)))
				if i%16 == 0 {
					assert.NoError(s, s.Flush(s.Context()))
				}
				_ = s.Metrics()
			}
		})
	}
	for r := range readers {
		wg.Go(func() { s.readSame(r, keys, writers*rounds) })
	}
	wg.Wait()
	for k := range keys {
		got, err := s.Get(s.Context(), key(k))
		require.NoError(s, err)
		require.True(s, whole(k, writers*rounds, got), "torn: %d bytes", len(got))
	}
	requireIdentity(s, s.Metrics())
}

// readSame reads what others write, and looks again at the shared bytes at last.
func (s *subject) readSame(r, keys, numbers int) {
	var held [][]byte
	var of []int
	for i := range numbers {
		k := (i*7 + r) % keys
		got, err := s.Get(s.Context(), key(k))
		if i%2 == 0 {
			got, err = s.GetShared(s.Context(), key(k))
		}
		if errors.Is(err, kvferry.ErrNotFound) {
			continue
		}
		if !assert.NoError(s, err) {
			return
		}
		assert.True(s, whole(k, numbers, got), "torn: %d bytes", len(got))
		if i%2 == 0 {
			held, of = append(held, got), append(of, k)
		}
	}
	for i, b := range held {
		assert.True(s, whole(of[i], numbers, b), "changed: %d bytes", len(b))
	}
}

func testReaders(s *subject) {
	const keys, readers = 8, 8
	for k := range keys {
		s.keep(key(k), numbered(k, k))
	}
	var wg sync.WaitGroup
	for r := range readers {
		wg.Go(func() {
			for i := range 50 {
				k := (i + r) % (keys + 1)
				got, err := s.GetShared(s.Context(), key(k))
				if k == keys {
					assert.ErrorIs(s, err, kvferry.ErrNotFound)
					continue
				}
				assert.NoError(s, err)
				assert.Equal(s, numbered(k, k), got)
			}
		})
	}
	wg.Wait()
	requireIdentity(s, s.Metrics())
}
