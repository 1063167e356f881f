package pack

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/journal"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
)

// st returns the state that readers see.
func (s *Store) st() *state { return s.current.Load() }

// apply brings the state to where a transaction ends.
func (s *Store) apply(tx journal.Tx) error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	return apply(tx.Payload, s.target)
}

// refresh brings the state to what is committed.
func (s *Store) refresh(ctx context.Context) error {
	if s.journal.Fresh() && !s.rebasing.Load() {
		return nil
	}
	return s.follow(ctx)
}

// follow applies what is new in the log.
func (s *Store) follow(ctx context.Context) error {
	s.followMu.Lock()
	defer s.followMu.Unlock()
	err := s.journal.Follow(ctx, s.apply)
	if errors.Is(err, journal.ErrRebased) {
		return s.rebaseLocked(ctx)
	}
	return err
}

// lockLog locks the log, with all of it applied; unlockLog gives it back. The
// state is not made anew meanwhile: what is applied in between would go to the
// state that is thrown away.
func (s *Store) lockLog(ctx context.Context) (*journal.Writer, error) {
	for {
		s.rebaseMu.RLock()
		w, err := s.journal.Lock(ctx, s.apply)
		if err == nil {
			return w, nil
		}
		s.rebaseMu.RUnlock()
		if !errors.Is(err, journal.ErrRebased) {
			return nil, err
		}
		s.followMu.Lock()
		err = s.rebaseLocked(ctx)
		s.followMu.Unlock()
		if err != nil {
			return nil, err
		}
	}
}

func (s *Store) unlockLog(w *journal.Writer) {
	w.Unlock()
	s.rebaseMu.RUnlock()
}

// rebaseLocked makes the state anew from the newest checkpoint, when other
// processes replaced the log before this one had read all of it.
func (s *Store) rebaseLocked(ctx context.Context) error {
	s.rebaseMu.Lock()
	defer s.rebaseMu.Unlock()
	// Somebody may have been faster, while this waited for those with the lock.
	if err := s.journal.Follow(ctx, s.apply); !errors.Is(err, journal.ErrRebased) {
		return err
	}
	s.rebasing.Store(true)
	defer s.rebasing.Store(false)
	if err := s.load(ctx, s.journal.Rebase); err != nil {
		return err
	}
	old := s.st()
	s.current.Store(s.target)
	if s.retired != nil { // who read its table has ended long ago
		s.retired.table.Close()
	}
	s.retired = old // somebody may be reading its table
	for _, p := range old.packs.all() {
		if s.st().packs.get(p.id) == nil {
			s.reader.Forget(p.id)
		}
	}
	s.recount()
	return nil
}

// load makes the state of the newest generation: its checkpoint and the log
// behind it.
func (s *Store) load(ctx context.Context, base func(context.Context) (uint64, error)) error {
	for {
		generation, err := base(ctx)
		if err != nil {
			return err
		}
		fresh, err := s.readCheckpoint(generation)
		if missing(err) { // replaced meanwhile
			again, berr := s.journal.Rebase(ctx)
			if berr != nil {
				return berr
			}
			if again != generation {
				base = func(context.Context) (uint64, error) { return again, nil }
				continue
			}
			err = fmt.Errorf("pack: the checkpoint %s is missing: run check --repair: %w", checkpointPath(generation), kvferry.ErrCorrupt)
			if s.lenient() {
				s.damage.hole(err)
				fresh, err = s.emptyState()
			}
		}
		if err != nil {
			return err
		}
		s.applyMu.Lock()
		s.target = fresh
		s.applyMu.Unlock()
		err = s.journal.Follow(ctx, s.apply)
		if errors.Is(err, journal.ErrRebased) {
			base = s.journal.Rebase
			continue
		}
		return err
	}
}

// recount ends the sessions of which blobs were removed in that part of the log
// that this process never saw.
func (s *Store) recount() {
	sessions := s.openSessions()
	if len(sessions) == 0 {
		return
	}
	var there holdSet
	s.st().table.All(func(d digest.Digest, at table.Place, _ uint8) bool {
		if s.st().packs.at(at.Slot()) != nil {
			there.add(prefixOf(d))
		}
		return true
	})
	s.pending[cas.Snapshot].each(func(d digest.Digest, _ int64) { there.add(prefixOf(d)) })
	s.pending[cas.Cache].each(func(d digest.Digest, _ int64) { there.add(prefixOf(d)) })
	for _, x := range sessions {
		x.holdMu.Lock()
		for _, prefix := range x.holds.slots {
			if prefix != 0 && x.class == cas.Snapshot && !there.has(prefix) && x.hurt == nil {
				x.hurt = fmt.Errorf("a collection of another process overtook it: %w", kvferry.ErrExpired)
			}
		}
		x.holdMu.Unlock()
	}
}
