package pagecache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
)

// Room says what to do when the limit leaves no room and nothing can be
// evicted, because every frame is referenced.
type Room uint8

const (
	// Wait waits until frames are released. Who waits while holding frames
	// that others wait for needs a context that ends.
	Wait Room = iota
	// Refuse returns ErrOutOfMemory. By then everything that could be evicted
	// was; memory that others are just freeing is not waited for.
	Refuse
)

// room lets goroutines wait for a release.
type room struct {
	waiting atomic.Int32
	// trying is how many have taken room off the limit and not yet memory, and
	// failed how often that was given back, which wakes nobody.
	trying atomic.Int32
	failed atomic.Uint64

	mu      sync.Mutex
	changed chan struct{} // closed by the next signal
}

// enter begins the waiting; what is signalled from now on closes the channel.
func (r *room) enter() <-chan struct{} {
	r.waiting.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	return r.changed
}

func (r *room) leave() { r.waiting.Add(-1) }

// signal tells everybody who waits to look again. They are few, and each has
// to look for itself, because frames have many sizes.
func (r *room) signal() {
	if r.waiting.Load() == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}

// While releases wait for events, who waits for room asks these, at intervals
// from one of these bounds to the other: nobody else may do it.
const (
	minPoll = 20 * time.Microsecond
	maxPoll = 2 * time.Millisecond
)

// obtain takes memory for a page off the limit.
func (p *Pool[K]) obtain(ctx context.Context, s *shard[K], n int, how Room) (Buffer, int64, error) {
	size := RoundedBytes(n)
	b, err := p.tryObtain(s, n, size)
	if err == nil || how == Refuse || errors.Is(err, errNever) {
		return b, size, p.refusal(err)
	}
	p.waits.Add(1)
	for poll := minPoll; ; poll = min(2*poll, maxPoll) {
		b, ended, err := p.attempt(ctx, s, n, size, poll)
		if ended {
			return b, size, err
		}
	}
}

// attempt tries once, and waits for a change if there is no room. It tells
// whether that was the end.
func (p *Pool[K]) attempt(ctx context.Context, s *shard[K], n int, size int64, poll time.Duration) (b Buffer, ended bool, err error) {
	changed := p.room.enter()
	defer p.room.leave()
	failed := p.room.failed.Load()
	if b, err = p.tryObtain(s, n, size); err == nil || errors.Is(err, errNever) {
		return b, true, p.refusal(err)
	}
	// Room that somebody holds who finds no memory comes back silently: he would
	// wake himself.
	soon := false
	if errors.Is(err, errFull) {
		soon = p.room.trying.Load() > 0
		if p.room.failed.Load() != failed {
			return Buffer{}, false, nil
		}
	}
	if err = p.await(ctx, changed, poll, soon); err != nil {
		return Buffer{}, true, err
	}
	return Buffer{}, false, nil
}

// errFull marks a refusal by the limit.
var errFull = errors.New("the limit is reached")

// errNever marks what no release will change.
var errNever = errors.New("nothing that can be released would help")

func (p *Pool[K]) refusal(err error) error {
	if err != nil {
		p.refused.Add(1)
	}
	return err
}

func (p *Pool[K]) await(ctx context.Context, changed <-chan struct{}, poll time.Duration, soon bool) error {
	var tick <-chan time.Time
	if soon || p.events.pending.Load() > 0 {
		timer := time.NewTimer(poll)
		defer timer.Stop()
		tick = timer.C
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("pagecache: wait for room: %w", context.Cause(ctx))
	case <-p.closed:
		return fmt.Errorf("pagecache: wait for room: %w", kvferry.ErrClosed)
	case <-changed:
	case <-tick:
	}
	return nil
}

// tryObtain evicts until there is room.
func (p *Pool[K]) tryObtain(s *shard[K], n int, size int64) (Buffer, error) {
	for {
		switch used, limit := p.used.Load(), p.limit.Load(); {
		case size > limit:
			return Buffer{}, fmt.Errorf("pagecache: a page of %d bytes in a pool of %d: %w (%w)", n, limit, kvferry.ErrQuota, errNever)
		case used+size > limit:
			if !p.makeRoom(s) {
				return Buffer{}, fmt.Errorf("pagecache: %d of %d bytes are in use, no room for %d more: %w (%w)",
					used, limit, size, kvferry.ErrOutOfMemory, errFull)
			}
		default:
			p.room.trying.Add(1)
			if p.used.CompareAndSwap(used, used+size) {
				return p.allocate(s, n, size)
			}
			p.room.trying.Add(-1)
		}
	}
}

// allocate takes memory for which there is room by the limit. The arena may
// have none: it holds slabs of another size, or is shared. Evicting whatever
// is next would empty slabs only after most pages were gone, so it begins with
// the pages of the slab that is nearly empty anyway.
func (p *Pool[K]) allocate(s *shard[K], n int, size int64) (b Buffer, err error) {
	defer func() {
		defer p.room.trying.Add(-1)
		if b.slab != nil {
			p.pages.Add(1)
			return
		}
		left := p.used.Add(-size)
		p.room.failed.Add(1)
		switch {
		case err == nil: // a panic of OnEvict
		case left > 0:
			return // whoever has the rest will signal; who fails would wake himself
		default:
			err = fmt.Errorf("%w (%w)", err, errNever) // the arena's room is not in our hands
		}
		p.room.signal()
	}()
	for {
		if b, err = p.arena.Alloc(n); err == nil || !p.clearSlab(size) && !p.makeRoom(s) {
			return b, err
		}
	}
}

// makeRoom evicts one page or releases those whose events have happened, and
// tells whether it did.
func (p *Pool[K]) makeRoom(s *shard[K]) bool {
	return p.evictOne(s) || p.events.all() > 0
}

// discard frees the memory of a page that nobody can reach any more.
func (p *Pool[K]) discard(g *page[K]) {
	if err := p.arena.Free(g.buf); err != nil {
		p.keep(err)
	}
	p.pages.Add(-1)
	p.used.Add(-g.size)
	p.room.signal()
}

// keep remembers the first error of the allocator for Close.
func (p *Pool[K]) keep(err error) { p.freeErr.CompareAndSwap(nil, &err) }
