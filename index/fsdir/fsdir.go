package fsdir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/feed"
	"github.com/kvferry/kvferry/index/memory"
	"github.com/kvferry/kvferry/internal/vfs"
)

// reserved is how many changes are numbered before the file of the sequence is
// written anew. After a crash that many numbers may be skipped, but none is used
// twice.
const reserved = 1 << 20

// Index is a residency index in a directory. One process has it open.
type Index struct {
	o    Options
	lock vfs.File
	feed *feed.Feed
	live *memory.Index

	writer chan struct{} // holds a token while nobody writes; guards what follows
	files  files
	limit  uint64 // no change has a number beyond it before the sequence is written
	closed bool
	// staleBy is what is in stale by worker, nil if it is to be found anew.
	staleBy map[string][]index.Record

	mu          sync.RWMutex // held while records move between live and stale
	stale       *memory.Index
	unconfirmed map[string]struct{} // workers of which nothing was heard since the opening
	lives       map[string]life
	announces   uint64
	forgot      bool // lives of workers that are not known any more
	mostIdle    int  // maxIdle, but in tests

	puts, removes, cleared, expired atomic.Uint64
}

var _ index.Index = (*Index)(nil)

// Open opens the index in dir, which is made if it is missing. Damaged files are
// no error: Check tells of them. Damage that leaves nothing to open is
// ErrCorrupt, other rules than those that the index was made under are
// ErrInvalid, and a directory that another process has open is ErrReadOnly.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	o.EnsureDefaults()
	if err := errors.Join(o.Validate(), ctx.Err()); err != nil {
		return nil, err
	}
	if o.FS == nil {
		err := vfs.OSMake(dir)
		if err == nil {
			o.FS, err = vfs.OS(dir)
		}
		if err != nil {
			return nil, typed("open", err)
		}
	}
	x := &Index{
		o: o, writer: make(chan struct{}, 1), unconfirmed: map[string]struct{}{}, lives: map[string]life{}, mostIdle: maxIdle,
		files: files{fs: o.FS, fresh: map[string]struct{}{}, dirty: map[string]struct{}{}},
	}
	if err := x.begin(ctx); err != nil {
		return nil, errors.Join(err, x.end())
	}
	x.writer <- struct{}{}
	return x, nil
}

// begin takes the directory over.
func (x *Index) begin(ctx context.Context) error {
	if err := x.makeDirs(); err != nil {
		return typed("open", err)
	}
	if err := x.takeLock(); err != nil {
		return err
	}
	if err := x.clearTmp(); err != nil {
		return typed("open", err)
	}
	isNew, err := x.checkFormat()
	if err != nil {
		return err
	}
	m := memory.Options{Options: index.Options{Rules: x.o.Rules, History: 1}}
	if x.live, err = memory.New(m); err == nil {
		x.stale, err = memory.New(m)
	}
	if err != nil {
		return err
	}
	last, err := x.loadSequence(isNew)
	if err != nil {
		return err
	}
	x.feed = feed.New(x.o.History, last.Change)
	if err := x.load(ctx, last.Closed); err != nil {
		return err
	}
	return x.reserve(last.Change)
}

