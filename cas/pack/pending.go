package pack

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/digest"
)

// The states of a pending blob.
const (
	writing = iota // its bytes are being copied
	ready
	broken // the write of its pack failed, or the put did
)

// pendingBlob was put and is not in the log yet.
type pendingBlob struct {
	d       digest.Digest
	at      packfile.Spot
	state   uint8
	written uint32 // when, in Unix seconds
	age     uint8  // of the cache when it was put
	replace bool   // a damaged one of the same digest
	first   *session
	others  []*session
}

// heldBy reports whether the session put or found the blob.
func (b *pendingBlob) heldBy(x *session) bool { return b.first == x || slices.Contains(b.others, x) }

func (b *pendingBlob) hold(x *session) {
	switch {
	case b.heldBy(x):
	case b.first == nil:
		b.first = x
	default:
		b.others = append(b.others, x)
	}
}

func (b *pendingBlob) release(x *session) {
	b.others = slices.DeleteFunc(b.others, func(o *session) bool { return o == x })
	if b.first == x {
		b.first = nil
		if n := len(b.others); n > 0 {
			b.first, b.others = b.others[n-1], b.others[:n-1]
		}
	}
}

// pendingSet finds blobs by digest in a list that keeps their order.
type pendingSet struct {
	index map[digest.Digest]int32
	list  []pendingBlob
}

func newPendingSet() *pendingSet { return &pendingSet{index: map[digest.Digest]int32{}} }

func (s *pendingSet) get(d digest.Digest) *pendingBlob {
	if i, ok := s.index[d]; ok {
		return &s.list[i]
	}
	return nil
}

func (s *pendingSet) add(b pendingBlob) {
	s.index[b.d] = int32(len(s.list))
	s.list = append(s.list, b)
}

func (s *pendingSet) clear() {
	clear(s.index)
	clear(s.list)
	s.list = s.list[:0]
}

// pending holds the blobs of one class that were put and are not in the log
// yet: those that the committer is writing there, and those that came since.
type pending struct {
	count atomic.Int64
	bytes atomic.Int64 // of records, from the reservation of their room on

	mu      sync.Mutex
	changed sync.Cond // a blob is no longer being written
	now     *pendingSet
	leaving *pendingSet
}

func (p *pending) init() {
	p.changed.L = &p.mu
	p.now, p.leaving = newPendingSet(), newPendingSet()
}

// getLocked returns the blob d, unless it is lost. One that is leaving and that
// nobody held may have been left out of the log, so it counts as lost.
func (p *pending) getLocked(d digest.Digest) *pendingBlob {
	b := p.now.get(d)
	if b == nil {
		if b = p.leaving.get(d); b != nil && b.first == nil {
			return nil
		}
	}
	if b == nil || b.state == broken {
		return nil
	}
	return b
}

// spot returns where the blob d is and when it was put, if its bytes are
// complete.
func (p *pending) spot(d digest.Digest) (packfile.Spot, uint32, bool) {
	if p.count.Load() == 0 {
		return packfile.Spot{}, 0, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.getLocked(d)
	if b == nil || b.state != ready || b.first == nil {
		return packfile.Spot{}, 0, false
	}
	return b.at, b.written, true
}

// touch notes that a blob of the cache was used.
func (p *pending) touch(d digest.Digest, age uint8) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := p.getLocked(d); b != nil {
		b.age = age
	}
}

// find holds the blob d for the session if it is there, also if another
// goroutine is about to finish it.
func (p *pending) find(ctx context.Context, d digest.Digest, x *session) (bool, error) {
	if p.count.Load() == 0 {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.findLocked(ctx, d, x)
}

func (p *pending) findLocked(ctx context.Context, d digest.Digest, x *session) (bool, error) {
	for {
		b := p.getLocked(d)
		if b == nil {
			return false, nil
		}
		if b.state == ready {
			b.hold(x)
			return true, nil
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		p.changed.Wait()
	}
}

// claim makes the caller the one that writes b, unless that is pending already:
// then b's session holds it.
func (p *pending) claim(ctx context.Context, b pendingBlob) (mine bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	found, err := p.findLocked(ctx, b.d, b.first)
	if found || err != nil {
		return false, err
	}
	p.now.add(b)
	p.count.Add(1)
	return true, nil
}

// offer is claim for those who can do without: it waits for nobody, also not for
// one who writes the blob just now, and may wait for the caller.
func (p *pending) offer(b pendingBlob) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if there := p.getLocked(b.d); there != nil {
		there.hold(b.first)
		return false
	}
	p.now.add(b)
	p.count.Add(1)
	return true
}

// finish ends a claim.
func (p *pending) finish(d digest.Digest, at packfile.Spot, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	if b := p.now.get(d); b != nil && b.state == writing { // it moves with the set while it is written
		b.at, b.state = at, ready
		if !ok {
			b.at, b.state = packfile.Spot{}, broken
			delete(p.now.index, d)
		}
	}
}

// take moves what is complete to the set that is leaving. The set before must
// have been dismissed.
func (p *pending) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now, p.leaving = p.leaving, p.now
	for i := range p.leaving.list {
		if b := &p.leaving.list[i]; b.state == writing {
			delete(p.leaving.index, b.d)
			p.now.add(*b)
			b.state = broken
		}
	}
	p.count.Store(int64(len(p.leaving.list) + len(p.now.list)))
}

