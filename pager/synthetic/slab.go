package synthetic

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/kvferry/kvferry/internal/anon"
	"github.com/kvferry/kvferry/pager"
)

// The states of a page.
const (
	free uint8 = iota
	held       // allocated, not written yet
	full       // holds valid data
)

// chunkBytes is about how much memory is taken at once.
const chunkBytes = 4 << 20

// maxChunkPages bounds a chunk's tables where pages are small.
const maxChunkPages = 1 << 16

// slab holds the pages in chunks of 2^shift, made when a page in them is first
// taken, so that a large capacity costs nothing until it is used.
type slab struct {
	pageBytes int
	capacity  int
	shift     uint
	chunks    []*chunk
}

type chunk struct {
	data   []byte
	mapped bool // data was mapped, not made
	states []uint8
	gens   []uint64
}

func newSlab(pageBytes, capacity int) *slab {
	n := min(chunkBytes/max(pageBytes, 1), maxChunkPages, capacity)
	s := &slab{pageBytes: pageBytes, capacity: capacity}
	if n > 1 {
		s.shift = uint(bits.Len(uint(n)) - 1)
	}
	s.chunks = make([]*chunk, (uint64(capacity)+1<<s.shift-1)>>s.shift)
	return s
}

// find returns the chunk of a page and the page's number in it; nil if the
// page is beyond the capacity or its chunk was not made.
func (s *slab) find(id pager.PageID) (*chunk, int) {
	if uint64(id) >= uint64(s.capacity) {
		return nil, 0
	}
	return s.chunks[id>>s.shift], int(id & (1<<s.shift - 1))
}

func (s *slab) state(id pager.PageID) uint8 {
	c, i := s.find(id)
	if c == nil {
		return free
	}
	return c.states[i]
}

// page returns the bytes of the chunk's i-th page.
func (s *slab) page(c *chunk, i int) []byte {
	return c.data[i*s.pageBytes : (i+1)*s.pageBytes : (i+1)*s.pageBytes]
}

// grow makes the chunk of a page if it is missing.
func (s *slab) grow(id pager.PageID) error {
	if s.chunks[id>>s.shift] != nil {
		return nil
	}
	n := 1 << s.shift
	c := &chunk{states: make([]uint8, n), gens: make([]uint64, n)}
	if size := n * s.pageBytes; size >= chunkBytes/4 {
		// The garbage collector does not count it: a cache of gigabytes on the
		// heap would let as much garbage pile up.
		data, err := anon.Map(size)
		if err != nil {
			return fmt.Errorf("synthetic: pages: %w", err)
		}
		c.data, c.mapped = data, true
	} else {
		c.data = make([]byte, size)
	}
	s.chunks[id>>s.shift] = c
	return nil
}

func (s *slab) free() error {
	var errs []error
	for _, c := range s.chunks {
		if c != nil && c.mapped {
			errs = append(errs, anon.Unmap(c.data))
		}
	}
	s.chunks = nil
	return errors.Join(errs...)
}
