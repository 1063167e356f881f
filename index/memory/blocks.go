package memory

import (
	"sync"

	"github.com/kvferry/kvferry/internal/anon"
)

// Chunks of slabs and tables are cut from blocks, so that they lie in few huge
// pages: what is anywhere in a large index is then one miss of the cache, and
// not one more of the page tables. Blocks are of the Go heap, without a pointer
// in them: a reader may be where a writer is done, and the last lets go of it.
const (
	minBlock = 1 << 12 // words
	maxBlock = 1 << 20
)

// blocks are what is left of the newest block.
type blocks struct {
	mu    sync.Mutex
	rest  []uint64
	given int // words in all
}

// words returns so many words that are 0 and nobody saw yet.
func (b *blocks) words(n int) []uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.given += n
	if n > len(b.rest) {
		size := min(max(b.given/8, minBlock), maxBlock)
		if n > size/4 && n != chunkWords {
			return newBlock(n) // the rest will do for others
		}
		b.rest = newBlock(max(size, n))
	}
	w := b.rest[:n:n]
	b.rest = b.rest[n:]
	return w
}

// reset lets go of the rest.
func (b *blocks) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rest, b.given = nil, 0
}

func newBlock(n int) []uint64 {
	w := make([]uint64, n)
	if n >= maxBlock/4 {
		anon.Huge(w)
	}
	return w
}