// batch appends the leaving blobs that somebody holds to dst, in the order in
// which they lie.
func (p *pending) batch(dst []pendingBlob) []pendingBlob {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.leaving.list {
		if b := &p.leaving.list[i]; b.state == ready && b.first != nil {
			dst = append(dst, *b)
		}
	}
	slices.SortFunc(dst, func(a, b pendingBlob) int {
		return cmp.Or(cmp.Compare(a.at.Pack, b.at.Pack), cmp.Compare(a.at.Off, b.at.Off))
	})
	return dst
}

// dismiss forgets the set that is leaving: its blobs are in the log, or lost.
// It appends the places that they had to dst.
func (p *pending) dismiss(dst []packfile.Spot) []packfile.Spot {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.leaving.list {
		if at := p.leaving.list[i].at; at.Bytes > 0 {
			p.bytes.Add(-at.Bytes)
			dst = append(dst, at)
		}
	}
	p.leaving.clear()
	p.count.Store(int64(len(p.now.list)))
	return dst
}

// giveBack puts the blobs of the leaving set that are still sound back, for
// the next attempt to write them to the log. It appends the places of the
// others to dst.
func (p *pending) giveBack(dst []packfile.Spot) []packfile.Spot {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.leaving.list {
		b := &p.leaving.list[i]
		switch {
		case b.state == ready && p.now.get(b.d) == nil:
			p.now.add(*b)
		case b.at.Bytes > 0:
			p.bytes.Add(-b.at.Bytes)
			dst = append(dst, b.at)
		}
	}
	p.leaving.clear()
	p.count.Store(int64(len(p.now.list)))
	return dst
}

// lose marks what lies in the pack from off on as lost and returns the
// sessions that held any of it.
func (p *pending) lose(pack uint64, off int64) []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.changed.Broadcast()
	var hurt []*session
	for _, s := range []*pendingSet{p.now, p.leaving} {
		for i := range s.list {
			b := &s.list[i]
			if b.state != ready || b.at.Pack != pack || b.at.Off < off {
				continue
			}
			b.state = broken
			delete(s.index, b.d)
			if b.first != nil {
				hurt = append(append(hurt, b.first), b.others...)
			}
		}
	}
	slices.SortFunc(hurt, func(a, b *session) int { return int(a.number) - int(b.number) })
	return slices.Compact(hurt)
}

// cull marks the leaving blobs as lost that check does not vouch for and returns
// the sessions that held any of them, with the reason.
func (p *pending) cull(check func(packfile.Spot) error) map[*session]error {
	p.mu.Lock()
	defer p.mu.Unlock()
	hurt := map[*session]error{}
	for i := range p.leaving.list {
		b := &p.leaving.list[i]
		if b.state != ready {
			continue
		}
		err := check(b.at)
		if err == nil {
			continue
		}
		b.state = broken
		delete(p.leaving.index, b.d)
		if b.first != nil {
			hurt[b.first] = err
		}
		for _, x := range b.others {
			hurt[x] = err
		}
	}
	return hurt
}

// forget releases what the session held.
func (p *pending) forget(x *session) {
	if p.count.Load() == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range []*pendingSet{p.now, p.leaving} {
		for i := range s.list {
			s.list[i].release(x)
		}
	}
}

// each visits the complete blobs that somebody holds.
func (p *pending) each(visit func(d digest.Digest, bytes int64)) {
	p.mu.Lock()
	list := slices.Concat(p.now.list, p.leaving.list)
	p.mu.Unlock()
	for i := range list {
		if list[i].state == ready && list[i].first != nil {
			visit(list[i].d, list[i].at.Bytes)
		}
	}
}
