package art

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index/internal/feed"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Recovery says what Open found.
type Recovery struct {
	Generation uint64 // of the snapshot that it began with; 0: with none
	Changes    uint64 // that were read from logs
	// TornBytes at the end of the log were no whole change: a write that a crash
	// interrupted, which nobody was told is durable. They were cut off.
	TornBytes int64
	TornAt    int64
	// Damaged are snapshots that do not hold. One before and logs took their place.
	Damaged []string
}

// Open opens the index in the directory dir, which is made if it is missing. One
// Index has a directory at a time: while another one has it open, that is
// ErrReadOnly. Damage that could hide a change that was durable is ErrCorrupt,
// with the file and the offset.
func Open(ctx context.Context, dir string, o Options) (*Index, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	x := &Index{o: o, dir: dir, fs: o.FS, turn: make(chan struct{}, 1)}
	if x.fs == nil {
		if err := vfs.OSMake(dir); err != nil {
			return nil, fmt.Errorf("art: open: %w", space(err))
		}
		fs, err := vfs.OS(dir)
		if err != nil {
			return nil, fmt.Errorf("art: open: %w", err)
		}
		x.fs = fs
	}
	if err := x.open(ctx); err != nil {
		if x.state != nil {
			err = errors.Join(err, x.state.drop())
		}
		if x.log != nil {
			err = errors.Join(err, x.log.close())
		}
		if x.lock != nil {
			err = errors.Join(err, x.release())
		} else if o.FS == nil {
			err = errors.Join(err, x.fs.Close())
		}
		return nil, fmt.Errorf("art: open %s: %w", dir, space(err))
	}
	return x, nil
}

// space adds ErrNoSpace to the error of a full disk.
func space(err error) error {
	if full(err) && !errors.Is(err, kvferry.ErrNoSpace) {
		return fmt.Errorf("%w: %w", kvferry.ErrNoSpace, err)
	}
	return err
}

// Recovery returns what Open found.
func (x *Index) Recovery() Recovery { return x.opened }

func (x *Index) open(ctx context.Context) error {
	lock, err := x.fs.Open(lockName, vfs.Create)
	if err != nil {
		return err
	}
	x.lock = lock
	if ok, err := lock.TryLock(); err != nil || !ok {
		if err == nil {
			err = fmt.Errorf("another index has it open, close that one first: %w", kvferry.ErrReadOnly)
		}
		return err
	}
	have, err := list(x.fs)
	if err != nil {
		return err
	}
	for _, name := range have.unfinished {
		if err := x.fs.Remove(name); err != nil {
			return err
		}
	}
	if len(have.logs)+len(have.snapshots) == 0 {
		err = x.create()
	} else if err = x.fs.SyncDir("."); err == nil {
		// The process before may have named a log and not lived to make that durable.
		err = x.recover(ctx, have)
	}
	if err != nil {
		return err
	}
	x.mapped(x.log)
	x.state.doubt()
	return nil
}

// mapped makes the log one that is mapped, if it can be.
func (x *Index) mapped(l *log) {
	if x.o.FS == nil && !x.o.Write {
		l.m, _ = mapLog(filepath.Join(x.dir, logName(l.generation))) // else it is written
	}
}

// create begins an empty index.
func (x *Index) create() (err error) {
	x.state = newState(x.o.Rules)
	x.log, _, err = createLog(x.fs, logHead{rules: uint32(x.o.Rules), generation: 1})
	x.compact.base = 1
	x.feed = feed.New(x.o.History, 0)
	x.metrics.written.Add(logHeadBytes)
	return err
}

// files are what a directory has.
type files struct {
	logs, snapshots []uint64 // in order
	unfinished      []string
}

func list(fs vfs.FS) (have files, err error) {
	all, err := fs.List(".")
	for _, f := range all {
		if g, ok := generationOf(f.Name, ".log"); ok {
			have.logs = append(have.logs, g)
		} else if g, ok := generationOf(f.Name, ".snapshot"); ok {
			have.snapshots = append(have.snapshots, g)
		} else if base, ok := strings.CutSuffix(f.Name, tempName); ok && f.Regular && ours(base) {
			have.unfinished = append(have.unfinished, f.Name)
		}
	}
	slices.Sort(have.logs)
	slices.Sort(have.snapshots)
	return have, err
}

func ours(name string) bool {
	_, isLog := generationOf(name, ".log")
	_, isSnapshot := generationOf(name, ".snapshot")
	return isLog || isSnapshot
}

// from returns the generations of the logs from g on, if all are there, up to
// that of the newest snapshot at least: its log was made before.
func (f *files) from(g uint64) ([]uint64, bool) {
	i, ok := slices.BinarySearch(f.logs, g)
	if n := len(f.snapshots); n > 0 && ok && f.logs[len(f.logs)-1] < f.snapshots[n-1] {
		return nil, false
	}
	if !ok || f.logs[len(f.logs)-1]-g != uint64(len(f.logs)-1-i) {
		return nil, false
	}
	return f.logs[i:], true
}

// recover begins with the newest snapshot that holds and has all logs behind it.
func (x *Index) recover(ctx context.Context, have files) error {
	var causes []error
	for _, g := range slices.Backward(have.snapshots) {
		logs, ok := have.from(g)
		if !ok {
			causes = append(causes, fmt.Errorf("logs behind %s are missing: %w", snapshotName(g), kvferry.ErrCorrupt))
			continue
		}
		s, h, size, err := loadSnapshot(x.fs, g, x.o.Rules)
		if errors.Is(err, kvferry.ErrCorrupt) {
			x.opened.Damaged = append(x.opened.Damaged, snapshotName(g))
			causes = append(causes, err)
			continue
		}
		if err != nil {
			return err
		}
		x.state, x.opened.Generation, x.compact.bytes, x.compact.base = s, g, size, g
		return x.replayLogs(ctx, logs, h.seq)
	}
	if logs, ok := have.from(1); ok {
		x.state, x.compact.base = newState(x.o.Rules), 1
		return x.replayLogs(ctx, logs, 0)
	}
	return errors.Join(append(causes, fmt.Errorf("neither a snapshot nor the first log: %w", kvferry.ErrCorrupt))...)
}

// replayLogs makes the changes of all logs, and goes on with the last.
func (x *Index) replayLogs(ctx context.Context, logs []uint64, seq uint64) (err error) {
	end, closed := int64(-1), false
	for i, g := range logs {
		r := &logReader{x: x, ctx: ctx, name: logName(g), seq: seq, last: i == len(logs)-1}
		if end, err = r.read(g, end); err != nil {
			return err
		}
		x.opened.Changes += r.changes
		seq, closed = r.seq, r.closed && x.opened.TornBytes == 0
	}
	if !closed {
		seq = nextLife(seq)
	}
	x.feed = feed.New(x.o.History, seq)
	if err := x.trust(); err != nil {
		return err
	}
	return x.begun()
}
