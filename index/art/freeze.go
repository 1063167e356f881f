package art

import (
	"fmt"
	"slices"
	"sync"
)

// compact is about the snapshots that take the place of logs.
type compact struct {
	mu      sync.Mutex
	running bool
	err     error  // of the last snapshot
	bytes   int64  // of the newest snapshot
	base    uint64 // the generation that opening would begin with
	retry   int64  // length of the log before which none is tried again
}

// due tells whether the log is long enough for a snapshot.
func (c *compact) due(end, least int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.running && end >= max(least, 2*c.bytes, c.retry)
}

// grown begins a snapshot if the log has become long. The caller has the turn.
func (x *Index) grown() {
	if x.log.end < x.o.CompactBytes || x.stopped != nil || !x.compact.due(x.log.end, x.o.CompactBytes) {
		return
	}
	x.snapshot()
}

// snapshot begins a log, and in the background a snapshot of all that is in the
// logs before. If the log cannot be made the one that there is goes on. The
// caller has the turn.
func (x *Index) snapshot() {
	old := x.log
	err := old.trim()
	if err == nil {
		err = old.sync(old.end) // the next log's changes have to be behind its own
	}
	if err != nil {
		_ = x.fail("snapshot", err)
		return
	}
	h := logHead{rules: old.rules, generation: old.generation + 1, base: x.feed.Seq(), endBefore: old.end}
	l, harmless, err := createLog(x.fs, h)
	if err != nil {
		if !harmless {
			_ = x.fail("snapshot", err)
		}
		x.compact.end(err, 0, 0, old.end+x.o.CompactBytes)
		return
	}
	_ = old.close() // it is durable
	x.mapped(l)
	x.metrics.written.Add(logHeadBytes)
	x.log, x.last, x.marked = l, lastNames{}, l.told
	x.mu.Lock()
	x.state.tidy()
	x.state.freeze()
	x.mu.Unlock()
	job := x.job(l)
	x.compact.mu.Lock()
	x.compact.running = true
	x.compact.mu.Unlock()
	x.writing.Go(func() { x.writeSnapshot(job) })
}

// end is called when a snapshot was written, or could not be.
func (c *compact) end(err error, bytes int64, base uint64, retry int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running, c.err, c.retry = false, err, retry
	if err == nil {
		c.bytes, c.base = bytes, base
	}
}

// tidy forgets names that nothing has.
func (x *state) tidy() {
	for id, s := range x.scopes.all {
		if s != nil && s.blocks == 0 {
			x.scopes.drop(uint32(id), s.Scope)
		}
	}
	for id, w := range x.workers.all {
		if w != nil && !w.known() {
			x.workers.drop(uint32(id), w.name)
		}
	}
}

// job is a snapshot that is to be written.
type job struct {
	head  snapHead
	names [][]byte // frames
	idle  map[int]bool
}

// job describes the state, whose arena is frozen.
func (x *Index) job(l *log) *job {
	s := x.state
	j := &job{names: s.nameFrames(l.generation), idle: map[int]bool{}}
	for _, i := range s.idle {
		j.idle[int(i)] = true
	}
	j.head = snapHead{
		version: formatVersion, rules: uint64(l.rules), order: order(), generation: l.generation, seq: l.base,
		frames: uint64(len(j.names) + len(s.chunks)), chunks: uint64(len(s.chunks)), next: s.next, end: s.arena.end,
		blocks: uint64(s.blocks.root), hashes: uint64(s.hashes.root),
		countBlocks: s.count.blocks, countBytes: s.count.bytes, last: s.oldest, idle: uint64(len(s.idle)), free: s.free,
	}
	return j
}

// nameFrames returns the frames with the scopes and workers.
func (x *state) nameFrames(generation uint64) (frames [][]byte) {
	b := make([]byte, snapFrameHead, namesBytes)
	next := func(least int) {
		if len(b) >= least {
			endSnapFrame(b, generation, uint64(len(frames)))
			frames = append(frames, slices.Clone(b))
			b = b[:snapFrameHead]
		}
	}
	for id, s := range x.scopes.all {
		if s != nil {
			b = appendScopeEntry(b, uint32(id), &s.Scope)
			b = appendUints(append(b, entryScopeUse), uint64(id), s.blocks)
			next(namesBytes)
		}
	}
	for id, w := range x.workers.all {
		if w != nil {
			b = appendWorkerEntry(b, uint32(id), w.name)
			b = appendUints(append(b, entryAnnounce), uint64(id), w.incarnation)
			b = appendUints(append(b, entryWorkerUse), uint64(id), uint64(w.first), w.blocks, w.bytes, w.volatile, w.vanishs)
			next(namesBytes)
		}
	}
	next(snapFrameHead + 1)
	return frames
}

// end makes durable what was written, before the index is closed.
func (x *Index) end() error {
	x.writing.Wait()
	if x.stopped != nil {
		return x.stopped
	}
	if long := min(x.o.CompactBytes, closeBytes); x.log.end > max(long, x.compact.bytes/4) && !x.unsaid {
		x.snapshot()
		x.writing.Wait()
		if x.stopped != nil {
			return x.stopped
		}
	}
	if err := x.ended(); err != nil {
		return err
	}
	if err := x.log.sync(x.log.end); err != nil {
		return x.fail("close", err)
	}
	if err := x.tell(); err != nil {
		return err
	}
	if err := x.log.trim(); err != nil {
		return x.fail("close", err)
	}
	return nil
}

// closeBytes of log are read again by the next Open; of more a snapshot is made.
const closeBytes = 1 << 20

// SnapshotError returns why the last snapshot could not be written: then the log
// grows on. nil: there was none, or it is there.
func (x *Index) SnapshotError() error {
	x.compact.mu.Lock()
	defer x.compact.mu.Unlock()
	if x.compact.err != nil {
		return fmt.Errorf("art: snapshot: %w", x.compact.err)
	}
	return nil
}
