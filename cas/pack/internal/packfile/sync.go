package packfile

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// round is one synchronisation and those who wait for it.
type round struct {
	done chan struct{}
	err  error
}

// cut is what had been appended at some moment.
type cut struct {
	seq   uint64
	packs []mark
}

// mark says up to where a pack is to be durable.
type mark struct {
	p    *pack
	upto int64
}

// Flush writes everything that was appended before, without making it durable.
// The next record begins at a fresh block. Its errors are those of Sync.
func (l *Lane) Flush(ctx context.Context) error {
	c, err := l.cut(ctx)
	if err == nil {
		err = l.await(ctx, func() bool { return l.writtenLocked(c.seq, nil) && c.settled() })
	}
	if err != nil {
		return fmt.Errorf("packfile: flush: %w", err)
	}
	return errors.Join(l.takeNews()...)
}

// SyncLater begins to write everything that was appended before, and returns
// what waits for that and makes it durable, with the errors of Sync. The next
// record begins at a fresh block. What it returns is called before Close, at
// most once.
func (l *Lane) SyncLater(ctx context.Context) (sync func(context.Context) error, err error) {
	if err := l.enter(ctx); err != nil {
		return nil, fmt.Errorf("packfile: sync: %w", err)
	}
	b, c := l.cutHeld()
	l.leave()
	if b != nil {
		l.jobs.Go(func() { l.write(b) })
	}
	return func(ctx context.Context) error { return l.finishCut(ctx, c) }, nil
}

// takeNews returns what went wrong since the last call.
func (l *Lane) takeNews() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.news
	l.news = nil
	return news
}

// Sync makes everything durable that was appended before. The next record begins
// at a fresh block. Calls at the same time share the work.
//
// When it returns nil or an error that is ErrPoisoned, each of those records is
// either durable or Check tells that it is lost. A poisoned pack is an error of
// the first Sync or Flush that ends after it, for all who share it, and of no
// later one: who shares it with others, or learns of a place only after Lost was
// told, asks Check before relying on it. After an error that is ctx's nothing is
// known.
func (l *Lane) Sync(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return fmt.Errorf("packfile: sync: %w", kvferry.ErrClosed)
	}
	r := l.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		l.next = r
	}
	if !l.syncing {
		l.syncing = true
		l.jobs.Go(l.rounds)
	}
	l.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("packfile: sync: %w", ctx.Err())
	}
}

// rounds runs synchronisations until nobody waits for one.
func (l *Lane) rounds() {
	for {
		l.mu.Lock()
		r := l.next
		l.next = nil
		if r == nil {
			l.syncing = false
			l.signalLocked()
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		r.err = l.syncRound(context.Background()) // it serves several callers, so it is nobody's to cancel
		close(r.done)
	}
}

func (l *Lane) syncRound(ctx context.Context) error {
	c, err := l.cut(ctx)
	if err != nil {
		return errors.Join(append(l.takeNews(), err)...)
	}
	return l.finishCut(ctx, c)
}

// finishCut waits until all is written and makes it durable.
func (l *Lane) finishCut(ctx context.Context, c cut) error {
	if err := l.await(ctx, func() bool { return l.writtenLocked(c.seq, nil) }); err != nil {
		return errors.Join(append(l.takeNews(), err)...)
	}
	return l.syncCut(ctx, c)
}

// syncCut makes durable what was written.
func (l *Lane) syncCut(ctx context.Context, c cut) (err error) {
	for _, m := range c.packs {
		if err == nil {
			err = l.syncPack(m.p, m.upto)
		}
	}
	if err == nil {
		err = l.await(ctx, c.settled)
	}
	return errors.Join(append(l.takeNews(), err)...)
}

// cut ends the open buffer, which it writes, and tells what there is to write. A
// lane that is closed has nothing.
func (l *Lane) cut(ctx context.Context) (c cut, err error) {
	if err := l.enter(ctx); err != nil {
		return c, err
	}
	b, c := l.cutHeld()
	l.leave()
	if b != nil {
		l.write(b) // whoever asked waits for it
	}
	return c, nil
}

// cutHeld is cut for who holds the turn. The buffer that it returns, or nil, is
// to be written.
func (l *Lane) cutHeld() (b *buffer, c cut) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b = l.endBufferLocked()
	c.seq = l.seq
	for _, p := range l.leaving {
		c.packs = append(c.packs, mark{p, p.end})
	}
	if l.active != nil {
		c.packs = append(c.packs, mark{l.active, l.active.end})
	}
	return b, c
}

