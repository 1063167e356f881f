package tiered

import (
	"context"
	"fmt"
	"time"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// pinLease is how long a session of a collection lives without a call, during
// which the other store collects.
const pinLease = 24 * time.Hour

// Collect implements cas.Collector, see the package comment. The report is
// far's, and in write-back what near alone had is added. Beside sessions that
// put and commit meanwhile the counts of write-back are approximate. A failure
// of near in write-through, where it is a cache, is counted and no more.
func (s *Store) Collect(ctx context.Context, o cas.CollectOptions) (cas.CollectReport, error) {
	if err := s.start(ctx, "collect"); err != nil {
		return cas.CollectReport{}, err
	}
	defer s.stop()
	if err := o.Validate(); err != nil {
		return cas.CollectReport{}, fmt.Errorf("tiered: %w", err)
	}
	far, ok := s.far.(cas.Collector)
	if !ok {
		return cas.CollectReport{}, unsupported("collect", "far")
	}
	select {
	case <-s.collecting:
		defer func() { s.collecting <- struct{}{} }()
	case <-ctx.Done():
		return cas.CollectReport{}, fmt.Errorf("tiered: collect: %w", ctx.Err())
	}
	if o.Now.IsZero() {
		o.Now = s.o.Clock()
	}
	if s.queue != nil {
		return s.collectBack(ctx, far, o)
	}
	r, err := far.Collect(ctx, o)
	if err == nil && !o.DryRun {
		if err := s.trimNear(ctx, o, nil); err != nil {
			s.counts.nearErrors.Add(1)
		}
	}
	return r, err
}

// collectBack collects both stores of write-back.
func (s *Store) collectBack(ctx context.Context, far cas.Collector, o cas.CollectOptions) (cas.CollectReport, error) {
	near, ok := s.near.(cas.Collector)
	if !ok {
		return cas.CollectReport{}, unsupported("collect", "near")
	}
	if err := s.drain(ctx); err != nil {
		return cas.CollectReport{}, err
	}
	held, release, err := s.holdInFar(ctx)
	if err != nil {
		return cas.CollectReport{}, err
	}
	defer release()
	both, only, err := s.splitNear(ctx)
	if err != nil {
		return cas.CollectReport{}, fmt.Errorf("tiered: collect near: %w", err)
	}
	unpin, err := s.pinNear(ctx, both)
	if err != nil {
		return cas.CollectReport{}, fmt.Errorf("tiered: collect near: %w", err)
	}
	r, err := far.Collect(ctx, o) // first, for it fails before it changes anything
	if err == nil {
		err = addAlone(ctx, &r, near, only, o)
	}
	unpin()
	if err != nil || o.DryRun {
		return r, err
	}
	if err := s.trimNear(ctx, o, held); err != nil {
		return r, fmt.Errorf("tiered: collect near: %w", err)
	}
	return r, nil
}

// holdInFar holds in far what the sessions hold in near, as far as far has it,
// so that far's report does not count it as garbage. It also returns what they
// hold.
func (s *Store) holdInFar(ctx context.Context) (held map[digest.Digest]struct{}, release func(), err error) {
	held = map[digest.Digest]struct{}{}
	s.hidden.watch()
	for _, x := range s.openSessions() {
		x.holds(func(d digest.Digest) { held[d] = struct{}{} })
	}
	sess, err := s.far.Begin(ctx, cas.SessionOptions{Owner: "collection", Lease: pinLease})
	if err != nil {
		s.hidden.replace(nil)
		return nil, nil, err
	}
	release = func() {
		s.hidden.replace(nil)
		_ = sess.Abort(context.WithoutCancel(ctx)) // far forgets it with its lease
	}
	for d := range held {
		if _, err := sess.Has(ctx, d); err != nil {
			release()
			return nil, nil, err
		}
	}
	return held, release, nil
}

// addAlone collects what near alone has, while the rest is pinned, and adds it
// to far's report.
func addAlone(ctx context.Context, r *cas.CollectReport, near cas.Collector, only sizes, o cas.CollectOptions) error {
	o.KeepLast, o.KeepWithin = 0, 0 // every snapshot in near is yet to be copied
	alone, err := near.Collect(ctx, o)
	blobs, bytes := only.sum()
	r.Live += max(blobs-alone.Deleted, 0)
	r.LiveBytes += max(bytes-alone.DeletedBytes, 0)
	r.Deleted += alone.Deleted
	r.DeletedBytes += alone.DeletedBytes
	r.MovedBytes += alone.MovedBytes
	r.FreedBytes += alone.FreedBytes
	r.Stale += alone.Stale
	if err != nil {
		return fmt.Errorf("tiered: collect near: %w", err)
	}
	return nil
}

// pinNear keeps blobs in near until they are released.
func (s *Store) pinNear(ctx context.Context, blobs sizes) (release func(), err error) {
	sess, err := s.near.Begin(ctx, cas.SessionOptions{Owner: "collection", Lease: pinLease})
	if err != nil {
		return nil, err
	}
	release = func() { _ = sess.Abort(context.WithoutCancel(ctx)) } // near forgets it with its lease
	for d := range blobs {
		if _, err := sess.Has(ctx, d); err != nil {
			release()
			return nil, err
		}
	}
	return release, nil
}

// trimNear takes out of near what far does not have any more and, in
// write-back, nobody holds: it collects what can be collected and hides what
// near keeps as its cache. It runs after far's collection.
func (s *Store) trimNear(ctx context.Context, o cas.CollectOptions, held map[digest.Digest]struct{}) error {
	if s.queue == nil {
		s.hidden.watch()
		defer s.hidden.replace(nil)
	}
	if err := s.promoter.end(ctx, false); err != nil { // it would hold what far lost
		return err
	}
	evicts, err := s.nearEvicts(ctx)
	if err != nil {
		return err
	}
	needed := map[digest.Digest]struct{}{}
	if !evicts || s.queue != nil {
		if err := s.sweepTo(ctx, o, needed); err != nil {
			return err
		}
	}
	if !evicts {
		return nil
	}
	return s.hideRest(ctx, held, needed)
}

// nearEvicts reports whether near keeps cache blobs apart, which it then keeps
// through a collection.
func (s *Store) nearEvicts(ctx context.Context) (bool, error) {
	st, ok := s.near.(cas.Stater)
	if !ok {
		return false, nil
	}
	stats, err := st.Stats(ctx)
	return stats.CacheBlobs > 0, err
}

// sweepTo collects in near what far does not have, and notes what the queue
// needs.
func (s *Store) sweepTo(ctx context.Context, o cas.CollectOptions, needed map[digest.Digest]struct{}) error {
	near, ok := s.near.(cas.Collector)
	if !ok {
		return nil
	}
	both, _, err := s.splitNear(ctx)
	if err != nil {
		return err
	}
	release, err := s.pinNear(ctx, both)
	if err != nil {
		return err
	}
	defer release()
	_, err = near.Collect(ctx, cas.CollectOptions{Now: o.Now, References: noting(o.References, needed)})
	return err
}

// noting is refs that also notes what is visited.
func noting(refs cas.References, needed map[digest.Digest]struct{}) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		return refs(ctx, e, func(d digest.Digest) error {
			needed[d] = struct{}{}
			return visit(d)
		})
	}
}

// hideRest hides the blobs that near still has, far has not, and neither a
// session nor a queued snapshot needs: a near store that evicts keeps them as
// its cache.
func (s *Store) hideRest(ctx context.Context, held, needed map[digest.Digest]struct{}) error {
	near, ok := s.near.(cas.Enumerator)
	if !ok {
		return unsupported("list blobs", "near")
	}
	rest := sizes{}
	for info, err := range near.Blobs(ctx) {
		if err != nil {
			return err
		}
		rest[info.Digest] = info.StoredBytes
	}
	if _, err := s.takeFar(ctx, rest); err != nil {
		return err
	}
	hide := map[digest.Digest]struct{}{}
	for d := range rest {
		_, isHeld := held[d]
		_, isNeeded := needed[d]
		if !isHeld && !isNeeded {
			hide[d] = struct{}{}
		}
	}
	s.hidden.replace(hide)
	return nil
}
