package caches

import (
	"testing"

	"github.com/dgraph-io/ristretto/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pagecache"
)

const pageBytes = 512

type page *[pageBytes]byte

// subject is a cache of pages.
type subject struct {
	get func(k uint64) bool // looks for a page, and lets go of it
	put func(k uint64, content page)
	// settle waits until what was put is where it will be.
	settle func()
}

// subjects are the caches by name.
var subjects = []struct {
	name string
	make func(b *testing.B, pages int) subject
}{
	{"kvferry", newPool},
	{"kvferry-hashed", newPoolOfHashes},
	{"golang-lru", newLRU},
	{"golang-lru-2q", newTwoQueue},
	{"ristretto", newRistretto},
	{"otter", newOtter},
}

func newPool(b *testing.B, pages int) subject { return pool(b, pages, nil) }

// newPoolOfHashes is for keys that are hashes, as digests are.
func newPoolOfHashes(b *testing.B, pages int) subject {
	return pool(b, pages, func(k uint64) uint64 { return k })
}

func pool(b *testing.B, pages int, hash func(uint64) uint64) subject {
	p, err := pagecache.New(pagecache.Options[uint64]{LimitBytes: int64(pages * pageBytes), Hash: hash})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, p.Close()) })
	ctx := b.Context()
	return subject{
		get: func(k uint64) bool {
			f, ok := p.Get(k)
			if ok {
				f.Release()
			}
			return ok
		},
		put: func(k uint64, content page) {
			if f, err := p.Insert(ctx, k, content[:], pagecache.Refuse); err == nil { // another goroutine may have been first
				f.Release()
			}
		},
		settle: func() {},
	}
}

func newLRU(b *testing.B, pages int) subject {
	c, err := lru.New[uint64, page](pages)
	require.NoError(b, err)
	return subject{
		get:    func(k uint64) bool { _, ok := c.Get(k); return ok },
		put:    func(k uint64, content page) { c.Add(k, clone(content)) },
		settle: func() {},
	}
}

func newTwoQueue(b *testing.B, pages int) subject {
	c, err := lru.New2Q[uint64, page](pages)
	require.NoError(b, err)
	return subject{
		get:    func(k uint64) bool { _, ok := c.Get(k); return ok },
		put:    func(k uint64, content page) { c.Add(k, clone(content)) },
		settle: func() {},
	}
}

func newRistretto(b *testing.B, pages int) subject {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, page]{
		NumCounters: int64(10 * pages), MaxCost: int64(pages), BufferItems: 64, IgnoreInternalCost: true,
	})
	require.NoError(b, err)
	b.Cleanup(c.Close)
	return subject{
		get:    func(k uint64) bool { _, ok := c.Get(k); return ok },
		put:    func(k uint64, content page) { c.Set(k, clone(content), 1) },
		settle: c.Wait,
	}
}

func newOtter(b *testing.B, pages int) subject {
	c, err := otter.New(&otter.Options[uint64, page]{MaximumSize: pages})
	require.NoError(b, err)
	b.Cleanup(func() { c.StopAllGoroutines() })
	return subject{
		get:    func(k uint64) bool { _, ok := c.GetIfPresent(k); return ok },
		put:    func(k uint64, content page) { c.Set(k, clone(content)) },
		settle: c.CleanUp,
	}
}

func clone(content page) page {
	own := *content
	return &own
}
