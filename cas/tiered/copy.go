package tiered

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// sweepShare of the queue's bound is how much of near may lie there copied and
// rooted in nothing before the store collects near by itself.
const sweepShare = 0.5

// copyQueue copies what is queued until the store is closed.
func (s *Store) copyQueue() {
	pause := s.o.Retry
	for s.ctx.Err() == nil {
		c, more := s.queue.head()
		if c == nil {
			select {
			case <-more:
			case <-s.ctx.Done():
			}
			continue
		}
		err := s.copyHead(s.ctx)
		if err == nil {
			pause = s.o.Retry
			s.sweepIfMuch(s.ctx)
			continue
		}
		timer := time.NewTimer(pause)
		pause = min(2*pause, 64*s.o.Retry)
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			timer.Stop()
		}
	}
}

// Drain copies everything that is queued now, and returns far's error if it
// cannot. In write-through there is nothing to do.
func (s *Store) Drain(ctx context.Context) error {
	if err := s.start(ctx, "drain"); err != nil {
		return err
	}
	defer s.stop()
	return s.drain(ctx)
}

func (s *Store) drain(ctx context.Context) error {
	if s.queue == nil {
		return nil
	}
	for last := s.queue.last(); ; {
		c, _ := s.queue.head()
		if c == nil || c.seq > last {
			return nil
		}
		if err := s.copyHead(ctx); err != nil {
			return fmt.Errorf("tiered: drain: %w", err)
		}
	}
}

