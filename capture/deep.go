package capture

import (
	"context"
	"errors"
	"iter"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// enqueue hands out the blobs in runs as the store lists them: a store that
// lists them in the order in which they lie can read a run at once.
func enqueue(ctx context.Context, blobs iter.Seq2[cas.BlobInfo, error], queue chan<- []cas.BlobInfo) error {
	var run []cas.BlobInfo
	var bytes int64
	send := func() error {
		if len(run) == 0 {
			return nil
		}
		select {
		case queue <- run:
			run, bytes = nil, 0
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for b, err := range blobs {
		if err != nil {
			return err
		}
		run = append(run, b)
		if bytes += b.StoredBytes; len(run) == scrubRunBlobs || bytes >= scrubRunBytes {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

// The bounds of a run: enough for one large read, little enough for all workers
// to have their share of a small store.
const (
	scrubRunBlobs = 64
	scrubRunBytes = 1 << 20
)

// scrubber is a worker: it reads blobs and keeps what is wrong with them.
type scrubber struct {
	c           *checking
	rd, keyless *cas.Reader
	scratch     []byte
	reqs        []cas.Request
	// longest is the length of the longest blob that was longer than its place in
	// a batch: what is coded does not tell it beforehand.
	longest int
}

func (c *checking) scrub(ctx context.Context, queue <-chan []cas.BlobInfo, m meter) (err error) {
	s := &scrubber{c: c, scratch: make([]byte, 1<<20)}
	if s.rd, err = cas.NewReader(c.store, c.opts.Key); err != nil {
		return err
	}
	if s.keyless, err = cas.NewReader(c.store, nil); err != nil {
		return err
	}
	for run := range queue {
		if batches(c.store) {
			err = s.batch(ctx, run, m)
		} else {
			err = s.each(ctx, run, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// each reads the blobs of a run one by one.
func (s *scrubber) each(ctx context.Context, run []cas.BlobInfo, m meter) error {
	for _, b := range run {
		n, err := s.c.read(ctx, s.rd, b.Digest, s.scratch)
		if err := s.settle(ctx, b, n, err, m); err != nil {
			return err
		}
	}
	return nil
}

// batch reads the blobs of a run at once: as many as fit the buffer, if they are
// no longer than those that were met, and the others one by one.
func (s *scrubber) batch(ctx context.Context, run []cas.BlobInfo, m meter) error {
	for len(run) > 0 {
		s.c.mu.Lock()
		usual := s.c.usual
		s.c.mu.Unlock()
		room := s.scratch
		s.reqs = s.reqs[:0]
		for _, b := range run {
			want := max(usual, s.longest, int(min(b.StoredBytes, int64(len(s.scratch)+1))))
			if want > len(room) {
				break
			}
			s.reqs = append(s.reqs, cas.Request{Digest: b.Digest, Dst: room[:want:want]})
			room = room[want:]
		}
		n := len(s.reqs)
		if n < 2 {
			if err := s.each(ctx, run[:1], m); err != nil {
				return err
			}
			run = run[1:]
			continue
		}
		if err := s.answers(ctx, run[:n], m); err != nil {
			return err
		}
		run = run[n:]
	}
	return nil
}

// answers makes the requests for some blobs and judges each.
func (s *scrubber) answers(ctx context.Context, some []cas.BlobInfo, m meter) error {
	if err := s.rd.GetBatch(ctx, s.reqs); err != nil {
		return err
	}
	var short []cas.BlobInfo
	for i, q := range s.reqs {
		if errors.Is(q.Err, kvferry.ErrShortBuffer) { // later: the buffer is still in use
			short = append(short, some[i])
			if q.N <= len(s.scratch)/2 {
				s.longest = max(s.longest, q.N)
			}
			continue
		}
		if q.Err == nil {
			s.c.look(q.Digest, q.Dst[:q.N])
		}
		if err := s.settle(ctx, some[i], q.N, q.Err, m); err != nil {
			return err
		}
	}
	return s.each(ctx, short, m)
}

// settle judges a blob that was read with the given outcome.
func (s *scrubber) settle(ctx context.Context, b cas.BlobInfo, n int, err error, m meter) error {
	d := b.Digest
	foreign := d.Algorithm() == digest.KeyedBLAKE3 && errors.Is(err, kvferry.ErrUnsupported)
	if d.Algorithm() == digest.KeyedBLAKE3 && s.c.opts.Key != nil && errors.Is(err, kvferry.ErrCorrupt) {
		// Another tenant's, or damaged: what cannot be decoded either is
		// damaged for sure, and set aside by now.
		_, derr := s.keyless.ReadAll(ctx, d, pager.MaxPageBytes)
		foreign = errors.Is(derr, kvferry.ErrUnsupported)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.c.judge(d, n, err, foreign)
	m.add(1, b.StoredBytes)
	return nil
}
