package capture

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/staging"
)

// work copies and stores batches until there is nothing left to do.
func (l *line) work(ctx context.Context) error {
	h, err := digest.NewHasher(l.c.opts.algorithm(), l.c.opts.Key)
	if err != nil {
		return err
	}
	sums := &sums{hasher: h}
	wait := l.c.opts.patience(ctx)
	defer wait.stop()
	var moved tally
	defer func() {
		l.mu.Lock()
		l.moved.merge(moved)
		l.mu.Unlock()
	}()
	for {
		b, ext, ok := l.next()
		if !ok {
			return nil
		}
		if ext != nil {
			if err := l.copyOut(wait, b, ext); err != nil {
				return err
			}
			continue
		}
		if err := l.store(ctx, sums, b, &moved); err != nil {
			return err
		}
	}
}

// next waits for something to do: a batch to copy into ext, or a copied batch
// to store (ext is nil). It reports false when all is done or the line failed.
func (l *line) next() (b batch, ext *staging.Extent, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil {
		if !l.mover && l.span < len(l.spans) {
			if ext = l.ring.TryAcquire(); ext != nil {
				return l.claimLocked(ext.Len()), ext, true
			}
		}
		if n := len(l.ready); n > 0 {
			b = l.ready[n-1]
			l.ready = l.ready[:n-1]
			return b, nil, true
		}
		if l.doneLocked() {
			l.wake.Broadcast()
			return batch{}, nil, false
		}
		l.wake.Wait()
	}
	return batch{}, nil, false
}

// copyOut reads a batch's pages into the frames of ext, which is the batch's
// own from then on.
func (l *line) copyOut(wait *patience, b batch, ext *staging.Extent) error {
	defer ext.Release()
	sp := &l.spans[b.span]
	p := l.c.groups[sp.group].Pager
	size := l.c.snapshot.Groups[sp.group].Meta.PageBytes()
	for i := range b.frames {
		b.frames[i] = ext.Frame(i)
	}
	whole := false
	defer func() { // also on a panic of the pager
		if !whole {
			b.release()
		}
	}()
	err := wait.during(func(ctx context.Context) error {
		for i, f := range b.frames {
			id := sp.ids[b.offset+i]
			if err := p.ReadPage(ctx, id, f.Bytes()[:size]); err != nil {
				return fmt.Errorf("read page %d of group %q: %w", id, l.c.groups[sp.group].Name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	whole = true
	l.push(b)
	return nil
}

// release lets go of the frames of a batch.
func (b batch) release() {
	for _, f := range b.frames {
		f.Release()
	}
}

// store hashes a batch's pages, part by part, and puts them into the session
// while they are in the core's cache. Then the batch's slot is free again.
func (l *line) store(ctx context.Context, sums *sums, b batch, moved *tally) error {
	held := true
	defer func() { // also on a panic of the store
		if held {
			b.release()
		}
	}()
	sp := &l.spans[b.span]
	g := &l.c.snapshot.Groups[sp.group]
	size := g.Meta.PageBytes()
	sums.begin(b.frames, g.Meta.Parts)
	for i, f := range b.frames {
		number := int(sp.numbers[b.offset+i])
		rest := f.Bytes()[:size]
		for p, part := range g.Meta.Parts {
			plain := rest[:part.Bytes]
			rest = rest[part.Bytes:]
			d := sums.next()
			if sp.digests != AtHost && d != g.Table.Digest(number, p) {
				return fmt.Errorf("part %d of page %d arrived as %v, the engine digested it as %v: %w",
					p, sp.ids[b.offset+i], d, g.Table.Digest(number, p), kvferry.ErrCorrupt)
			}
			g.Table.Set(number, p, d)
			l.c.tune.meet(sp.group, p, plain)
			r, err := l.c.session.Put(ctx, d, plain)
			if err != nil {
				return fmt.Errorf("store part %d of page %d: %w", p, sp.ids[b.offset+i], err)
			}
			moved.add(part.Bytes, r)
		}
	}
	n := len(b.frames)
	moved.pages += int64(n)
	b.release()
	held = false
	l.mu.Lock()
	l.slots = append(l.slots, b)
	l.mu.Unlock()
	l.wake.Broadcast()
	l.progress.add(n, int64(n)*int64(size))
	return nil
}
