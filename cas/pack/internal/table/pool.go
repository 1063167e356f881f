package table

import (
	"errors"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/anon"
)

const (
	chunkEntries = 64
	slabBytes    = 2 << 20 // a huge page
	slabChunks   = slabBytes / int(unsafe.Sizeof(chunk{}))
	slabShift    = 10 // of the slab's number in a chunkID
)

// chunk is 40 cache lines of slots, and begins on one.
type chunk [chunkEntries]entry

type slab [slabChunks]chunk

// chunkID is the number of a slab, and 10 bits of a number in the slab.
type chunkID uint32

// slabs are all that a pool has.
type slabs []*slab

func (l slabs) chunk(id chunkID) *chunk { return &l[id>>slabShift][id&(1<<slabShift-1)] }

// pool has the memory of the table. Chunks are of one size, so that each can
// be used again by any shard.
type pool struct {
	mu     sync.Mutex
	maps   [][]byte
	free   chunkID // the first of a chain through word 0 of the free chunks
	frees  int     // how long the chain is
	fresh  int     // chunks never taken yet, the last of the slabs
	closed bool

	all    atomic.Pointer[slabs] // those of a chunk that one knows are in it
	mapped atomic.Int64          // bytes
}

func (p *pool) slabs() slabs { return *p.all.Load() }

// take fills ids with chunks that are all zero.
func (p *pool) take(ids []chunkID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return kvferry.ErrClosed
	}
	if need := len(ids) - p.frees - p.fresh; need > 0 {
		// A sixty-fourth more at a time, so that mappings are not too many.
		if err := p.mapLocked(max(need, len(p.slabs())*slabChunks/64)); err != nil {
			return err
		}
	}
	all := p.slabs()
	for i := range ids {
		if p.frees > 0 {
			ids[i] = p.free
			c := all.chunk(p.free)
			p.free, c[0][0] = chunkID(c[0][0]), 0
			p.frees--
			continue
		}
		n := len(all)*slabChunks - p.fresh
		ids[i] = chunkID(n/slabChunks)<<slabShift | chunkID(n%slabChunks)
		p.fresh--
	}
	return nil
}

// give takes back chunks that nobody uses any more.
func (p *pool) give(ids []chunkID) {
	all := p.slabs()
	for _, id := range ids {
		*all.chunk(id) = chunk{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range ids {
		all.chunk(id)[0][0] = uint64(p.free)
		p.free = id
	}
	p.frees += len(ids)
}

// mapLocked adds slabs with at least so many chunks.
func (p *pool) mapLocked(chunks int) error {
	n := (chunks + slabChunks - 1) / slabChunks
	all := p.slabs()
	if len(all)+n > 1<<(32-slabShift) {
		return errors.Join(kvferry.ErrOutOfMemory, errors.New("table: no more numbers for chunks"))
	}
	mem, err := anon.Map(n * slabBytes)
	if err != nil {
		return err
	}
	p.maps = append(p.maps, mem)
	for i := range n {
		// The kernel and the Go heap align mappings of this length to pages.
		all = append(all, (*slab)(unsafe.Pointer(&mem[i*slabBytes])))
	}
	p.all.Store(&all)
	p.fresh += n * slabChunks
	p.mapped.Add(int64(len(mem)))
	return nil
}

// shut makes every take fail from now on.
func (p *pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
}

// unmap gives all memory back, after shut and when nobody has chunks any more.
func (p *pool) unmap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, mem := range p.maps {
		_ = anon.Unmap(mem) // it is ours and whole, so it cannot fail
	}
	p.maps, p.frees, p.fresh = nil, 0, 0
	p.all.Store(&slabs{})
	p.mapped.Store(0)
}
