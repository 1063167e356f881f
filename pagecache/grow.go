package pagecache

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// growClass adds a slab to c, whose grow mutex is held, and returns a buffer of
// it. When the limit or the allocator has no room for a slab of the wanted
// length it tries without the empty slabs of other sizes, then with one slot
// alone.
func (a *Arena) growClass(c *class, n int) (Buffer, error) {
	slots := a.reserve(c.size, c.wantedSlots())
	if slots == 0 {
		if err := a.Trim(); err != nil {
			return Buffer{}, err
		}
		slots = a.reserve(c.size, c.wantedSlots())
	}
	if slots == 0 {
		return Buffer{}, fmt.Errorf("pagecache: %d of %d bytes are taken, no room for %d more: %w",
			a.held.Load(), a.limit.Load(), c.size, kvferry.ErrOutOfMemory)
	}
	b, err := a.makeSlab(c, slots, n)
	if err == nil || slots == 1 {
		return b, err
	}
	if terr := a.Trim(); terr != nil {
		return Buffer{}, errors.Join(err, terr)
	}
	if a.reserve(c.size, 1) == 0 {
		return Buffer{}, err
	}
	return a.makeSlab(c, 1, n)
}

// reserve takes room for up to the wanted number of slots off the limit and
// returns for how many there was room.
func (a *Arena) reserve(size, slots int64) int64 {
	for {
		held := a.held.Load()
		n := min(slots, (a.limit.Load()-held)/size)
		if n <= 0 {
			return 0
		}
		if a.held.CompareAndSwap(held, held+n*size) {
			return n
		}
	}
}

// makeSlab makes a slab for which room is reserved, and takes a buffer of n
// bytes from it.
func (a *Arena) makeSlab(c *class, slots int64, n int) (Buffer, error) {
	want := slots*c.size + tailBytes
	mem, err := a.alloc.Allocate(int(want))
	if err == nil && int64(len(mem)) != want {
		err = errors.Join(fmt.Errorf("pagecache: the allocator gave %d bytes of %d", len(mem), want), a.alloc.Free(mem))
	}
	if err != nil {
		a.held.Add(-slots * c.size)
		if errors.Is(err, kvferry.ErrOutOfMemory) {
			return Buffer{}, err
		}
		return Buffer{}, fmt.Errorf("pagecache: allocate a slab: %w: %w", kvferry.ErrOutOfMemory, err)
	}
	a.mapped.Add(want)
	a.allocs.Add(1)
	return c.add(newSlab(c, mem, slots), n), nil
}

// release gives a slab back that is out of its class's hands. It counts until
// it is free, and for good if it cannot be freed.
func (a *Arena) release(s *slab) error {
	if err := a.alloc.Free(s.mem); err != nil {
		return fmt.Errorf("pagecache: free a slab of %d bytes: %w", len(s.mem), err)
	}
	a.held.Add(-s.slots64() * s.class.size)
	a.mapped.Add(-int64(len(s.mem)))
	a.frees.Add(1)
	return nil
}

// sparse returns up to n slabs of other sizes with few bytes in use, fewest
// first. Slabs that are full are not among them.
func (a *Arena) sparse(size int64, n int) []*slab {
	type found struct {
		slab *slab
		used int64
	}
	var all []found
	for i := range a.classes {
		c := a.classes[i].Load()
		if c == nil || c.size == size {
			continue
		}
		c.mu.Lock()
		for s := c.free; s != nil; s = s.next {
			all = append(all, found{s, int64(s.used) * c.size})
			if s.next == c.free {
				break
			}
		}
		c.mu.Unlock()
	}
	slices.SortFunc(all, func(x, y found) int { return cmp.Compare(x.used, y.used) })
	var slabs []*slab
	for _, f := range all[:min(n, len(all))] {
		slabs = append(slabs, f.slab)
	}
	return slabs
}
