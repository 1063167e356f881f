package tiered

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Get implements cas.Store.
func (s *Store) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	if err := s.startWith(ctx, "get", d); err != nil {
		return 0, err
	}
	defer s.stop()
	n, err := 0, kvferry.ErrNotFound
	if !s.hidden.has(d) {
		n, err = s.near.Get(ctx, d, dst)
	}
	if err == nil {
		s.counts.nearReads.Add(1)
		return n, nil
	}
	r := want{Request: &cas.Request{Digest: d, Dst: dst, N: n, Err: err}}
	if !s.nearAnswered(ctx, &r) {
		s.readFar(ctx, []want{r})
	}
	return r.N, r.Err
}

// want is one blob that is asked for.
type want struct {
	*cas.Request
	heal    bool  // near's is damaged and set aside
	nearErr error // why near could not tell; nil if it said that there is none
}

// nearAnswered reports whether what near said is the answer, and else notes
// why not.
func (s *Store) nearAnswered(ctx context.Context, r *want) bool {
	err := r.Err
	switch {
	case err == nil:
		s.counts.nearReads.Add(1)
		return true
	case errors.Is(err, kvferry.ErrNotFound):
		return false
	case errors.Is(err, kvferry.ErrShortBuffer), errors.Is(err, kvferry.ErrInvalid), ctx.Err() != nil:
		return true
	}
	s.counts.nearErrors.Add(1)
	r.nearErr = err
	if errors.Is(err, kvferry.ErrCorrupt) {
		r.heal = true
		if q, ok := s.near.(cas.Quarantiner); ok {
			// A blob that cannot be set aside is replaced by a put, or stays
			// damaged and is read from far again.
			_ = q.Quarantine(ctx, r.Digest)
		}
	}
	return false
}

// finish makes far's answer the request's. That far does not have a blob does
// not mean that there is none, where near failed to give it.
func (r *want) finish(n int, err error) {
	if r.nearErr != nil && errors.Is(err, kvferry.ErrNotFound) {
		n, err = 0, r.nearErr
	}
	r.N, r.Err = n, err
}

// batchBytes bounds the bytes that one batch reads from far at a time, which
// are held in memory beside the caller's.
const batchBytes = 32 << 20

// GetBatch implements cas.BatchGetter.
func (s *Store) GetBatch(ctx context.Context, reqs []cas.Request) error {
	if err := s.start(ctx, "get batch"); err != nil {
		return err
	}
	defer s.stop()
	if err := s.nearBatch(ctx, reqs); err != nil {
		return err
	}
	var missing []want
	size := 0
	for i := range reqs {
		r := want{Request: &reqs[i]}
		if s.nearAnswered(ctx, &r) {
			continue
		}
		if missing = append(missing, r); len(missing) > 0 && size+len(r.Dst) > batchBytes {
			s.readFar(ctx, missing)
			missing, size = missing[:0], 0
			continue
		}
		size += len(r.Dst)
	}
	s.readFar(ctx, missing)
	return nil
}

// nearBatch asks near for each request. It returns an error only if ctx ended
// before anything was tried.
func (s *Store) nearBatch(ctx context.Context, reqs []cas.Request) error {
	if b, ok := s.near.(cas.BatchGetter); ok && !s.hidden.active.Load() {
		err := b.GetBatch(ctx, reqs)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		for i := range reqs {
			reqs[i].N, reqs[i].Err = 0, err
		}
		return nil
	}
	for i := range reqs {
		r := &reqs[i]
		if r.N, r.Err = 0, kvferry.ErrNotFound; !r.Digest.Valid() || !s.hidden.has(r.Digest) {
			r.N, r.Err = s.near.Get(ctx, r.Digest, r.Dst)
		}
	}
	return nil
}
