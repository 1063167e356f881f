package pack

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"runtime"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas/pack/internal/table"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	// A log shorter than this is not worth a checkpoint, and one longer than
	// that and half of the last checkpoint is: so all checkpoints together are
	// at most a few times as long as all logs.
	shortLogBytes = 1 << 20
	longLogBytes  = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checkpointPath(generation uint64) string {
	return fmt.Sprintf("%s/%016x.idx", indexDir, generation)
}

// readCheckpoint returns the state at the beginning of a generation of the
// log. Generation 0 is the empty state.
func (s *Store) readCheckpoint(generation uint64) (*state, error) {
	if generation == 0 {
		return s.emptyState()
	}
	path := checkpointPath(generation)
	f, err := s.fs.Open(path, vfs.ReadOnly)
	if err != nil {
		return nil, failed("open", path, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	st, err := s.loadCheckpoint(f, generation, path)
	if err != nil && s.lenient() && errors.Is(err, kvferry.ErrCorrupt) {
		s.damage.hole(failed("read", path, err))
		return s.emptyState()
	}
	if err != nil {
		return nil, failed("read", path, err)
	}
	return st, nil
}

func (s *Store) emptyState() (*state, error) {
	t, err := table.New()
	if err != nil {
		return nil, err
	}
	return s.newState(t), nil
}

func (s *Store) loadCheckpoint(f vfs.File, generation uint64, path string) (*state, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	h, err := readHead(f, info.Size, s.id, generation)
	if err != nil {
		return nil, err
	}
	meta, err := h.operations(f)
	if err != nil {
		return nil, err
	}
	st := s.newState(nil)
	if err := apply(meta, st); err != nil {
		return nil, err
	}
	slots := make([]uint32, 0, 64)
	for _, p := range st.packs.all() {
		slots = append(slots, p.slot)
	}
	t, lost, err := table.Load(f, h.table(), h.tableBytes, slots, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, err
	}
	if lost > 0 {
		err := fmt.Errorf("pack: %s: %d blobs are lost to damaged blocks: %w", path, lost, kvferry.ErrCorrupt)
		if !s.lenient() { // what is not known would be taken for garbage
			t.Close()
			return nil, err
		}
		s.damage.hole(err)
	}
	st.table = t
	st.count()
	return st, nil
}

// count works out what each pack holds.
func (st *state) count() {
	st.table.All(func(_ digest.Digest, at table.Place, _ uint8) bool {
		if p := st.packs.at(at.Slot()); p != nil {
			p.blobs.Add(1)
			p.live.Add(at.Size())
		}
		return true
	})
}

// writeCheckpoint writes the state, which may change meanwhile, durably to
// a new file.
func (s *Store) writeCheckpoint(st *state, generation uint64, f vfs.File) error {
	var meta ops
	refs := map[uint32]uint32{}
	for i, p := range st.packs.all() {
		meta.pack(p)
		refs[p.slot] = uint32(i)
	}
	st.appendCatalog(&meta)

	h := checkpointHead{generation: generation, store: s.id, metaBytes: int64(len(meta)), metaCRC: crc32.Checksum(meta, castagnoli)}
	w := &fileWriter{f: f, off: vfs.BlockBytes}
	w.write(meta)
	w.write(make([]byte, h.table()-w.off))
	if w.err == nil {
		h.tableBytes, w.err = st.table.Save(w, func(slot uint32) (uint32, bool) { ref, ok := refs[slot]; return ref, ok })
	}
	w.write(make([]byte, max(0, h.copied()-w.off)))
	w.write(meta)
	w.off = 0
	w.write(h.encode())
	if w.err == nil {
		w.err = f.Sync()
	}
	return w.err
}

// appendCatalog appends what is not in the table.
func (st *state) appendCatalog(o *ops) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	for _, l := range st.snapshots {
		o.snapshot(l.entry)
	}
	for name, root := range st.names {
		o.name(name, root)
	}
	for at, b := range st.quarantined {
		o.quarantine(at.pack, b)
	}
}

// fileWriter writes to a file from its beginning on.
type fileWriter struct {
	f   vfs.File
	off int64
	err error
}

func (w *fileWriter) Write(p []byte) (int, error) {
	w.write(p)
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

func (w *fileWriter) write(p []byte) {
	if w.err == nil {
		_, w.err = w.f.WriteAt(p, w.off)
		w.off += int64(len(p))
	}
}

// considerCheckpoint starts a checkpoint in the background if the log is long.
func (s *Store) considerCheckpoint() {
	limit := s.o.logBytes + s.st().table.Len()*20
	if s.collecting.Load() {
		limit *= 4 // a collection begins anew after each checkpoint
	}
	if n := s.journal.Bytes(); n < limit || n < s.nextCheckpoint.Load() || !s.checkpointing.CompareAndSwap(false, true) {
		return
	}
	s.background.Add(1)
	go func() {
		defer s.background.Done()
		defer s.checkpointing.Store(false)
		next := int64(0)
		if s.checkpoint(context.Background()) != nil { // the log just stays longer; it is tried again when it grew
			next = s.journal.Bytes() + max(limit/8, shortLogBytes)
		}
		s.nextCheckpoint.Store(next)
	}()
}

// lastCheckpoint makes the next opening fast. The store is being closed.
func (s *Store) lastCheckpoint() error {
	if s.journal.Bytes() < s.o.shortLogBytes {
		return nil
	}
	return s.checkpoint(context.Background())
}

// checkpoint saves the state and begins a new generation of the log. Others
// may go on committing while it is written: what they commit is kept in the
// new log, and applying it again to a state that has it changes nothing.
func (s *Store) checkpoint(ctx context.Context) error {
	w, err := s.lockLog(ctx)
	if err != nil {
		return err
	}
	from := w.Position()
	st := s.st()
	st.purge()
	s.unlockLog(w)

	// Its lock says that somebody is writing it, until it has its name.
	f, draft, err := s.createLocked(ctx, func() string { return fmt.Sprintf("%s/%016x.new", indexDir, randomID()) })
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was synchronised
	generation := from.Generation + 1
	if err := s.writeCheckpoint(st, generation, f); err != nil {
		_ = s.fs.Remove(draft) // a collection finds what stays
		return unwritten("write", draft, err)
	}
	w, err = s.lockLog(ctx)
	if err != nil {
		_ = s.fs.Remove(draft)
		return err
	}
	defer s.unlockLog(w)
	if w.Position().Generation != from.Generation {
		return unwritten("remove", draft, s.fs.Remove(draft)) // another process was faster; its checkpoint counts
	}
	path := checkpointPath(generation)
	if err := s.fs.Rename(draft, path); err != nil {
		_ = s.fs.Remove(draft)
		return unwritten("rename", path, err)
	}
	err = unwritten("sync", indexDir, s.fs.SyncDir(indexDir))
	if err == nil {
		err = w.Switch(ctx, generation, from)
	}
	if err != nil {
		if !errors.Is(err, kvferry.ErrPoisoned) { // no log refers to it
			_ = s.fs.Remove(path)
		}
		return err
	}
	w.Keep(s.keep(spends))
	if err := w.Reserve(); err != nil && !errors.Is(err, kvferry.ErrNoSpace) {
		return unwritten("extend", "the log", err)
	}
	return nil
}
