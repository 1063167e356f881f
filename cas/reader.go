package cas

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// Reader stands in front of a store and hands out only bytes that hash to
// their digest. It is not safe for concurrent use: each worker owns one.
//
// A damaged blob is ErrCorrupt and is quarantined if the store can do that. A
// keyed blob that does not hash to its digest is ErrCorrupt too, but stays where
// it is: with another tenant's key, every sound blob looks like that.
type Reader struct {
	store  Store
	viewer Viewer      // nil if the store has no such ability
	batch  BatchGetter // likewise
	hasher *digest.Hasher
	keep   bool // damaged blobs stay
	small  small
}

// NewReader returns a reader of s. The key, if not nil, lets it check keyed
// digests of one tenant.
func NewReader(s Store, key *digest.Key) (*Reader, error) {
	h, err := digest.NewHasher(digest.BLAKE3, key)
	if err != nil {
		return nil, err
	}
	r := &Reader{store: s, hasher: h}
	r.viewer, _ = s.(Viewer)
	r.batch, _ = s.(BatchGetter)
	return r, nil
}

// Get reads the blob d into dst, checks it and returns its length. After
// ErrCorrupt, dst is cleared so that nobody uses the bytes by mistake.
func (r *Reader) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	n, err := r.store.Get(ctx, d, dst)
	return r.checked(ctx, d, dst, n, err)
}

// GetBatch reads the blobs of a batch, in the order that suits the store if it
// can read batches. What Get returns for a blob, its request has in N and Err,
// whatever they held before; the bytes are checked here, by the caller's
// goroutine. It returns an error only if nothing was tried: then no request is
// to be looked at.
func (r *Reader) GetBatch(ctx context.Context, reqs []Request) error {
	for i := range reqs {
		reqs[i].N, reqs[i].Err = 0, nil
	}
	if r.batch == nil {
		for i := range reqs {
			q := &reqs[i]
			q.N, q.Err = r.Get(ctx, q.Digest, q.Dst)
		}
		return nil
	}
	if err := r.batch.GetBatch(ctx, reqs); err != nil {
		return err
	}
	r.small.hash(r.hasher, reqs)
	for i := range reqs {
		if q := &reqs[i]; !r.small.sound(i, q.Digest) {
			q.N, q.Err = r.checked(ctx, q.Digest, q.Dst, q.N, q.Err)
		}
	}
	r.small.forget()
	return nil
}

// checked hands on what the store returned for d, if the bytes are d's.
func (r *Reader) checked(ctx context.Context, d digest.Digest, dst []byte, n int, err error) (int, error) {
	if errors.Is(err, kvferry.ErrCorrupt) {
		clear(dst)
		return 0, r.setAside(ctx, d, err)
	}
	if err != nil {
		return n, err
	}
	if err := r.hasher.Check(d, dst[:n]); err != nil {
		clear(dst[:n])
		return 0, r.mismatch(ctx, d, err)
	}
	return n, nil
}

// Checked calls use with the verified plain bytes of d, which are valid only
// during the call. Where the store can show bytes in place they are not
// copied; otherwise they are read into scratch.
func (r *Reader) Checked(ctx context.Context, d digest.Digest, scratch []byte, use func([]byte) error) error {
	if r.viewer == nil {
		n, err := r.Get(ctx, d, scratch)
		if err != nil {
			return err
		}
		return use(scratch[:n])
	}
	v, err := r.viewer.View(ctx, d)
	if err != nil {
		return err
	}
	defer v.Release()
	if err := r.hasher.Check(d, v.Bytes()); err != nil {
		return r.mismatch(ctx, d, err)
	}
	return use(v.Bytes())
}

// ReadAll returns the verified plain bytes of d in memory of their own. A blob
// longer than limit is ErrShortBuffer.
func (r *Reader) ReadAll(ctx context.Context, d digest.Digest, limit int) ([]byte, error) {
	// What has a known length, as a page-table chunk, is read at once; of a
	// document nobody knows the length until the store tells it.
	size := limit
	if limit > 128<<10 {
		size = 16 << 10
	}
	for {
		buf := make([]byte, size)
		n, err := r.Get(ctx, d, buf)
		if err == nil {
			return buf[:n], nil
		}
		if !errors.Is(err, kvferry.ErrShortBuffer) || size == limit {
			return nil, err
		}
		if n > limit {
			return nil, fmt.Errorf("cas: blob %v of %d bytes exceeds the limit of %d: %w", d, n, limit, kvferry.ErrShortBuffer)
		}
		size = min(limit, max(n, 4*size))
	}
}

// KeepDamaged makes the reader leave damaged blobs where they are, for callers
// that only look.
func (r *Reader) KeepDamaged() *Reader {
	r.keep = true
	return r
}

// mismatch handles bytes that do not hash to d.
func (r *Reader) mismatch(ctx context.Context, d digest.Digest, cause error) error {
	if d.Algorithm() == digest.KeyedBLAKE3 {
		return fmt.Errorf("%w (or made with another tenant's key)", cause)
	}
	return r.setAside(ctx, d, cause)
}

// setAside quarantines d after the damage that cause tells, and returns cause.
func (r *Reader) setAside(ctx context.Context, d digest.Digest, cause error) error {
	q, ok := r.store.(Quarantiner)
	if !ok || r.keep || !errors.Is(cause, kvferry.ErrCorrupt) {
		return cause
	}
	if err := q.Quarantine(ctx, d); err != nil && !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrReadOnly) {
		return errors.Join(cause, fmt.Errorf("cas: quarantine %v: %w", d, err))
	}
	return cause
}