// copyHead gives far the first change of the queue.
func (s *Store) copyHead(ctx context.Context) error {
	q := s.queue
	select {
	case <-q.turn:
		defer func() { q.turn <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c, _ := q.head()
	if c == nil {
		return nil
	}
	err := s.applyChange(ctx, c)
	if err != nil && ctx.Err() == nil && s.ctx.Err() == nil {
		q.stand(err)
	}
	return err
}

// applyChange makes far's catalog have c, and the queue not. What another one
// took out of far's catalog meanwhile cannot be changed there any more, and
// need not be.
func (s *Store) applyChange(ctx context.Context, c *change) error {
	q := s.queue
	commit := func() error { return nil }
	if c.kind == changeCommit {
		sess, e, err := s.copySnapshot(ctx, c)
		if err != nil {
			return fmt.Errorf("tiered: copy snapshot %v to far: %w", c.root, err)
		}
		if sess != nil {
			defer func() { _ = sess.Abort(context.WithoutCancel(ctx)) }() // nothing is left after the commit
			commit = func() error { return sess.Commit(ctx, e) }
		} else {
			commit = func() error { return s.nameAgain(ctx, c) }
		}
	}
	q.apply.Lock()
	defer q.apply.Unlock()
	far := s.far.Catalog()
	var err error
	switch c.kind {
	case changeCommit:
		err = commit()
	case changeName:
		err = far.SetName(ctx, c.names[0], c.root)
	case changeRemove:
		err = s.removeName(ctx, c)
	case changeDrop:
		err = far.Drop(ctx, c.root)
	}
	if err != nil && (c.kind == changeCommit || !errors.Is(err, kvferry.ErrNotFound)) {
		return fmt.Errorf("tiered: %s %v %q in far: %w", c.kind, c.root, c.names, err)
	}
	return s.retire(ctx, c)
}

// removeName removes a name in far. A removal that failed half way, or was cut
// off, may have left the snapshot without its last name.
func (s *Store) removeName(ctx context.Context, c *change) error {
	far := s.far.Catalog()
	_, err := far.Remove(ctx, c.names[0])
	if !errors.Is(err, kvferry.ErrNotFound) || !c.root.Valid() {
		return err
	}
	entries, err := far.Entries(ctx)
	for _, e := range entries {
		if e.Root == c.root && len(e.Names) == 0 && err == nil {
			return far.Drop(ctx, c.root)
		}
	}
	return err
}

// retire ends a change that far has: near's catalog first, because a snapshot
// there without a change would be queued again by the next Open.
func (s *Store) retire(ctx context.Context, c *change) error {
	q := s.queue
	if c.kind == changeCommit {
		if err := q.forget(ctx, c.root, c); err != nil {
			return err
		}
	}
	if err := q.files.remove(c); err != nil {
		return err
	}
	q.pop(c)
	q.clean.Add(c.bytes)
	return nil
}

// nameAgain sets the names of a snapshot that far has already, or that is not
// to be copied.
func (s *Store) nameAgain(ctx context.Context, c *change) error {
	for _, name := range c.names {
		if err := s.far.Catalog().SetName(ctx, name, c.root); err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return err
		}
	}
	return nil
}

// copySnapshot copies what far does not have of the snapshot and returns the
// session that holds it all, and the entry to commit. The session is nil if
// there is nothing to copy.
func (s *Store) copySnapshot(ctx context.Context, c *change) (sess cas.Session, e cas.Entry, err error) {
	e, there, err := s.nearEntry(ctx, c.root)
	if err != nil || !there { // not there: far had it when a process ended
		return nil, e, err
	}
	if needless, err := s.needless(ctx, c); err != nil || needless {
		return nil, e, err
	}
	e.Names = c.names
	if sess, err = s.far.Begin(ctx, cas.SessionOptions{Owner: "copy from near", Hint: s.lastHint()}); err != nil {
		return nil, e, err
	}
	if err = s.copyBlobs(ctx, sess, e); err == nil {
		err = sess.Flush(ctx)
	}
	if err != nil {
		return nil, e, errors.Join(err, sess.Abort(context.WithoutCancel(ctx)))
	}
	return sess, e, nil
}

// nearEntry returns the snapshot in near's catalog.
func (s *Store) nearEntry(ctx context.Context, root digest.Digest) (cas.Entry, bool, error) {
	entries, err := s.near.Catalog().Entries(ctx)
	for _, e := range entries {
		if e.Root == root {
			return e, true, nil
		}
	}
	return cas.Entry{}, false, err
}

// needless reports whether the snapshot need not be copied, because it is
// dropped later in the queue and takes no name from another one in far, which
// would keep it: neither with its commit nor by a name that it is given before.
func (s *Store) needless(ctx context.Context, c *change) (bool, error) {
	if !s.queue.later(c, changeDrop) || s.queue.later(c, changeName) {
		return false, nil
	}
	for _, name := range c.names {
		e, err := s.far.Catalog().Lookup(ctx, name)
		if err != nil && !errors.Is(err, kvferry.ErrNotFound) {
			return false, err
		}
		if err == nil && e.Root != c.root {
			return false, nil
		}
	}
	return true, nil
}

// copyBlobs copies what the snapshot needs, its image and root last.
func (s *Store) copyBlobs(ctx context.Context, sess cas.Session, e cas.Entry) error {
	last := slices.DeleteFunc([]digest.Digest{e.Image, e.Root}, func(d digest.Digest) bool { return !d.Valid() })
	seen := map[digest.Digest]struct{}{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.o.Workers)
	err := s.o.References(s)(gctx, e, func(d digest.Digest) error {
		if _, ok := seen[d]; ok || slices.Contains(last, d) {
			return gctx.Err()
		}
		seen[d] = struct{}{}
		g.Go(func() error { return s.copyBlob(gctx, sess, d) })
		return gctx.Err()
	})
	if gerr := g.Wait(); gerr != nil {
		return gerr // the visits fail after it
	}
	if err != nil {
		return fmt.Errorf("references: %w", err)
	}
	for _, d := range last {
		if err := s.copyBlob(ctx, sess, d); err != nil {
			return err
		}
	}
	return nil
}

// copyBlob puts d into far unless it is there.
func (s *Store) copyBlob(ctx context.Context, sess cas.Session, d digest.Digest) error {
	has, err := sess.Has(ctx, d)
	if err != nil || has {
		if has {
			s.counts.foundInFar.Add(1)
		}
		return err
	}
	t := s.borrow()
	defer s.giveBack(t)
	plain, err := t.load(ctx, s.near, d)
	if err != nil {
		return fmt.Errorf("read %v from near: %w", d, err)
	}
	if t.judge(d, plain) == wrong {
		return fmt.Errorf("blob %v in near has another content: %w", d, kvferry.ErrCorrupt)
	}
	s.counts.copyBegins.Add(1)
	_, err = sess.Put(ctx, d, plain)
	s.counts.copyEnds.Add(1)
	if err != nil {
		return err
	}
	s.counts.copiedBlobs.Add(1)
	s.counts.copiedBytes.Add(int64(len(plain)))
	return nil
}

// sweepIfMuch collects near when much of it is copied.
func (s *Store) sweepIfMuch(ctx context.Context) {
	if float64(s.queue.clean.Load()) > sweepShare*float64(s.o.QueueBytes) {
		s.sweepForRoom(ctx)
	}
}

// sweepForRoom collects in near what is copied, if there may be any, and
// reports whether it did.
func (s *Store) sweepForRoom(ctx context.Context) bool {
	c, ok := s.near.(cas.Collector)
	if !ok {
		return false
	}
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	if s.queue.clean.Swap(0) == 0 {
		return false
	}
	s.counts.sweeps.Add(1)
	_, err := c.Collect(ctx, cas.CollectOptions{References: s.o.References(s)})
	if err != nil {
		s.counts.nearErrors.Add(1)
		s.queue.clean.Add(1) // there is still something to give back
	}
	return err == nil
}
