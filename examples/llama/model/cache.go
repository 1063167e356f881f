package model

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Cache is the memory of a paged KV cache. Each layer has one slab of keys and
// one of values, as vLLM lays them out for split attention kernels:
//
//	[page][token][kv head][head dim] bf16, little-endian
//
// The slabs belong to the Cache but may be read, and pages that no running
// sequence holds may be written, by others.
type Cache struct {
	Keys, Values [][]byte // one slab per layer, Pages x PageStride bytes each
	Pages        int
	PageTokens   int // token slots per page
	rowBytes     int // bytes of one token in one slab
}

// MaxCacheBytes bounds the memory of a Cache.
const MaxCacheBytes = 1 << 40

// NewCache takes memory for pages of pageTokens tokens. Impossible numbers are
// ErrInvalid.
func NewCache(c Config, pages, pageTokens int) (*Cache, error) {
	bytes, err := CacheBytes(c, pages, pageTokens)
	if err != nil {
		return nil, err
	}
	k := &Cache{Pages: pages, PageTokens: pageTokens, rowBytes: c.KVDim() * 2}
	k.carve(c, make([]byte, bytes))
	return k, nil
}

// NewCacheIn makes a cache of memory that the caller has: CacheBytes of it, the
// slabs of all keys before those of all values.
func NewCacheIn(c Config, pages, pageTokens int, memory []byte) (*Cache, error) {
	bytes, err := CacheBytes(c, pages, pageTokens)
	if err != nil {
		return nil, err
	}
	if int64(len(memory)) != bytes {
		return nil, fmt.Errorf("model: cache of %d bytes in memory of %d: %w", bytes, len(memory), kvferry.ErrInvalid)
	}
	k := &Cache{Pages: pages, PageTokens: pageTokens, rowBytes: c.KVDim() * 2}
	k.carve(c, memory)
	return k, nil
}

// CacheBytes returns the memory that a cache takes.
func CacheBytes(c Config, pages, pageTokens int) (int64, error) {
	if err := c.Validate(); err != nil {
		return 0, err
	}
	row := c.KVDim() * 2
	if pages < 1 || pageTokens < 1 || pageTokens > MaxSeqLen || pages > MaxCacheBytes/(row*pageTokens)/(2*c.Layers) {
		return 0, fmt.Errorf("model: cache of %d pages of %d tokens: %w", pages, pageTokens, kvferry.ErrInvalid)
	}
	return int64(pages) * int64(pageTokens) * int64(row) * int64(2*c.Layers), nil
}

// carve cuts memory into slabs.
func (k *Cache) carve(c Config, memory []byte) {
	n := k.Pages * k.PageStride()
	for i := range 2 * c.Layers {
		slab := memory[i*n : (i+1)*n : (i+1)*n]
		if i < c.Layers {
			k.Keys = append(k.Keys, slab)
		} else {
			k.Values = append(k.Values, slab)
		}
	}
}

// PageStride returns the bytes of one page in one slab.
func (k *Cache) PageStride() int { return k.PageTokens * k.rowBytes }

// page returns a page's bytes in a slab.
func (k *Cache) page(slab []byte, page uint32) []byte {
	n := k.PageStride()
	return slab[int(page)*n : (int(page)+1)*n]
}

// put rounds a token's vector into its slot of a slab.
func (k *Cache) put(slab []byte, page uint32, slot int, v []float32) {
	b := k.page(slab, page)[slot*k.rowBytes : (slot+1)*k.rowBytes]
	for i, f := range v {
		u := bf16(f)
		b[2*i], b[2*i+1] = byte(u), byte(u>>8)
	}
}

// Slab returns where a page lies in slab i, within the memory of NewCacheIn, and
// how long it is there.
func (k *Cache) Slab(i int, page uint32) (offset, bytes int64) {
	n := int64(k.PageStride())
	return int64(i)*int64(k.Pages)*n + int64(page)*n, n
}

// Slabs returns the number of slabs.
func (k *Cache) Slabs() int { return len(k.Keys) + len(k.Values) }

// Clear zeroes a page, so that the slots behind the end of a sequence are the
// same bytes whatever the page held before.
func (k *Cache) Clear(page uint32) {
	for l := range k.Keys {
		clear(k.page(k.Keys[l], page))
		clear(k.page(k.Values[l], page))
	}
}
