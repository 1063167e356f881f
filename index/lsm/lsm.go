package lsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/feed"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Index is a residency index in a directory. One process has it open.
type Index struct {
	o    Options
	db   *pebble.DB
	fs   *watchedFS
	feed *feed.Feed
	gate gate

	lockFile *pebble.Lock
	flushed  *mark // the newest change that is durable
	pressure *pressure

	writer  chan struct{} // holds a token while nobody writes
	scratch []byte        // of the writer
	// partBytes is the constant, or less in tests.
	partBytes int
	limit     uint64 // no change has a number beyond it, see number; of the writer
	seen      map[identity]struct{}

	workers *workers
	counts  counts
}

var _ index.Index = (*Index)(nil)

// Open opens the index in dir, which is made if it is missing. What it finds
// damaged is ErrCorrupt, an index that was made under other rules ErrInvalid, a
// directory that another process has open ErrReadOnly.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	o.EnsureDefaults()
	if err := errors.Join(o.Validate(), ctx.Err()); err != nil {
		return nil, err
	}
	x := &Index{
		o: o, fs: watch(o.FS), writer: make(chan struct{}, 1), seen: map[identity]struct{}{}, partBytes: partBytes,
		workers: newWorkers(), pressure: newPressure(),
	}
	x.gate.init()
	err := x.takeOver(ctx, dir)
	if err == nil {
		err = x.fs.failed()
	}
	if err != nil {
		return nil, x.failure("opening "+dir, errors.Join(err, x.end()))
	}
	x.writer <- struct{}{}
	return x, nil
}

// takeOver opens what is in the directory.
func (x *Index) takeOver(ctx context.Context, dir string) (err error) {
	if err := x.makeDir(dir); err != nil {
		return err
	}
	if x.lockFile, err = pebble.LockDirectory(dir, x.fs); err != nil {
		if errno := syscall.Errno(0); !errors.As(err, &errno) { // Pebble's own: this process has it
			err = fmt.Errorf("it is open already: %w: %w", kvferry.ErrReadOnly, err)
		}
		return err
	}
	if x.fs.manifest, err = openMark(x.fs, dir, manifestName); err != nil {
		return err
	}
	if err := checkManifest(x.fs, dir, x.fs.manifest); err != nil {
		return err
	}
	if x.db, err = openPebble(dir, &x.o, x.fs, x.lockFile, x.pressure); err != nil {
		return err
	}
	x.fs.opened.Store(true)
	seq, limit, err := x.loadRows(ctx)
	if err != nil {
		return err
	}
	if x.flushed, err = openMark(x.fs, dir, flushedName); err != nil {
		return err
	}
	if durable, _ := x.flushed.get(); seq < durable {
		return fmt.Errorf("change %d was flushed, but the log ends with %d: %w", durable, seq, kvferry.ErrCorrupt)
	}
	seq = max(seq, limit)
	x.feed = feed.New(x.o.History, seq)
	return x.number(seq, seq+reserved)
}

// makeDir makes the directory if it is missing, durably.
func (x *Index) makeDir(dir string) error {
	if x.o.FS == pebblevfs.Default {
		return vfs.OSMake(dir)
	}
	if err := x.fs.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	d, err := x.fs.OpenDir(x.fs.PathDir(dir))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Info implements index.Keeper.
func (x *Index) Info() index.Info {
	return index.Info{Name: "lsm", Persistent: true, Rules: x.o.Rules}
}

// Metrics implements index.Keeper.
func (x *Index) Metrics(ctx context.Context) (index.Metrics, error) {
	if err := x.enter(ctx); err != nil {
		return index.Metrics{}, err
	}
	defer x.gate.leave()
	m := x.counts.metrics()
	x.workers.add(&m)
	m.BytesWritten, m.Seq = x.fs.written.Load(), x.feed.Seq()
	return m, nil
}

// Flush implements index.Keeper.
func (x *Index) Flush(ctx context.Context) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	defer x.gate.leave()
	return x.flush(ctx)
}

func (x *Index) flush(ctx context.Context) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	seq := x.feed.Seq()
	if durable, _ := x.flushed.get(); seq <= durable {
		x.unlock()
		return nil
	}
	b := x.db.NewBatch()
	err := b.LogData([]byte("flush"), nil)
	if err == nil {
		err = x.apply(b, true)
	}
	x.unlock()
	return x.settle("flush", b, err, true, seq)
}

// Close implements index.Keeper.
func (x *Index) Close() error {
	if !x.gate.close() {
		return nil
	}
	err := x.finish()
	x.feed.Close()
	return errors.Join(err, x.end())
}

// end closes what takeOver opened.
func (x *Index) end() error {
	x.fs.stop() // whoever waits in it does so no longer
	var errs []error
	if x.db != nil {
		errs = append(errs, x.db.Close())
	}
	errs = append(errs, x.flushed.close(), x.fs.manifest.close())
	if x.lockFile != nil {
		errs = append(errs, x.lockFile.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return x.failure("closing", err)
	}
	return nil
}

// enter begins a call, which ends with gate.leave if there is no error.
func (x *Index) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !x.gate.enter() {
		return fmt.Errorf("lsm: %w", kvferry.ErrClosed)
	}
	return nil
}

// failure says what an error of Pebble or of the file system is.
func (x *Index) failure(op string, err error) error {
	kind := error(nil)
	switch {
	case errors.Is(err, kvferry.ErrCorrupt), errors.Is(err, kvferry.ErrInvalid):
	case pebble.IsCorruptionError(err), op != "closing" && errors.Is(err, fs.ErrNotExist):
		kind = kvferry.ErrCorrupt // a file is missing that others name
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		kind = kvferry.ErrNoSpace
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS):
		kind = kvferry.ErrReadOnly // EAGAIN: another process has the directory
	}
	if kind == nil {
		return fmt.Errorf("lsm: %s: %w", op, err)
	}
	return fmt.Errorf("lsm: %s: %w: %w", op, kind, err)
}
