package pack

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack/internal/packfile"
	"github.com/kvferry/kvferry/internal/vfs"
)

// scanName says, by being there, that the log or index lost something, so that
// the packs hold what nothing knows of, until they were read: no process takes
// what it does not know for garbage, and none writes but to repair.
const scanName = logDir + "/repair"

const scanText = "The log or the index of this store was damaged. Run: kvferry check --repair\n"

// demandScan makes it known, durably, before the damaged parts are replaced.
func (s *Store) demandScan() error {
	f, err := s.fs.Open(scanName, vfs.Create)
	if err != nil {
		return unwritten("create", scanName, err)
	}
	_, err = f.WriteAt([]byte(scanText), 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.SyncDir(logDir)
	}
	return unwritten("write", scanName, err)
}

// scanDue reports whether the packs hold what nothing knows of.
func (s *Store) scanDue() (bool, error) {
	_, err := s.fs.Stat(scanName)
	if missing(err) {
		return false, nil
	}
	return err == nil, failed("stat", scanName, err)
}

// whole refuses what takes the state for all that there is.
func (s *Store) whole() error {
	due, err := s.scanDue()
	_, holes := s.damage.all(s.journal) // it may have been opened with what is left
	if err == nil && (due || len(holes) > 0) {
		err = fmt.Errorf("pack: %s is damaged: run check --repair: %w", s.root, kvferry.ErrCorrupt)
	}
	return err
}

// Repair implements cas.Repairer: packs that are under another's name get their
// own back, and where the log or index lost something, all packs are read for
// it. The store must have been opened with Options.Repair. What is done is
// durable, with a new checkpoint and log.
//
// A record that nothing knows is taken for a blob if its content is what its
// digest says. It may be one that was deleted: the next collection deletes it
// again. Snapshots and names are only in the log and index.
func (s *Store) Repair(ctx context.Context, o cas.RepairOptions) (cas.RepairReport, error) {
	if err := s.startWrite(ctx, "repair"); err != nil {
		return cas.RepairReport{}, err
	}
	defer s.stop()
	if !s.o.Repair {
		return cas.RepairReport{}, fmt.Errorf("pack: repair: the store was not opened for it: %w", kvferry.ErrInvalid)
	}
	s.collectMu.Lock()
	defer s.collectMu.Unlock()
	unlock, err := s.collectAlone(ctx)
	if err != nil {
		return cas.RepairReport{}, err
	}
	defer unlock()
	r := &rescue{s: s, o: o}
	if err := r.run(ctx); err != nil {
		return r.report, fmt.Errorf("pack: repair: %w", err)
	}
	return r.report, nil
}

// rescue is one repair.
type rescue struct {
	s      *Store
	o      cas.RepairOptions
	report cas.RepairReport
	done   int64
	total  int64
}

func (r *rescue) run(ctx context.Context) error {
	s := r.s
	damage, _ := s.damage.all(s.journal)
	for _, err := range damage {
		r.report.Lost = append(r.report.Lost, cas.Problem{Path: logDir, Err: err})
	}
	if err := r.rename(ctx); err != nil {
		return err
	}
	due, err := s.scanDue()
	if err != nil {
		return err
	}
	if r.report.Incomplete = due; due {
		if err := r.scan(ctx); err != nil {
			return err
		}
		if err := s.checkpoint(ctx); err != nil {
			return err
		}
		if err := s.fs.Remove(scanName); err != nil {
			return unwritten("remove", scanName, err)
		}
		if err := s.fs.SyncDir(logDir); err != nil {
			return unwritten("sync", logDir, err)
		}
	}
	s.damage.mended(s.journal)
	return nil
}

// scan reads all packs.
func (r *rescue) scan(ctx context.Context) error {
	s := r.s
	if err := s.commits.submit(ctx, &request{flush: true}); err != nil {
		return err
	}
	if err := s.refresh(ctx); err != nil {
		return err
	}
	list, err := s.fs.List(packsDir)
	if err != nil {
		return failed("list", packsDir, err)
	}
	var ids []uint64
	for _, e := range list {
		if id, ok := packfile.ParseName(e.Name); ok && e.Regular {
			ids = append(ids, id)
			r.total += max(0, e.Size-packHeaderBytes)
		}
	}
	r.progress(0)
	for _, id := range ids {
		if err := r.pack(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (r *rescue) progress(n int64) {
	if r.done += n; r.o.Progress != nil {
		r.o.Progress(r.done, r.total)
	}
}
