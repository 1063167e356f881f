package pagecache

import (
	"context"
	"fmt"
)

// GetOrFill returns the frame of a page, with a reference that the caller must
// release. A page that is there may have another length than n. One that is not
// is made of n bytes by fill, which gets the memory with any content and writes
// all of it; it must not ask for the same key. Of many who ask at once one fills
// and the others wait, each for as long as its own context allows. What fails,
// or panics, publishes nothing: the error goes to the one whose fill it was, and
// the next one tries.
//
// Getting a page that is there allocates nothing here, but a closure that is
// made for the call may; where that matters, call Get first.
func (p *Pool[K]) GetOrFill(ctx context.Context, key K, n int, how Room, fill func(ctx context.Context, mem []byte) error) (*Frame, error) {
	if f, ok := p.Get(key); ok {
		return f, nil
	}
	r, f, err := p.reserve(ctx, key, n, how, true)
	if r == nil {
		return f, err
	}
	defer r.Abandon()
	if err := fill(ctx, r.page.mem); err != nil {
		p.failedFills.Add(1)
		return nil, fmt.Errorf("pagecache: fill: %w", err)
	}
	p.fills.Add(1)
	return r.Publish()
}

// Insert publishes a copy of data and returns its frame, with a reference that
// the caller must release. A page that is there, or that somebody else provides
// just now, is ErrExists, as with Reserve.
func (p *Pool[K]) Insert(ctx context.Context, key K, data []byte, how Room) (*Frame, error) {
	r, err := p.Reserve(ctx, key, len(data), how)
	if err != nil {
		return nil, err
	}
	copy(r.page.mem, data)
	return r.Publish()
}
