package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// captured is a snapshot that a benchmark made.
type captured struct {
	root  digest.Digest
	blobs []digest.Digest
	bytes int64 // plain
}

// each runs do for 0 to n-1 on so many goroutines, and returns the first
// error, which ends it.
func each(ctx context.Context, goroutines, n int, do func(ctx context.Context, worker, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, w, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// hashers makes one for each goroutine.
func hashers(n int) ([]*digest.Hasher, error) {
	out := make([]*digest.Hasher, n)
	for i := range out {
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// capture hashes and stores n blobs in a session of their own and commits it:
// when it returns, all of it is durable.
func capture(ctx context.Context, s cas.Store, n int, blob func(worker, i int) ([]byte, error)) (captured, error) {
	sess, err := s.Begin(ctx, rawSession())
	if err != nil {
		return captured{}, err
	}
	c, err := put(ctx, sess, n, blob)
	if err == nil {
		err = commit(ctx, sess, &c)
	}
	if err != nil {
		return c, errors.Join(err, sess.Abort(context.WithoutCancel(ctx)))
	}
	return c, nil
}

// put hashes and stores n blobs.
func put(ctx context.Context, sess cas.Session, n int, blob func(worker, i int) ([]byte, error)) (captured, error) {
	c := captured{blobs: make([]digest.Digest, n)}
	hs, err := hashers(workers)
	if err != nil {
		return c, err
	}
	var total atomic.Int64
	err = each(ctx, workers, n, func(ctx context.Context, w, i int) error {
		plain, err := blob(w, i)
		if err != nil {
			return err
		}
		c.blobs[i] = hs[w].Sum(plain)
		if _, err := sess.Put(ctx, c.blobs[i], plain); err != nil {
			return err
		}
		total.Add(int64(len(plain)))
		return nil
	})
	c.bytes = total.Load()
	return c, err
}

// commit stores the list of blobs as the snapshot's root and publishes it.
func commit(ctx context.Context, sess cas.Session, c *captured) error {
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	list := encodeList(c.blobs)
	c.root = h.Sum(list)
	if _, err := sess.Put(ctx, c.root, list); err != nil {
		return err
	}
	return sess.Commit(ctx, cas.Entry{
		Root: c.root, Format: cas.FormatNative, Created: time.Now().UTC(),
		Pages: int64(len(c.blobs)), Bytes: c.bytes,
	})
}

// A root is the sums of the blobs, one behind the other, and their number so
// that no two lists of different length are alike.

func encodeList(blobs []digest.Digest) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(blobs)))
	for _, d := range blobs {
		sum := d.Sum()
		out = append(out, sum[:]...)
	}
	return out
}

func decodeList(list []byte) ([]digest.Digest, error) {
	if len(list) < 8 || uint64(len(list)-8) != binary.LittleEndian.Uint64(list)*digest.Size {
		return nil, fmt.Errorf("list of %d bytes", len(list))
	}
	var out []digest.Digest
	for at := 8; at < len(list); at += digest.Size {
		out = append(out, digest.New(digest.BLAKE3, [digest.Size]byte(list[at:])))
	}
	return out, nil
}

// maxList bounds what references reads of a root.
const maxList = 1 << 30

// references tells a collection what the snapshots of capture need.
func references(s cas.Store) cas.References {
	return func(ctx context.Context, e cas.Entry, visit func(digest.Digest) error) error {
		r, err := cas.NewReader(s, nil)
		if err != nil {
			return err
		}
		list, err := r.ReadAll(ctx, e.Root, maxList)
		if err != nil {
			return err
		}
		blobs, err := decodeList(list)
		if err != nil {
			return err
		}
		for _, d := range append(blobs, e.Root) {
			if err := visit(d); err != nil {
				return err
			}
		}
		return nil
	}
}

// batchBytes is what a worker of restore asks for at once.
const batchBytes = 8 * miB

// restore reads and verifies every blob of a snapshot, in its order, and hands
// each to use, which may be called by several goroutines.
func restore(ctx context.Context, s cas.Store, c captured, size, threads int, use func(i int, plain []byte) error) error {
	per := max(batchBytes/size&^1, 1) // even, so that the halves of a page come together
	readers := make([]*cas.Reader, threads)
	requests := make([][]cas.Request, threads)
	for w := range threads {
		r, err := cas.NewReader(s, nil)
		if err != nil {
			return err
		}
		readers[w], requests[w] = r, make([]cas.Request, per)
		for i := range requests[w] {
			requests[w][i].Dst = make([]byte, size)
		}
	}
	return each(ctx, threads, (len(c.blobs)+per-1)/per, func(ctx context.Context, w, batch int) error {
		first := batch * per
		reqs := requests[w][:min(per, len(c.blobs)-first)]
		for i := range reqs {
			reqs[i] = cas.Request{Digest: c.blobs[first+i], Dst: reqs[i].Dst}
		}
		if err := readers[w].GetBatch(ctx, reqs); err != nil {
			return err
		}
		for i, r := range reqs {
			if r.Err != nil {
				return r.Err
			}
			if err := use(first+i, r.Dst[:r.N]); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropBlob is what restore uses where the bytes go nowhere.
func dropBlob(int, []byte) error { return nil }
