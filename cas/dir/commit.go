//go:build unix

package dir

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
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
	known := x.held[e.Root] == there && (!e.Image.Valid() || x.held[e.Image] == there)
	lost := x.lost
	x.mu.Unlock()
	if !known {
		return fmt.Errorf("root or image was neither put nor found in session %s: %w", x.id, kvferry.ErrInvalid)
	}
	if lost > 0 {
		return fmt.Errorf("%d blobs were set aside as damaged and not put again: %w", lost, kvferry.ErrCorrupt)
	}
	if err := x.flush(ctx, true); err != nil {
		return err
	}
	marker, err := x.s.markerOf(e)
	if err != nil {
		return err
	}
	return x.s.locked(ctx, catalogLock, func() error {
		edits, err := x.s.entryEdits(e, marker)
		if err != nil {
			return err
		}
		return x.publishEntry(ctx, edits)
	})
}

// entryEdits are the changes that make e visible. The caller has the lock of
// the catalog.
//
// An image's marker exists only while the entry that has the image does: it is
// written after the entry and removed before. A marker alone would be a root
// that no entry tells of, so nothing would ever drop it. An entry without its
// marker is a snapshot of ours like any other, which only ProcessFork does not
// see yet; a collection writes the marker.
func (s *Store) entryEdits(e cas.Entry, marker []byte) ([]edit, error) {
	var edits []edit
	old, err := s.entry(e.Root)
	switch {
	case err == nil && old.Image.Valid() && old.Image != e.Image:
		edits = append(edits, edit{rel: markerPath(old.Image), remove: true})
	case err != nil && !errors.Is(err, kvferry.ErrNotFound) && !errors.Is(err, kvferry.ErrCorrupt):
		return nil, err
	}
	edits = append(edits, edit{rel: entryPath(e.Root), content: encodeEntry(e)})
	if marker != nil {
		edits = append(edits, edit{rel: markerPath(e.Image), content: marker})
	}
	names := slices.Clone(e.Names)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		edits = append(edits, edit{rel: namePath(name), content: encodeName(name, e.Root)})
	}
	return edits, nil
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
	return x.s.apply(edits...)
}
