//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// syncWorkers is how many files are synchronised at a time, so that the file
// system can commit them together.
const syncWorkers = 8

// Flush implements cas.Session.
func (x *session) Flush(ctx context.Context) error {
	if err := x.begin(ctx); err != nil {
		return err
	}
	defer x.done()
	return x.flush(ctx, true)
}

// flush moves the pending blobs to their places, once their bytes are durable.
// With places, the places are made durable too, also those of the blobs that
// were found: whoever published them may not have done it yet, and the
// original never does, and the given files likewise, which the session wrote.
func (x *session) flush(ctx context.Context, places bool, also ...string) error {
	x.flushing.Lock()
	defer x.flushing.Unlock()
	x.mu.Lock()
	err := x.broken
	list := make([]*pendingBlob, 0, len(x.pending))
	for e := range x.pending {
		list = append(list, e)
	}
	x.mu.Unlock()
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b *pendingBlob) int { return strings.Compare(a.temp, b.temp) })
	if err := x.syncFiles(ctx, list); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if dead := x.expired(); dead != nil {
			return x.fail(dead)
		}
		for _, e := range list { // what the page cache holds may not be on the device
			x.s.discard(e.temp)
			x.s.pending.forget(e.d, e.temp)
		}
		return x.fail(err)
	}
	for _, e := range list {
		if err := x.publish(ctx, e); err != nil {
			if ctx.Err() != nil {
				return err
			}
			if dead := x.expired(); dead != nil {
				err = dead // a collector removed the file
			}
			return x.fail(err)
		}
	}
	if !places {
		return nil
	}
	return x.syncPlaces(ctx, also)
}

// expired is ErrExpired if a collector took the session for dead, and nil if
// not or if that cannot be told.
func (x *session) expired() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.lease.alive(); errors.Is(err, kvferry.ErrExpired) {
		return err
	}
	return nil
}

// syncFiles makes the bytes of the blobs durable. The descriptor that
// synchronises everything was opened when the session began; blobs that other
// sessions wrote may have failed before that, so they are done one by one.
func (x *session) syncFiles(ctx context.Context, list []*pendingBlob) error {
	var single []string
	for _, e := range list {
		if e.owner != x {
			single = append(single, e.temp)
		}
	}
	own := len(list) - len(single)
	together := x.s.group >= 0 && own > x.s.group
	if together {
		var dirs []string
		for _, e := range list {
			dirs = append(dirs, path.Dir(e.temp))
		}
		var err error
		if together, err = x.s.onDevice(dirs); err != nil {
			return err
		}
	}
	if !together {
		single = single[:0]
		for _, e := range list {
			single = append(single, e.temp)
		}
	} else if err := x.s.fs.syncAll(x.fd); err != nil {
		return unwritten("sync", x.s.fs.root, err)
	}
	return x.s.syncEach(ctx, single)
}

// onDevice tells whether the files or directories all lie on the file system of
// the root, which is what one synchronisation covers.
func (s *Store) onDevice(paths []string) (bool, error) {
	paths = slices.Clone(paths)
	slices.Sort(paths)
	for _, p := range slices.Compact(paths) {
		st, err := s.fs.lstat(p)
		if missing(err) {
			continue // what is gone needs nothing
		}
		if err != nil {
			return false, failed("stat", p, err)
		}
		if uint64(st.Dev) != s.device { //nolint:unconvert // its type differs between systems
			return false, nil
		}
	}
	return true, nil
}

// syncEach synchronises files or directories, several at a time. A file that
// another session published in the meantime is durable already.
func (s *Store) syncEach(ctx context.Context, paths []string) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, min(s.workers, len(paths)))
	for i := range errs {
		wg.Go(func() {
			for errs[i] == nil {
				k := int(next.Add(1)) - 1
				if k >= len(paths) {
					return
				}
				if errs[i] = ctx.Err(); errs[i] == nil {
					if err := s.fs.syncPath(paths[k]); !missing(err) {
						errs[i] = unwritten("sync", paths[k], err)
					}
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// publish moves the blob e, whose bytes are durable, to its place. It is inside
// the gate, so that nobody sets aside what came in after he looked.
func (x *session) publish(ctx context.Context, e *pendingBlob) error {
	if err := x.s.gate.enter(ctx); err != nil {
		return failed("lock", gateLock, err)
	}
	defer x.s.gate.leave()
	blobs, unlock := x.s.pending.lock(e.d)
	defer unlock()
	switch e.state {
	case written:
		if err := x.s.fs.rename(e.temp, blobPath(e.d)); err != nil {
			return unwritten("publish", blobPath(e.d), err)
		}
		e.state = published
		if blobs[e.d] == e {
			delete(blobs, e.d)
		}
	case lost:
		return fmt.Errorf("dir: %v was lost before it was published: %w", e.d, kvferry.ErrCorrupt)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.pending, e)
	return nil
}

// syncPlaces makes the directories durable in which blobs were put or found,
// and the files.
func (x *session) syncPlaces(ctx context.Context, files []string) error {
	x.mu.Lock()
	touched := x.touched
	clear(x.touched[:])
	x.mu.Unlock()
	dirs := slices.Clone(files)
	for a := digest.BLAKE3; a.Valid(); a++ {
		before := len(dirs)
		for shard := range shards {
			if touched[a][shard/64]>>(shard%64)&1 != 0 {
				dirs = append(dirs, shardDir(a, byte(shard)))
			}
		}
		if len(dirs) > before {
			dirs = append(dirs, algDir(a))
		}
	}
	first := !x.s.above.Load()
	if first { // whoever made them may not have done it
		dirs = append(dirs, blobsDir, ".")
	}
	together := x.s.group >= 0 && len(dirs) > x.s.group
	var err error
	if together {
		together, err = x.s.onDevice(dirs)
	}
	switch {
	case err != nil:
	case together:
		err = unwritten("sync", x.s.fs.root, x.s.fs.syncAll(x.fd))
	default:
		err = x.s.syncEach(ctx, dirs)
	}
	if err == nil {
		if first {
			x.s.above.Store(true)
		}
		return nil
	}
	if ctx.Err() == nil {
		return x.fail(err)
	}
	x.mu.Lock() // nothing failed: the next flush does it
	for a := range touched {
		for i, bits := range touched[a] {
			x.touched[a][i] |= bits
		}
	}
	x.mu.Unlock()
	return err
}
