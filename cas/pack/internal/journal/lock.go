package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// lockFile is the log opened once more to append to it, apart from the one that
// Follow reads, which moves on without waiting for locks.
type lockFile struct {
	header
	f  vfs.File
	id uint64
}

// Lock waits for the right to append, in this process and among all, and
// Follows to the end of the log. What a writer left that died, or whose
// synchronisation failed, is tidied up first, and belongs to what is applied.
//
// ErrPoisoned is returned once an Append has failed, ErrRebased as by Follow.
func (j *Journal) Lock(ctx context.Context, apply func(Tx) error) (*Writer, error) {
	if err := j.writable(); err != nil {
		return nil, err
	}
	select {
	case j.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("journal: lock: %w", ctx.Err())
	}
	var w *Writer
	err := again(func() (err error) {
		w, err = j.lock(ctx, apply)
		return err
	})
	if err != nil {
		j.letGo()
		<-j.turn
		return nil, space(err)
	}
	return w, nil
}

func (j *Journal) writable() error {
	if j.o.ReadOnly {
		return fmt.Errorf("journal: lock: %w", kvferry.ErrReadOnly)
	}
	if err := j.Err(); err != nil {
		return fmt.Errorf("journal: lock: %w", err)
	}
	return nil
}

// Err returns why nothing can be appended any more, ErrPoisoned, or nil.
func (j *Journal) Err() error {
	if err := j.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// poison makes this and every later Lock and Append fail.
func (j *Journal) poison(cause error) error {
	err := fmt.Errorf("%w: %w", kvferry.ErrPoisoned, space(cause))
	j.failure.CompareAndSwap(nil, &err)
	return fmt.Errorf("journal: append: %w", err)
}

// letGo gives the file lock back. A lock that cannot be released is closed.
func (j *Journal) letGo() {
	if j.w != nil && j.w.f.Unlock() != nil {
		_ = j.w.f.Close() // every byte that matters was synced, or its loss told
		j.w = nil
	}
}

// lock has the turn, and tries once to lock the newest generation.
func (j *Journal) lock(ctx context.Context, apply func(Tx) error) (*Writer, error) {
	if err := j.writable(); err != nil { // the one before may have failed
		return nil, err
	}
	if err := j.openLock(ctx, apply); err != nil {
		return nil, err
	}
	if err := j.w.f.Lock(ctx); err != nil {
		return nil, fmt.Errorf("journal: lock log %016x: %w", j.w.generation, err)
	}
	w, whole, err := readWords(j.w.f)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("journal: log %016x: %w", j.w.generation, err)
	}
	info, err := j.checkNewest(ctx, w.successor == 0 && whole, apply)
	if err != nil {
		return nil, err
	}
	if !j.Fresh() {
		if err := j.Follow(ctx, apply); err != nil {
			return nil, err
		}
	}
	left, err := j.leftover(w.committed, info.Size)
	if err != nil {
		return nil, err
	}
	if !whole || w.suspect || left {
		return nil, j.tidy(ctx, apply)
	}
	return j.begin(w, info.Size)
}

// openLock opens the generation that is followed for appending.
func (j *Journal) openLock(ctx context.Context, apply func(Tx) error) error {
	j.mu.Lock()
	h, id, closed := j.g.header, j.g.id, j.closed
	j.mu.Unlock()
	if closed {
		return fmt.Errorf("journal: lock: %w", kvferry.ErrClosed)
	}
	if j.w != nil && j.w.id == id && j.w.generation == h.generation {
		return nil
	}
	if j.w != nil {
		_ = j.w.f.Close()
		j.w = nil
	}
	f, err := j.o.FS.Open(logName(h.generation), vfs.ReadWrite)
	if errors.Is(err, fs.ErrNotExist) {
		return j.moved(ctx, h.generation, apply)
	}
	if err != nil {
		return fmt.Errorf("journal: lock: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.ID != id {
		err = gone(h.generation)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal: lock: %w", err), f.Close())
	}
	j.w = &lockFile{header: h, f: f, id: id}
	return nil
}

func gone(g uint64) error {
	return fmt.Errorf("%w: log %016x was removed or replaced while it was in use", kvferry.ErrCorrupt, g)
}

// moved follows to a newer generation than g, and returns errAgain. If there is
// none, then the log was taken away.
func (j *Journal) moved(ctx context.Context, g uint64, apply func(Tx) error) error {
	n, err := newestAfter(j.o.FS, g)
	if err != nil {
		return err
	}
	if n <= g {
		return fmt.Errorf("journal: %w", gone(g))
	}
	j.letGo()
	if err := j.Follow(ctx, apply); err != nil {
		return err
	}
	return errAgain
}

// checkNewest makes sure, with the lock, that it is the lock of the newest
// generation.
func (j *Journal) checkNewest(ctx context.Context, alone bool, apply func(Tx) error) (vfs.Info, error) {
	info, err := j.o.FS.Stat(logName(j.w.generation))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return info, fmt.Errorf("journal: lock: %w", err)
	}
	if err != nil || info.ID != j.w.id {
		return info, j.moved(ctx, j.w.generation, apply)
	}
	if alone {
		return info, nil
	}
	n, err := newest(j.o.FS)
	if err == nil && n > j.w.generation {
		err = j.moved(ctx, j.w.generation, apply)
	}
	return info, err
}

// leftover tells whether there is anything behind the committed transactions.
func (j *Journal) leftover(committed, size int64) (bool, error) {
	if committed < firstTx || committed > size {
		return true, nil
	}
	if committed == size {
		return false, nil
	}
	var b [txHeader]byte
	if err := readFull(j.w.f, b[:min(txHeader, size-committed)], committed); err != nil {
		return false, fmt.Errorf("journal: log %016x: %w", j.w.generation, err)
	}
	return b != [txHeader]byte{}, nil
}

// tidy replaces the locked generation by a tidy one and returns errAgain.
func (j *Journal) tidy(ctx context.Context, apply func(Tx) error) error {
	s, err := j.survey(ctx, j.w.f, j.w.header)
	if err != nil {
		return err
	}
	s.tidy = false // it does not look so from here
	if len(s.lost) > 0 {
		if err := j.tellDamaged(); err != nil {
			return err
		}
	}
	b, err := j.recover(ctx, j.w.f, j.w.header, s)
	if err != nil {
		return err
	}
	tidyUp(ctx, j.o.FS, b.header)
	j.adopt(b)
	if err := j.Follow(ctx, apply); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(s.lost...)
	return errAgain
}

// adopt makes a new generation the one that is locked.
func (j *Journal) adopt(b *builder) {
	_ = j.w.f.Close() // which nobody appends to any more
	j.w = &lockFile{header: b.header, f: b.f, id: b.id}
}

// begin makes the Writer.
func (j *Journal) begin(words words, size int64) (*Writer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.cur.off != words.committed {
		return nil, fmt.Errorf("journal: lock: %w: log %016x ends at %d, not at %d", kvferry.ErrCorrupt, j.w.generation, j.cur.off, words.committed)
	}
	w := &Writer{j: j, end: j.cur, words: words, size: size}
	if words.successor != 0 { // which somebody died over
		w.words.successor = 0
		if err := w.publishLocked(); err != nil {
			return nil, j.poison(err)
		}
	}
	return w, nil
}
