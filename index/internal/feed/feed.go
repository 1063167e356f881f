// Package feed numbers the changes of an index and keeps the newest of them for
// its watchers. While nobody watches a change costs one atomic addition.
package feed

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// maxBytes bounds what the changes that are kept take, whatever the history: one
// may have a million records, and a record strings of any length.
const maxBytes = 64 << 20

// watched is the bit of Feed.word that tells that changes are kept.
const watched = 1

// Feed is the changes of one index. It is safe for concurrent use.
type Feed struct {
	// word has the newest number above the bit watched. Both in one word, no
	// change can be numbered behind the first Watch and not be kept.
	word    atomic.Uint64
	history int

	mu     sync.Mutex
	kept   map[uint64]copied
	bytes  int    // of kept
	first  uint64 // no change before this one is kept, or ever will be
	wake   chan struct{}
	asleep bool // somebody waits for wake
	closed bool
	// walks are how many watchers look at changes now; the last came or went when the
	// newest change was left. After patience more nothing is kept until another comes.
	walks    int
	left     uint64
	patience uint64
}

// patience is how many times as many changes as are kept go by, or as are kept if
// not said otherwise, before an index that nobody watches keeps none.
const patience = 16

// New returns a feed that keeps so many changes, of an index whose newest change
// so far has the number newest.
func New(history int, newest uint64) *Feed {
	f := &Feed{history: max(history, 1), wake: make(chan struct{})}
	f.patience = patience * min(uint64(max(f.history, index.DefaultHistory)), 1<<32) // no sum overflows
	f.word.Store(newest << 1)
	return f
}

// Seq returns the number of the newest change.
func (f *Feed) Seq() uint64 { return f.word.Load() >> 1 }

// Add numbers a change and returns its number; it does not change c, and keeps
// nothing of it but copies. Call it under the lock that orders changes of the
// same record. It never waits for watchers.
func (f *Feed) Add(c *index.Change) uint64 { return f.AddCopy(c, Copy{}) }

// Copy is a copy of a change, if one is needed.
type Copy struct{ copied }

// Copy copies a change for AddCopy while nobody waits for a lock.
func (f *Feed) Copy(c *index.Change) Copy {
	if f.word.Load()&watched == 0 {
		return Copy{}
	}
	return Copy{clone(c)}
}

// AddCopy is Add of a change that Copy copied. Each copy is added once.
func (f *Feed) AddCopy(c *index.Change, made Copy) uint64 {
	word := f.word.Add(2)
	if word&watched != 0 {
		if made.change == nil {
			made.copied = clone(c)
		}
		f.keep(word>>1, made.copied)
	}
	return word >> 1
}

// keep stores a change. Calls for changes of different records may come out of
// order; watchers wait for the number that is missing.
func (f *Feed) keep(seq uint64, c copied) {
	c.change.Seq = seq
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil || seq < f.first {
		return
	}
	if f.walks == 0 && seq > f.left+f.patience {
		f.word.And(^uint64(watched))
		f.kept, f.bytes = nil, 0
		return
	}
	f.kept[seq] = c
	f.bytes += c.bytes
	for len(f.kept) > f.history || f.bytes > maxBytes && len(f.kept) > 1 {
		if old, ok := f.kept[f.first]; ok {
			f.bytes -= old.bytes
			delete(f.kept, f.first)
		}
		f.first++
	}
	f.wakeLocked()
}

func (f *Feed) wakeLocked() {
	if f.asleep {
		close(f.wake)
		f.wake = make(chan struct{})
		f.asleep = false
	}
}

// Watch is index.Watcher's. A number that was not given yet is ErrExpired too:
// it is of another life of the index, whose changes nobody has.
func (f *Feed) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	f.start(0)
	return func(yield func(*index.Change, error) bool) {
		f.start(1)
		defer f.start(-1)
		if after > f.Seq() && !f.isClosed() {
			yield(nil, fmt.Errorf("feed: watch behind change %d, the newest is %d: take a snapshot: %w", after, f.Seq(), kvferry.ErrExpired))
			return
		}
		var mine index.Change // reused by every step
		for next := after + 1; ; next++ {
			kept, err := f.wait(ctx, next)
			if err != nil {
				yield(nil, err)
				return
			}
			copyInto(&mine, kept)
			if !yield(&mine, nil) {
				return
			}
		}
	}
}

func (f *Feed) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// start makes the feed keep what is added from now on, for so many watchers more.
func (f *Feed) start(walks int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.walks += walks
	f.left = f.Seq()
	if f.kept == nil && !f.closed {
		f.kept = map[uint64]copied{}
		f.first = f.word.Or(watched)>>1 + 1
	}
}

// wait returns the change of a number once there is one.
func (f *Feed) wait(ctx context.Context, seq uint64) (*index.Change, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, wake, err := f.look(seq)
		if c != nil || err != nil {
			return c, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// look returns the change of a number, or what is closed when there are more.
func (f *Feed) look(seq uint64) (*index.Change, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c, ok := f.kept[seq]; {
	case f.closed:
		return nil, nil, fmt.Errorf("feed: watch: %w", kvferry.ErrClosed)
	case ok:
		return c.change, nil, nil
	case seq < f.first:
		return nil, nil, fmt.Errorf("feed: change %d is not kept any more, the oldest is %d: take a snapshot: %w", seq, f.first, kvferry.ErrExpired)
	}
	f.asleep = true
	return nil, f.wake, nil
}

// Close ends all watchers with ErrClosed and lets go of what was kept. Numbers
// are given on.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.kept, f.bytes = true, nil, 0
	f.wakeLocked()
}
