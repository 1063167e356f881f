package mem

import (
	"context"
	"sync"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// views are reused, because a restore takes one for every part of a page.
type viewPool struct{ pool sync.Pool }

func (p *viewPool) get() *view {
	if v, ok := p.pool.Get().(*view); ok {
		return v
	}
	return new(view)
}

// view holds a record, whose room is therefore not used again.
type view struct {
	store *Store
	shard *shard
	index uint32
	bytes []byte
}

var _ cas.View = (*view)(nil)

// View implements cas.Viewer.
func (s *Store) View(ctx context.Context, d digest.Digest) (cas.View, error) {
	if err := s.check(ctx, "view", d); err != nil {
		return nil, err
	}
	sh := s.shard(d)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed { // see Get
		return nil, closedErr("view")
	}
	i, ok := sh.index[d]
	if !ok {
		return nil, notFound("view", d)
	}
	sh.recs[i].views++
	s.refs.Add(1)
	v := s.views.get()
	*v = view{store: s, shard: sh, index: i, bytes: s.arena.bytes(sh.recs[i].room)}
	return v, nil
}

// Bytes implements cas.View.
func (v *view) Bytes() []byte { return v.bytes }

// Release implements cas.View.
func (v *view) Release() {
	s, sh, i := v.store, v.shard, v.index
	if s == nil {
		panic("mem: a view was released twice")
	}
	*v = view{}
	sh.mu.Lock()
	sh.recs[i].views--
	s.reclaimLocked(sh, i)
	sh.mu.Unlock()
	s.views.pool.Put(v)
	s.unref()
}
