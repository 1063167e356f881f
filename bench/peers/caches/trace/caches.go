package main

import (
	"github.com/dgraph-io/ristretto/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/maypok86/otter/v2"
)

const blockBytes = 64

type block *[blockBytes]byte

// cache is one to play a trace on.
type cache struct {
	get   func(uint64) bool
	put   func(uint64, block)
	close func()
}

// contender is a library's cache.
type contender struct {
	name, module, note string
	make               func(capacity int) (cache, error)
}

var contenders = []contender{
	{"golang-lru", "github.com/hashicorp/golang-lru/v2", "LRU, one lock", newLRU},
	{"golang-lru-2q", "github.com/hashicorp/golang-lru/v2", "2Q, one lock", newTwoQueue},
	{"ristretto", "github.com/dgraph-io/ristretto/v2", "TinyLFU with sampling; drops puts under load", newRistretto},
	{"otter", "github.com/maypok86/otter/v2", "W-TinyLFU, evicts in the background", newOtter},
}

func newLRU(capacity int) (cache, error) {
	c, err := lru.New[uint64, block](capacity)
	return cache{
		get:   func(k uint64) bool { _, ok := c.Get(k); return ok },
		put:   func(k uint64, b block) { c.Add(k, b) },
		close: func() {},
	}, err
}

func newTwoQueue(capacity int) (cache, error) {
	c, err := lru.New2Q[uint64, block](capacity)
	return cache{
		get:   func(k uint64) bool { _, ok := c.Get(k); return ok },
		put:   func(k uint64, b block) { c.Add(k, b) },
		close: func() {},
	}, err
}

func newRistretto(capacity int) (cache, error) {
	c, err := ristretto.NewCache(&ristretto.Config[uint64, block]{
		NumCounters: int64(10 * capacity), MaxCost: int64(capacity), BufferItems: 64, IgnoreInternalCost: true,
	})
	if err != nil {
		return cache{}, err
	}
	return cache{
		get:   func(k uint64) bool { _, ok := c.Get(k); return ok },
		put:   func(k uint64, b block) { c.Set(k, b, 1) },
		close: c.Close,
	}, nil
}

func newOtter(capacity int) (cache, error) {
	c, err := otter.New(&otter.Options[uint64, block]{MaximumSize: capacity})
	if err != nil {
		return cache{}, err
	}
	return cache{
		get:   func(k uint64) bool { _, ok := c.GetIfPresent(k); return ok },
		put:   func(k uint64, b block) { c.Set(k, b) },
		close: func() { c.StopAllGoroutines() },
	}, nil
}
