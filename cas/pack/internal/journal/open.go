package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// errAgain says that the log was replaced meanwhile.
var errAgain = errors.New("the log was replaced again and again")

// replacedTries is how often that may happen to one call: each time takes
// another process a checkpoint.
const replacedTries = 100

// Create makes the directories of a log, if they are missing, and generation 1,
// if there is none. Several processes may do so at once.
func Create(ctx context.Context, f vfs.FS, id [16]byte) error {
	j := &Journal{o: Options{FS: f, StoreID: id}}
	return again(func() error {
		n, err := newest(f)
		if err != nil || n != 0 {
			return err
		}
		return j.found(ctx)
	})
}

// again calls do until it returns something else than errAgain.
func again(do func() error) error {
	for range replacedTries {
		if err := do(); !errors.Is(err, errAgain) {
			return err
		}
	}
	return fmt.Errorf("journal: %w", errAgain)
}

// Open opens the newest generation, made if there is none, and positions the
// journal at its beginning: the caller loads the checkpoint Base and Follows.
// Unless o.ReadOnly, it waits for the right to append and tidies up what a
// crash left. ErrCorrupt says that transactions were lost, and which.
//
// Open for reading takes no lock, so a process that is appending just then may
// be seen to have appended what it later takes back; Follow tells by
// ErrRebased.
func Open(ctx context.Context, o Options) (*Journal, error) {
	j := &Journal{o: o, turn: make(chan struct{}, 1)}
	err := again(func() error {
		n, err := newest(o.FS)
		switch {
		case err != nil:
			return err
		case n != 0:
			return j.open(ctx, n)
		case o.MustExist:
			if err := j.gone(); err != nil {
				return err
			}
		case o.ReadOnly:
			return fmt.Errorf("journal: %w: the store has no log", kvferry.ErrNotFound)
		}
		return j.found(ctx)
	})
	if err != nil {
		return nil, space(err)
	}
	return j, nil
}

// gone judges a log that is missing though there was one.
func (j *Journal) gone() error {
	if !j.o.Repair {
		return fmt.Errorf("journal: %w: the log is gone: run check --repair", kvferry.ErrCorrupt)
	}
	j.noteLocked(fmt.Errorf("journal: %w: the log was gone", kvferry.ErrCorrupt)) // nobody else has j yet
	return j.tellDamaged()
}

// tellDamaged tells that the only traces of damage are about to go.
func (j *Journal) tellDamaged() error {
	if j.o.Damaged == nil {
		return nil
	}
	return j.o.Damaged()
}

// found makes the first generation and returns errAgain, to open it.
func (j *Journal) found(ctx context.Context) error {
	if err := makeDirs(j.o.FS); err != nil {
		return err
	}
	h := header{generation: 1, first: 1, id: j.o.StoreID}
	bases, err := list(j.o.FS, indexDir, ".idx")
	if err != nil {
		return err
	}
	if n := len(bases); n > 0 {
		if !j.o.Repair {
			return fmt.Errorf("journal: %w: there is a checkpoint, but no log: run check --repair", kvferry.ErrCorrupt)
		}
		h.generation, h.base = bases[n-1], bases[n-1]
	}
	b, err := build(ctx, j.o.FS, h)
	if errors.Is(err, errTaken) || errors.Is(err, fs.ErrNotExist) {
		return errAgain
	}
	if err != nil {
		return err
	}
	if n, err := newest(j.o.FS); err != nil || n != 0 {
		return b.discard(j.o.FS, errors.Join(err, errAgain))
	}
	if err := b.finish(); err != nil {
		return b.discard(j.o.FS, err)
	}
	if err := errors.Join(b.publish(j.o.FS), b.f.Close()); err != nil {
		return fmt.Errorf("journal: make the first log: %w", err)
	}
	return errAgain
}

// makeDirs makes the directories durably. If that fails it removes them, since
// of directories that are there nobody could make up for it.
func makeDirs(f vfs.FS) error {
	dirs := []string{logDir, indexDir}
	for _, d := range dirs {
		if err := f.Mkdir(d); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("journal: make %s: %w", d, space(err))
		}
	}
	err := f.SyncDir(".")
	if err == nil {
		return nil
	}
	for _, d := range dirs {
		_ = f.Remove(d) // unless somebody was faster, who synced it
	}
	return fmt.Errorf("journal: make %v: %w", dirs, err)
}

// publish gives the generation its name, durably. Once that failed, trying
// again would not tell: the log remains suspect.
func (b *builder) publish(f vfs.FS) error {
	if err := f.Rename(newName(b.generation.generation), logName(b.generation.generation)); err != nil {
		return space(err)
	}
	if err := f.SyncDir(logDir); err != nil {
		return err
	}
	return b.writeWords(words{committed: b.end.off, durable: b.end.off})
}

// open opens generation n, which is the newest unless it was replaced meanwhile.
func (j *Journal) open(ctx context.Context, n uint64) error {
	g, err := openGeneration(&j.o, n, j.lenient())
	if errors.Is(err, fs.ErrNotExist) {
		return errAgain
	}
	if err != nil {
		return err
	}
	if j.o.ReadOnly {
		err = j.openTail(ctx, g)
	} else {
		err = j.openTidy(ctx, g)
	}
	if err != nil {
		return errors.Join(err, g.f.Close())
	}
	return nil
}

// openTail enters g as far as its transactions are sound, whatever the words
// say: after a power failure they may be older than what was acknowledged.
func (j *Journal) openTail(ctx context.Context, g *generation) error {
	word := g.watched()
	s, err := j.survey(ctx, g.f, g.header)
	if err != nil {
		return err
	}
	if n, err := newest(j.o.FS); err != nil || n > g.generation {
		return errors.Join(err, errAgain)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.enterLocked(g)
	j.noteLocked(s.lost...)
	j.tail = tail{loose: s.end.off > s.words.committed, confirmed: s.confirmed, word: word, end: s.end.off, dropped: s.dropped}
	j.applied = g.first - 1
	return nil
}

// openTidy locks g, tidies up and enters it or what replaces it.
func (j *Journal) openTidy(ctx context.Context, g *generation) error {
	if err := g.f.Lock(ctx); err != nil {
		return fmt.Errorf("journal: lock log %016x: %w", g.generation, err)
	}
	_, named, err := g.named(j.o.FS)
	if err != nil {
		return err
	}
	n, err := newest(j.o.FS)
	if err != nil {
		return err
	}
	if n != g.generation || !named {
		return errAgain
	}
	s, err := j.survey(ctx, g.f, g.header)
	if err != nil {
		return err
	}
	s.tidy = s.tidy && !g.rotten
	if len(s.lost)+len(g.faults) > 0 {
		if err := j.tellDamaged(); err != nil {
			return err
		}
	}
	b, err := j.recover(ctx, g.f, g.header, s)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(g.faults...)
	j.noteLocked(s.lost...)
	if b != nil {
		tidyUp(ctx, j.o.FS, b.header)
		return errors.Join(b.f.Close(), errAgain) // g is closed by open
	}
	tidyUp(ctx, j.o.FS, g.header)
	j.enterLocked(g)
	j.applied = g.first - 1
	if err := g.f.Unlock(); err != nil {
		return fmt.Errorf("journal: unlock log %016x: %w", g.generation, err)
	}
	return nil
}
