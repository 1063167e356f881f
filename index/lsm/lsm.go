package lsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/feed"
)

// Index is a residency index in a directory. One process has it open.
type Index struct {
	o    Options
	db   *pebble.DB
	fs   *watchedFS
	feed *feed.Feed
	mark *mark
	gate gate

	writer  chan struct{} // holds a token while nobody writes
	scratch []byte        // of the writer
	seen    map[identity]struct{}

	workers *workers
	counts  counts
}

var _ index.Index = (*Index)(nil)

// Open opens the index in dir, which is made if it is missing. What it finds
// damaged is ErrCorrupt; an index that was made under other rules is ErrInvalid.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	o.EnsureDefaults()
	if err := errors.Join(o.Validate(), ctx.Err()); err != nil {
		return nil, err
	}
	x := &Index{o: o, fs: watch(o.FS), writer: make(chan struct{}, 1), seen: map[identity]struct{}{}, workers: newWorkers()}
	x.gate.init()
	db, err := openPebble(dir, &x.o, x.fs)
	if err != nil {
		return nil, x.failure("opening "+dir, err)
	}
	x.db = db
	if err := errors.Join(x.load(ctx, dir), x.fs.failed()); err != nil {
		return nil, x.failure("opening "+dir, errors.Join(err, x.end()))
	}
	x.fs.opened.Store(true)
	x.writer <- struct{}{}
	return x, nil
}

// load reads rows and mark, and brings both into the state of an open index.
func (x *Index) load(ctx context.Context, dir string) error {
	seq, err := x.loadRows(ctx)
	if err != nil {
		return err
	}
	if x.mark, err = openMark(x.fs, x.fs.PathJoin(dir, markName)); err != nil {
		return err
	}
	if seq < x.mark.seq {
		return fmt.Errorf("change %d was flushed, but the log ends with %d: %w", x.mark.seq, seq, kvferry.ErrCorrupt)
	}
	x.feed = feed.New(x.o.History, seq)
	return nil
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
	if seq <= x.mark.synced() {
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
	err := x.flush(context.Background())
	x.feed.Close()
	return errors.Join(err, x.end())
}

// end closes what Open opened.
func (x *Index) end() error {
	var errs []error
	if x.mark != nil {
		errs = append(errs, x.mark.close())
	}
	x.fs.stop() // whoever waits in it does so no longer
	if err := errors.Join(append(errs, x.db.Close())...); err != nil {
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
	}
	if kind == nil {
		return fmt.Errorf("lsm: %s: %w", op, err)
	}
	return fmt.Errorf("lsm: %s: %w: %w", op, kind, err)
}
