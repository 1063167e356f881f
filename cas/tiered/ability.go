package tiered

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

func unsupported(op, what string) error {
	return fmt.Errorf("tiered: %s: the %s store cannot do it: %w", op, what, kvferry.ErrUnsupported)
}

// Blobs implements cas.Enumerator. In write-back it lists near's first, and
// then what far alone has.
func (s *Store) Blobs(ctx context.Context) iter.Seq2[cas.BlobInfo, error] {
	return func(yield func(cas.BlobInfo, error) bool) {
		if err := s.start(ctx, "list blobs"); err != nil {
			yield(cas.BlobInfo{}, err)
			return
		}
		defer s.stop()
		listed := map[digest.Digest]struct{}{}
		if s.queue != nil && !s.listNear(ctx, listed, yield) {
			return
		}
		far, ok := s.far.(cas.Enumerator)
		if !ok {
			yield(cas.BlobInfo{}, unsupported("list blobs", "far"))
			return
		}
		for info, err := range far.Blobs(ctx) {
			if _, twice := listed[info.Digest]; twice && err == nil {
				continue
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// listNear yields near's blobs, notes them, and reports whether to go on.
func (s *Store) listNear(ctx context.Context, listed map[digest.Digest]struct{}, yield func(cas.BlobInfo, error) bool) bool {
	near, ok := s.near.(cas.Enumerator)
	if !ok {
		yield(cas.BlobInfo{}, unsupported("list blobs", "near"))
		return false
	}
	for info, err := range near.Blobs(ctx) {
		if err == nil && s.hidden.has(info.Digest) {
			continue
		}
		listed[info.Digest] = struct{}{}
		if !yield(info, err) || err != nil {
			return false
		}
	}
	return true
}

// sizes are blobs and their stored bytes.
type sizes map[digest.Digest]int64

func (z sizes) sum() (blobs, bytes int64) {
	for _, n := range z {
		bytes += n
	}
	return int64(len(z)), bytes
}

// splitNear lists near's blobs in two: those that far has too, and those that
// it has not. What is hidden is in neither.
func (s *Store) splitNear(ctx context.Context) (both, only sizes, err error) {
	near, ok := s.near.(cas.Enumerator)
	if !ok {
		return nil, nil, unsupported("list blobs", "near")
	}
	only = sizes{}
	for info, err := range near.Blobs(ctx) {
		if err != nil {
			return nil, nil, err
		}
		if !s.hidden.has(info.Digest) {
			only[info.Digest] = info.StoredBytes
		}
	}
	both, err = s.takeFar(ctx, only)
	return both, only, err
}

// takeFar takes what far has out of the blobs, and returns it. A list of far
// is one pass, where asking for each blob can be a journey each.
func (s *Store) takeFar(ctx context.Context, blobs sizes) (taken sizes, err error) {
	taken = sizes{}
	take := func(d digest.Digest) {
		if n, ok := blobs[d]; ok {
			taken[d] = n
			delete(blobs, d)
		}
	}
	if far, ok := s.far.(cas.Enumerator); ok {
		for info, err := range far.Blobs(ctx) {
			if err != nil {
				return nil, err
			}
			take(info.Digest)
		}
		return taken, nil
	}
	for d := range blobs {
		has, err := s.far.Has(ctx, d)
		if err != nil {
			return nil, err
		}
		if has {
			take(d)
		}
	}
	return taken, nil
}

// Stats implements cas.Stater. In write-through it is far's. In write-back a
// blob that both have counts once, with its bytes in far, and what is dead or
// quarantined, and on disk where both tell, is the sum.
func (s *Store) Stats(ctx context.Context) (cas.Stats, error) {
	if err := s.start(ctx, "stats"); err != nil {
		return cas.Stats{}, err
	}
	defer s.stop()
	st, only, err := s.countFar(ctx)
	if err != nil || s.queue == nil {
		return st, err
	}
	near, err := statsOf(ctx, s.near, "near")
	if err != nil {
		return cas.Stats{}, err
	}
	blobs, bytes := only.sum()
	st.Blobs += blobs
	st.StoredBytes += bytes
	st.Quarantined += near.Quarantined
	st.QuarantinedBytes += near.QuarantinedBytes
	st.QuotaBytes = near.QuotaBytes // it is what puts meet
	st.CacheBlobs, st.CacheBytes, st.CacheQuotaBytes = near.CacheBlobs, near.CacheBytes, near.CacheQuotaBytes
	st.EvictedBytes = near.EvictedBytes
	st.DeadBytes += near.DeadBytes
	if st.DiskBytes > 0 && near.DiskBytes > 0 {
		st.DiskBytes += near.DiskBytes
	} else {
		st.DiskBytes = 0
	}
	st.Sessions = 0
	for _, x := range s.openSessions() {
		if !x.expired() {
			st.Sessions++
		}
	}
	return st, nil
}

// countFar returns far's numbers and what near alone has beside them. What is
// copied in between would be in both or neither, so it looks again then, a few
// times.
func (s *Store) countFar(ctx context.Context) (st cas.Stats, only sizes, err error) {
	for range 4 {
		ended := s.counts.copyEnds.Load()
		before := s.counts.copyBegins.Load()
		st, err = statsOf(ctx, s.far, "far")
		if err != nil || s.queue == nil {
			return st, nil, err
		}
		if _, only, err = s.splitNear(ctx); err != nil {
			return cas.Stats{}, nil, err
		}
		if before == ended && before == s.counts.copyBegins.Load() {
			break
		}
	}
	return st, only, nil
}

func statsOf(ctx context.Context, of cas.Store, what string) (cas.Stats, error) {
	x, ok := of.(cas.Stater)
	if !ok {
		return cas.Stats{}, unsupported("stats", what)
	}
	return x.Stats(ctx)
}

// Check implements cas.Checker. It checks those of near and far that can be,
// and the files of the queue; paths begin with where they are.
func (s *Store) Check(ctx context.Context, report func(cas.Problem)) error {
	if err := s.start(ctx, "check"); err != nil {
		return err
	}
	defer s.stop()
	for _, x := range []struct {
		name string
		of   cas.Store
	}{{"near", s.near}, {"far", s.far}} {
		c, ok := x.of.(cas.Checker)
		if !ok {
			continue
		}
		err := c.Check(ctx, func(p cas.Problem) {
			p.Path = x.name + ": " + p.Path
			report(p)
		})
		if err != nil {
			return fmt.Errorf("tiered: check %s: %w", x.name, err)
		}
	}
	if s.queue == nil {
		return nil
	}
	return s.queue.check(ctx, report)
}

// check reads the files of what is queued again.
func (q *queue) check(ctx context.Context, report func(cas.Problem)) error {
	q.mu.Lock()
	pending := append([]*change(nil), q.pending...)
	q.mu.Unlock()
	for _, c := range pending {
		if err := ctx.Err(); err != nil {
			return err
		}
		// One that far took meanwhile is no problem.
		if _, err := q.files.read(fileOf(c.seq)); err != nil && q.has(c) {
			report(cas.Problem{Path: "queue: " + fileOf(c.seq), Err: err})
		}
	}
	return nil
}

// has reports whether c is still queued.
func (q *queue) has(c *change) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.pending) > 0 && q.pending[0].seq <= c.seq
}

// Quarantine implements cas.Quarantiner. The blob is looked at in both stores
// first, so that a damaged one is set aside where it is damaged, and the other
// goes on to be read; where nobody can tell, because it is keyed, both are.
func (s *Store) Quarantine(ctx context.Context, d digest.Digest) error {
	if err := s.startWith(ctx, "quarantine", d); err != nil {
		return err
	}
	defer s.stop()
	missing := 0
	var errs []error
	for _, of := range []cas.Store{s.near, s.far} {
		switch err := s.setAside(ctx, of, d); {
		case errors.Is(err, kvferry.ErrNotFound):
			missing++
		case err != nil:
			errs = append(errs, err)
		}
	}
	if missing == 2 {
		return fmt.Errorf("tiered: quarantine %v: %w", d, kvferry.ErrNotFound)
	}
	return errors.Join(errs...)
}

// setAside quarantines d in one of the stores unless it is sound there.
func (s *Store) setAside(ctx context.Context, of cas.Store, d digest.Digest) error {
	t := s.borrow()
	defer s.giveBack(t)
	plain, err := t.load(ctx, of, d)
	if err != nil && !errors.Is(err, kvferry.ErrCorrupt) {
		return err
	}
	if err == nil && t.judge(d, plain) == sound {
		return nil
	}
	q, ok := of.(cas.Quarantiner)
	if !ok {
		return unsupported("quarantine", "damaged")
	}
	return q.Quarantine(ctx, d)
}