func (x *Index) makeDirs() error {
	for _, dir := range [...]string{scopesName, workersName, tmpName} {
		if err := x.files.mkdir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (x *Index) takeLock() error {
	f, err := x.o.FS.Open(lockName, vfs.Create)
	if err != nil {
		return typed("open", err)
	}
	x.lock = f
	free, err := f.TryLock()
	if err != nil {
		return typed("open", err)
	}
	if !free {
		return fmt.Errorf("fsdir: open: another process has the directory, or this one already: %w", kvferry.ErrReadOnly)
	}
	return nil
}

// checkFormat reads the file that says what this is, and writes it if it is
// missing: the index is new then.
func (x *Index) checkFormat() (isNew bool, err error) {
	want := "kvferry residency index 1, rules " + x.o.Rules.String() + "\n"
	got, err := read(x.o.FS, formatName)
	if errors.Is(err, fs.ErrNotExist) {
		isNew, got, err = true, []byte(want), x.files.replace(formatName, []byte(want))
	}
	if err != nil {
		return false, typed("open", err)
	}
	if string(got) == want {
		return isNew, x.foldsCase()
	}
	for _, rules := range [...]index.Rules{index.Recommended, index.AsMemory, index.AsHolt} {
		if string(got) == "kvferry residency index 1, rules "+rules.String()+"\n" {
			return false, fmt.Errorf("fsdir: open: the index was made under the rules %v, not %v: %w", rules, x.o.Rules, kvferry.ErrInvalid)
		}
	}
	return false, fmt.Errorf("fsdir: open: the file %q is not one of this version: %w", formatName, kvferry.ErrCorrupt)
}

// foldsCase reports whether names are the same that differ in case alone. A record
// could then take the place of another one.
func (x *Index) foldsCase() error {
	_, err := x.o.FS.Stat(strings.ToUpper(formatName))
	switch {
	case err == nil:
		return fmt.Errorf("fsdir: open: the file system does not tell lower case from upper: %w", kvferry.ErrUnsupported)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return typed("open", err)
}

// loadSequence reads which change is the newest. If somebody removed that file,
// which mends a damaged one, it is one that none has reached: there is no index
// with a change for each microsecond since 1970.
func (x *Index) loadSequence(isNew bool) (newest, error) {
	var last newest
	b, err := read(x.o.FS, sequenceName)
	switch {
	case err == nil:
		last, err = parseSequence(b)
	case errors.Is(err, fs.ErrNotExist):
		if err = nil; !isNew {
			last.Change = uint64(time.Now().UnixMicro())
		}
	}
	if errors.Is(err, kvferry.ErrCorrupt) {
		err = fmt.Errorf("remove it, and the next change has a number beyond all others: %w", err)
	}
	if err != nil {
		return last, typed("open: "+sequenceName, err)
	}
	return last, nil
}

// reserve makes sure that no number up to some beyond seq is used after a crash.
func (x *Index) reserve(seq uint64) error {
	if err := x.writeSequence(newest{Change: seq + reserved}); err != nil {
		return err
	}
	x.limit = seq + reserved
	return nil
}

func (x *Index) writeSequence(n newest) error {
	b, err := sequenceFile(n)
	if err == nil {
		err = x.files.replace(sequenceName, b)
	}
	if err != nil {
		return typed("sequence", err)
	}
	return nil
}

// enter waits until nobody else writes. leave is called later.
func (x *Index) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-x.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	if x.closed {
		x.leave()
		return fmt.Errorf("fsdir: %w", kvferry.ErrClosed)
	}
	return nil
}

func (x *Index) leave() { x.writer <- struct{}{} }

// enterWrite is enter for those who change something.
func (x *Index) enterWrite(ctx context.Context) error {
	err := x.enter(ctx)
	if err != nil {
		return err
	}
	if err = x.files.refuse(); err == nil && x.feed.Seq() >= x.limit {
		err = x.reserve(x.feed.Seq())
	}
	if err != nil {
		x.leave()
	}
	return err
}

// Info implements index.Keeper.
func (x *Index) Info() index.Info {
	return index.Info{Name: "fsdir", Persistent: true, Rules: x.o.Rules}
}

// Flush implements index.Keeper.
func (x *Index) Flush(ctx context.Context) error {
	if err := x.enterWrite(ctx); err != nil {
		return err
	}
	defer x.leave()
	return x.flush()
}

func (x *Index) flush() error {
	if err := x.files.flush(); err != nil {
		return typed("flush", err)
	}
	return nil
}

// Close implements index.Keeper.
func (x *Index) Close() error {
	<-x.writer
	defer x.leave()
	if x.closed {
		return nil
	}
	x.closed = true
	err := x.files.refuse()
	if err == nil {
		err = x.flush()
	}
	if err == nil {
		err = x.writeSequence(newest{Change: x.feed.Seq(), Closed: true})
	}
	return errors.Join(err, x.end())
}

// end closes what begin opened.
func (x *Index) end() error {
	var errs []error
	if x.feed != nil {
		x.feed.Close()
	}
	for _, m := range [...]*memory.Index{x.live, x.stale} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	if x.lock != nil {
		errs = append(errs, x.lock.Close())
	}
	if err := errors.Join(append(errs, x.o.FS.Close())...); err != nil {
		return typed("close", err)
	}
	return nil
}

// Locate implements index.Reader.
func (x *Index) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	return x.live.Locate(ctx, k, dst)
}

// Scan implements index.Reader.
func (x *Index) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	return x.live.Scan(ctx, s, prefix, dst)
}

// ByHash implements index.Reader.
func (x *Index) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	return x.live.ByHash(ctx, hash, dst)
}

// Match implements index.Reader.
func (x *Index) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	return x.live.Match(ctx, q, dst)
}

// Snapshot implements index.Reader.
func (x *Index) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	seq := x.feed.Seq() // what has a number is in live
	_, err := x.live.Snapshot(ctx, visit)
	return seq, err
}

// Watch implements index.Watcher.
func (x *Index) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	return x.feed.Watch(ctx, after)
}

// Metrics implements index.Keeper.
func (x *Index) Metrics(ctx context.Context) (index.Metrics, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	m, err := x.live.Metrics(ctx)
	if err != nil {
		return m, err
	}
	stale, err := x.stale.Metrics(ctx)
	if err != nil {
		return m, err
	}
	workers, err := x.workersLocked(ctx)
	if err != nil {
		return m, err
	}
	m.StaleBlocks, m.Workers = stale.ResidentBlocks, uint64(len(workers))
	m.Puts, m.Removes, m.Cleared, m.Expired = x.puts.Load(), x.removes.Load(), x.cleared.Load(), x.expired.Load()
	m.BytesWritten, m.Seq = x.files.written.Load(), x.feed.Seq()
	return m, nil
}