// settled tells whether whoever has to hear of lost packs has heard.
func (c *cut) settled() bool {
	for _, m := range c.packs {
		if !m.p.settled() {
			return false
		}
	}
	return true
}

// syncPack makes the pack durable up to an offset below which everything is
// written. That the pack is poisoned is no error here.
func (l *Lane) syncPack(p *pack, upto int64) error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	l.syncHeld(p, upto)
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.synced < upto && p.err == nil {
		return fmt.Errorf("packfile: sync pack %016x, given up: %w", p.id, kvferry.ErrClosed)
	}
	return nil
}

// syncHeld is syncPack for who holds p.syncing.
func (l *Lane) syncHeld(p *pack, upto int64) {
	l.mu.Lock()
	skip := p.err != nil || p.partial || p.gone || p.synced >= upto
	l.mu.Unlock()
	if skip {
		return
	}
	if !p.entered {
		if err := l.o.FS.SyncDir(Dir); err != nil {
			l.poison(p, "make the name durable of", err)
			return
		}
		p.entered = true
	}
	if err := p.file.Sync(); err != nil {
		l.poison(p, "sync", err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.err == nil && !p.partial {
		p.synced = upto
	}
}

// Active returns the pack that receives the next record, as far as it is known,
// and where its records end now.
func (l *Lane) Active() (id uint64, end int64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.active
	if p == nil || p.err != nil {
		return 0, 0, false
	}
	if l.open != nil {
		return p.id, l.open.end(), true
	}
	return p.id, max(p.end, firstOff), true
}

// Seal makes the active pack durable, cuts it to its length and closes it; the
// next Append begins a new one. A pack without a record is removed.
func (l *Lane) Seal(ctx context.Context) error {
	if err := l.enter(ctx); err != nil {
		return fmt.Errorf("packfile: seal: %w", err)
	}
	p := l.rollOver(true)
	l.leave()
	if p == nil {
		return nil
	}
	if err := l.await(ctx, func() bool { return p.gone }); err != nil {
		return fmt.Errorf("packfile: seal: %w", err)
	}
	return p.err
}

// LeavePoisoned lets go of the active pack if a write of it failed, which else
// the next Append does.
func (l *Lane) LeavePoisoned(ctx context.Context) error {
	if err := l.enter(ctx); err != nil {
		return fmt.Errorf("packfile: leave a poisoned pack: %w", err)
	}
	defer l.leave()
	l.mu.Lock()
	poisoned := l.active != nil && l.active.err != nil
	l.mu.Unlock()
	if poisoned {
		l.rollOver(true)
	}
	return nil
}

// AwaitClosing waits until the packs that are full by now are closed.
func (l *Lane) AwaitClosing(ctx context.Context) error {
	l.mu.Lock()
	leaving := slices.Clone(l.leaving)
	l.mu.Unlock()
	err := l.await(ctx, func() bool {
		return !slices.ContainsFunc(leaving, func(p *pack) bool { return !p.gone })
	})
	if err != nil {
		return fmt.Errorf("packfile: wait for full packs: %w", err)
	}
	return nil
}

// Close writes what was appended, cuts the active pack to its length, closes it
// and ends the lane; it makes nothing durable. If ctx ends, what was not being
// written yet is given up. Whoever waits in Append gets ErrClosed; a Sync that
// was begun is completed. What went wrong is told once: here, if no Sync has.
func (l *Lane) Close(ctx context.Context) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	stop := context.AfterFunc(ctx, l.drop)
	_ = l.await(context.Background(), func() bool { return !l.syncing })
	_ = l.enter(context.Background())
	l.rollOver(false)
	l.leave()
	l.jobs.Wait()
	stop()
	kept := l.closeKept()
	for range l.o.Buffers {
		(<-l.free).free()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	err := errors.Join(append(append(l.news, l.odd...), kept)...)
	if l.gaveUp {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("packfile: close: %w", err)
	}
	return nil
}

// drop gives up what is not being written yet.
func (l *Lane) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropped = true
}
