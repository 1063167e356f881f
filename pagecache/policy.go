package pagecache

// The queues that a page can be in.
const (
	nowhere  = iota // dead, or not published
	inSmall         // on probation: evicted if it is not used again
	inMain          // has been used more than once
	asideS          // referenced when its turn came; belongs to the small queue
	asideM          // likewise to the main queue
	maxUses  = 3    // uses that count: more would only delay the eviction
	smallPer = 10   // the small queue is evicted from while it has more than 1/10 of the bytes
)

// queue is a FIFO of pages.
type queue[K comparable] struct {
	head, tail *page[K]
	bytes      int64
	len        int
}

func (q *queue[K]) push(p *page[K]) {
	p.prev, p.next = nil, q.head
	if q.head != nil {
		q.head.prev = p
	} else {
		q.tail = p
	}
	q.head = p
	q.bytes += p.size
	q.len++
}

func (q *queue[K]) remove(p *page[K]) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		q.head = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		q.tail = p.prev
	}
	p.prev, p.next = nil, nil
	q.bytes -= p.size
	q.len--
}

// policy decides what is evicted: S3-FIFO. New pages go through a small queue,
// so that a scan pushes out nothing but itself; what is used there again, or
// comes back soon after its eviction, gets into the main queue, where each use
// buys another round. A hit only counts in the frame's own word: there is no
// list to reorder. Pages that are referenced when their turn comes are put
// aside until their last release, so that nothing is looked at twice in vain.
//
// It was chosen by the traces in bench/peers/caches: of the pages asked for it
// has more than LRU, 2Q and W-TinyLFU by Zipf distributions with and without
// scans. A fifth of the bytes for the small queue instead of a tenth loses 0.6
// points of 76 there, a twentieth gains 0.2. Where all reuse is recent, LRU is
// better (63 against 55), and a fifth would gain 4 points.
type policy[K comparable] struct {
	small, main queue[K]
	ghost       ghost
}

// add takes in a new page.
func (o *policy[K]) add(p *page[K]) {
	p.seen = uses(p.state.Load())
	p.uses = 0
	if o.ghost.take(p.node.hash) {
		o.enter(p, inMain)
		return
	}
	o.enter(p, inSmall)
}

func (o *policy[K]) enter(p *page[K], where uint8) {
	p.where = where
	if where == inSmall {
		o.small.push(p)
	} else {
		o.main.push(p)
	}
}

// leave takes a page out of whatever queue it is in.
func (o *policy[K]) leave(p *page[K]) {
	switch p.where {
	case inSmall:
		o.small.remove(p)
	case inMain:
		o.main.remove(p)
	}
	p.where = nowhere
}

// back puts a page that was aside into its queue again.
func (o *policy[K]) back(p *page[K]) {
	if p.where == asideS {
		o.enter(p, inSmall)
	} else {
		o.enter(p, inMain)
	}
}

// victim makes a page without references dead and the caller's, and returns it
// with the state in which it died; nil means that there is none.
func (o *policy[K]) victim(live int) (*page[K], uint64) {
	for {
		fromSmall := o.small.len > 0 && (o.main.len == 0 || o.small.bytes*smallPer >= o.small.bytes+o.main.bytes)
		p := o.main.tail
		if fromSmall {
			p = o.small.tail
		}
		if p == nil {
			return nil, 0
		}
		s := p.state.Load()
		switch {
		case s&refMask != 0:
			o.setAside(p, s)
		case p.usedSince(s):
			o.promote(p)
		case p.state.CompareAndSwap(s, (s|dead)+1):
			if fromSmall {
				o.ghost.add(p.node.hash, live)
			}
			return p, s
		}
	}
}

func (o *policy[K]) setAside(p *page[K], s uint64) {
	if !p.state.CompareAndSwap(s, s|parked) {
		return // released, or referenced once more: look again
	}
	aside := uint8(asideM)
	if p.where == inSmall {
		aside = asideS
	}
	o.leave(p)
	p.where = aside
}

func (o *policy[K]) promote(p *page[K]) {
	if p.where == inMain {
		p.uses--
	} else {
		p.uses = 0
	}
	o.leave(p)
	o.enter(p, inMain)
}

// uses is the count of hits without the bit that is carried over.
func uses(state uint64) uint32 { return uint32(hits(state)) & (1<<31 - 1) }

// usedSince brings the page's uses up to date and tells whether they keep it.
func (p *page[K]) usedSince(s uint64) bool {
	now := uses(s)
	p.uses = uint8(min(maxUses, uint32(p.uses)+min(maxUses, (now-p.seen)&(1<<31-1))))
	p.seen = now
	if p.where == inSmall {
		return p.uses >= smallUses
	}
	return p.uses > 0
}

// smallUses is how often a page on probation must have been used to stay.
const smallUses = 1
