//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// Commit implements cas.Session.
func (x *session) Commit(ctx context.Context, e cas.Entry) error {
	x.life.Lock()
	defer x.life.Unlock()
	if err := x.s.start(ctx); err != nil {
		return err
	}
	defer x.s.stop()
	if err := x.touch(); err != nil {
		return err
	}
	if err := x.commit(ctx, e); err != nil {
		return x.fail(fmt.Errorf("dir: commit %v: %w", e.Root, err))
	}
	// The snapshot is there: a session file that cannot be removed is no
	// failure, because without its lock the next collection removes it.
	_ = x.endLocked()
	return nil
}

func (x *session) commit(ctx context.Context, e cas.Entry) error {
	if err := checkEntry(e); err != nil {
		return err
	}
	x.mu.Lock()
	known := x.held[e.Root] > unseen && (!e.Image.Valid() || x.held[e.Image] > unseen)
	x.mu.Unlock()
	if !known {
		return fmt.Errorf("root or image was neither put nor found in session %s: %w", x.id, kvferry.ErrInvalid)
	}
	if err := x.regain(ctx); err != nil {
		return err
	}
	edits, err := x.s.entryEdits(e)
	if err != nil {
		return err
	}
	if err := x.publishEdits(ctx, e, edits); err != nil {
		for i := range edits {
			if edits[i].temp != "" {
				x.s.discard(edits[i].temp)
			}
		}
		return err
	}
	return nil
}

// publishEdits writes the new files first, so that one synchronisation makes
// them durable together with the places of the blobs.
func (x *session) publishEdits(ctx context.Context, e cas.Entry, edits []edit) error {
	temps := make([]string, len(edits))
	for i := range edits {
		var err error
		if temps[i], err = x.s.createTemp(edits[i].rel, edits[i].content); err != nil {
			return err
		}
		edits[i].temp = temps[i]
	}
	if err := x.flush(ctx, true, temps...); err != nil {
		return err
	}
	return x.s.locked(ctx, catalogLock, func() error {
		stale, err := x.s.staleMarker(e)
		if err != nil {
			return err
		}
		lifted, err := x.s.lifts(e.Root, e.Image)
		if err != nil {
			return err
		}
		return x.publishEntry(ctx, slices.Concat(stale, edits, lifted))
	})
}

// entryEdits are the files that make e visible, in their order.
//
// An image's marker exists only while the entry that has the image does: it is
// written after the entry and removed before. A marker alone would be a root
// that no entry tells of, so nothing would ever drop it. An entry without its
// marker is a snapshot of ours like any other, which only ProcessFork does not
// see yet; a collection writes the marker.
func (s *Store) entryEdits(e cas.Entry) ([]edit, error) {
	edits := []edit{{rel: entryPath(e.Root), content: encodeEntry(e)}}
	if e.Image.Valid() {
		text, err := s.markerOf(e)
		if err != nil {
			return nil, err
		}
		edits = append(edits, edit{rel: markerPath(e.Image), content: text})
	}
	names := slices.Clone(e.Names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		edits = append(edits, edit{rel: namePath(name), content: encodeName(name, e.Root)})
	}
	return edits, nil
}

// staleMarker is the removal of the marker of the image that e replaces, if
// there is one, whose blob nothing keeps then. The caller has the lock of the
// catalog.
func (s *Store) staleMarker(e cas.Entry) ([]edit, error) {
	old, err := s.entry(e.Root)
	switch {
	case err == nil && old.Image.Valid() && old.Image != e.Image:
		return []edit{{rel: markerPath(old.Image), remove: true}, {rel: droppedPath(old.Image), content: []byte{}}}, nil
	case err != nil && !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrCorrupt):
		return nil, err
	}
	return nil, nil
}

// publishEntry makes the snapshot visible. It is inside the gate from the last
// look at the lease until then: a collector that took the session for dead did
// so before, and one that comes later sees the snapshot.
func (x *session) publishEntry(ctx context.Context, edits []edit) error {
	if err := x.s.gate.enter(ctx); err != nil {
		return failed("lock", gateLock, err)
	}
	defer x.s.gate.leave()
	x.mu.Lock()
	err := x.lease.alive()
	x.mu.Unlock()
	if err != nil {
		return err
	}
	if err := x.present(); err != nil {
		return err
	}
	return x.s.apply(edits)
}

// regain looks again for the blobs that were set aside as damaged: others may
// have stored them anew.
func (x *session) regain(ctx context.Context) error {
	var list []digest.Digest
	x.mu.Lock()
	if x.lost > 0 {
		for d, h := range x.held {
			if h == gone {
				list = append(list, d)
			}
		}
	}
	x.mu.Unlock()
	for _, d := range list {
		_, _, err := x.find(ctx, d, nil, false)
		if errors.Is(err, kvferry.ErrNotFound) {
			return fmt.Errorf("%v was set aside as damaged and not put again: %w", d, kvferry.ErrCorrupt)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// present makes sure that nobody took away a blob that the session holds, as a
// process does that sets one aside. The caller is inside the gate, so that it
// stays so until the snapshot is visible.
func (x *session) present() error {
	var places [digest.SHA256 + 1][shards][]digest.Digest
	x.mu.Lock()
	for d, h := range x.held {
		if h == there || h == compared {
			at := &places[d.Algorithm()][shardOf(d)]
			*at = append(*at, d)
		}
	}
	x.mu.Unlock()
	for a := digest.BLAKE3; a.Valid(); a++ {
		for i, list := range places[a] {
			if len(list) == 0 {
				continue
			}
			if err := x.s.presentIn(a, byte(i), list); err != nil {
				return err
			}
		}
	}
	return nil
}

// presentIn is present for the blobs of one shard, whose directory is opened
// once for all of them.
func (s *Store) presentIn(a digest.Algorithm, shard byte, list []digest.Digest) error {
	err := s.fs.in(blobPath(list[0]), func(fd int, _ string) error {
		for _, d := range list {
			if err := s.fs.statAt(fd, blobPath(d)); err != nil {
				return fmt.Errorf("blob %v: %w", d, err)
			}
		}
		return nil
	})
	if missing(err) {
		return fmt.Errorf("dir: %s: a blob of the session was taken away: %w: %w", shardDir(a, shard), kvferry.ErrCorrupt, err)
	}
	return failed("stat", shardDir(a, shard), err)
}
