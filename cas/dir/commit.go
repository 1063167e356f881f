//go:build unix

package dir

import (
	"context"
	"fmt"

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
	known, lost := x.held[e.Root] == there, x.lost
	x.mu.Unlock()
	if !known {
		return fmt.Errorf("root was neither put nor found in session %s: %w", x.id, kvferry.ErrInvalid)
	}
	if lost > 0 {
		return fmt.Errorf("%d blobs were set aside as damaged and not put again: %w", lost, kvferry.ErrCorrupt)
	}
	if err := x.flush(ctx, true); err != nil {
		return err
	}
	edits := []edit{{rel: entryPath(e.Root), content: encodeEntry(e)}}
	seen := map[string]bool{}
	for _, name := range e.Names {
		if !seen[name] {
			edits = append(edits, edit{rel: namePath(name), content: encodeName(name, e.Root)})
		}
		seen[name] = true
	}
	return x.s.locked(ctx, catalogLock, func() error { return x.publishEntry(ctx, edits) })
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
