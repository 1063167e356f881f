package art

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/feed"
	"github.com/kvferry/kvferry/internal/vfs"
)

// Index is a residency index on disk.
type Index struct {
	o    Options
	dir  string
	fs   vfs.FS
	lock vfs.File
	feed *feed.Feed

	mu      sync.RWMutex // guards what follows: held by readers, and while the state changes
	state   *state
	closed  bool
	watched bool // somebody ever watched

	turn    chan struct{} // full while somebody writes; guards what follows
	log     *log
	buf     []byte
	ids     []numbers
	marked  int64 // what log.told is once buf is written
	unsaid  bool  // the log does not say where the numbers of this life begin
	news    news
	last    lastNames
	stopped error // why nothing is written any more; ErrClosed at the end
	compact compact

	queue   queue
	writing sync.WaitGroup // snapshots
	metrics metrics
	opened  Recovery
}

var _ index.Index = (*Index)(nil)

// metrics are the counts since the index was opened.
type metrics struct {
	puts, removes, scans, locates, matches, cleared, expired, written atomic.Uint64
}

// take waits for the turn to write.
func (x *Index) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case x.turn <- struct{}{}:
	default:
		select {
		case x.turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if x.stopped != nil {
		x.give()
		return x.stopped
	}
	return nil
}

func (x *Index) give() { <-x.turn }

// fail stops all writing. The caller has the turn.
func (x *Index) fail(op string, cause error) error {
	err := fmt.Errorf("art: %s: open the index again: %w: %w", op, kvferry.ErrPoisoned, cause)
	if x.stopped == nil {
		x.stopped = err
	}
	return err
}

var errClosed = fmt.Errorf("art: %w", kvferry.ErrClosed)

// view begins a reader; the caller ends it with x.mu.RUnlock if there is no
// error.
func (x *Index) view(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x.mu.RLock()
	if x.closed {
		x.mu.RUnlock()
		return errClosed
	}
	return nil
}

// Locate implements index.Reader.
func (x *Index) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	if err := x.view(ctx); err != nil {
		return dst, err
	}
	dst = x.state.locate(k, dst)
	x.mu.RUnlock()
	x.metrics.locates.Add(1)
	return dst, nil
}

// Scan implements index.Reader.
func (x *Index) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	if err := x.view(ctx); err != nil {
		return dst, err
	}
	dst = x.state.scan(s, prefix, dst)
	x.mu.RUnlock()
	x.metrics.scans.Add(1)
	return dst, nil
}

// ByHash implements index.Reader.
func (x *Index) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	if err := x.view(ctx); err != nil {
		return dst, err
	}
	defer x.mu.RUnlock()
	return x.state.byHash(hash, dst), nil
}

// Match implements index.Reader.
func (x *Index) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	if err := x.view(ctx); err != nil {
		return dst, err
	}
	dst = x.state.match(q, dst)
	x.mu.RUnlock()
	x.metrics.matches.Add(1)
	return dst, nil
}

// snapshotRecords are read at a time, so that writers do not wait for long.
const snapshotRecords = 512

// Snapshot implements index.Reader. Changes that are made meanwhile are seen if
// they are of records behind those that were visited.
func (x *Index) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	if err := x.view(ctx); err != nil {
		return 0, err
	}
	seq, parts := x.feed.Seq(), x.state.parts()
	x.mu.RUnlock()
	var rs []index.Record
	for i := range parts {
		for low, more := []byte(nil), true; more; more = low != nil {
			if err := x.view(ctx); err != nil {
				return seq, err
			}
			rs, low = x.state.some(&parts[i], low, rs[:0], snapshotRecords)
			x.mu.RUnlock()
			for i := range rs {
				if err := visit(&rs[i]); err != nil {
					return seq, err
				}
			}
		}
	}
	return seq, nil
}

// Watch implements index.Watcher.
func (x *Index) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watched = true
	return x.feed.Watch(ctx, after)
}

// Info implements index.Keeper.
func (x *Index) Info() index.Info {
	return index.Info{Name: "art", Persistent: true, Rules: x.o.Rules}
}

// Metrics implements index.Keeper.
func (x *Index) Metrics(ctx context.Context) (index.Metrics, error) {
	if err := x.view(ctx); err != nil {
		return index.Metrics{}, err
	}
	defer x.mu.RUnlock()
	c, m := x.state.count, &x.metrics
	return index.Metrics{
		ResidentBlocks: c.blocks - c.staleBlocks, ResidentBytes: c.bytes - c.staleBytes, StaleBlocks: c.staleBlocks,
		Puts: m.puts.Load(), Removes: m.removes.Load(), PrefixScans: m.scans.Load(), BytesWritten: m.written.Load(),
		Locates: m.locates.Load(), Matches: m.matches.Load(), Cleared: m.cleared.Load(), Expired: m.expired.Load(),
		Workers: uint64(x.state.known()), Seq: x.feed.Seq(),
	}, nil
}

// Flush implements index.Keeper. It is one fsync for all that call it meanwhile,
// and writers go on.
func (x *Index) Flush(ctx context.Context) error {
	if err := x.take(ctx); err != nil {
		return err
	}
	l, upto := x.log, x.log.end
	x.give()
	err := l.sync(upto)
	x.turn <- struct{}{} // what was synced is to be told, and so a failure
	defer x.give()
	if err != nil {
		return x.fail("flush", err)
	}
	if x.stopped != nil {
		return nil
	}
	return x.tell()
}

// tell marks in the log up to where it is durable. A full disk is no reason to
// fail: what was asked for is done.
func (x *Index) tell() error {
	x.buf = x.buf[:0]
	x.mark()
	if err := x.write("flush", x.buf); err != nil && x.stopped != nil {
		return err
	}
	return nil
}

// Close implements index.Keeper. What would make the next opening slow is put
// into a snapshot.
func (x *Index) Close() error {
	x.turn <- struct{}{}
	defer x.give()
	if errors.Is(x.stopped, kvferry.ErrClosed) {
		return nil
	}
	err := x.end()
	x.stopped = errClosed
	x.feed.Close()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	return errors.Join(err, x.state.drop(), x.log.close(), x.release())
}

// release gives the directory to others.
func (x *Index) release() error {
	err := x.lock.Close()
	if x.o.FS == nil {
		err = errors.Join(err, x.fs.Close())
	}
	return err
}
