package art

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// A Put that finds nobody writing does it alone. Else it waits in a queue, and
// whoever has the turn next writes all that are there: one write and one sync.

// call is a Put that waits.
type call struct {
	rs   []index.Record
	size int // bounds its bytes in the log
	err  error
	done bool // belongs to whoever has the turn
}

// queue holds them in the order of their numbers.
type queue struct {
	mu    sync.Mutex
	calls []*call
	spare []*call
}

var calls = sync.Pool{New: func() any { return new(call) }}

// Puts are written together up to so many and, but for the first, so many bytes.
const (
	maxGroup      = 1024
	maxGroupBytes = 16 << 20
)

// recordBytes bounds what a record takes in the log besides its strings, with
// its scope and worker, if they are new.
const recordBytes = 160

// Put implements index.Writer.
func (x *Index) Put(ctx context.Context, rs []index.Record) error {
	size := 0
	for i := range rs {
		r := &rs[i]
		if err := r.Check(); err != nil {
			return fmt.Errorf("art: put: %w", err)
		}
		adapter, _ := r.Adapter.Name()
		size += recordBytes + len(r.Model) + len(r.Tokenizer) + len(adapter) + len(r.Tenant) + len(r.Prefix) + len(r.Hash) + len(r.Worker)
	}
	if size > maxEntries {
		return fmt.Errorf("art: put of up to %d bytes at once, at most %d: %w", size, maxEntries, kvferry.ErrInvalid)
	}
	c := calls.Get().(*call) //nolint:forcetypeassert // the pool makes no others
	*c = call{rs: rs, size: size}
	err := x.join(ctx, c)
	c.rs = nil
	calls.Put(c)
	return err
}

func (x *Index) join(ctx context.Context, c *call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case x.turn <- struct{}{}: // nobody else writes
		defer x.give()
		if x.stopped != nil {
			return x.stopped
		}
		group := [1]*call{c}
		x.puts(group[:])
		return c.err
	default:
	}
	x.queue.mu.Lock()
	x.queue.calls = append(x.queue.calls, c)
	x.queue.mu.Unlock()
	select {
	case x.turn <- struct{}{}:
	case <-ctx.Done():
		if x.queue.leave(c) {
			return ctx.Err()
		}
		x.turn <- struct{}{} // it is being written
	}
	defer x.give()
	for !c.done {
		group := x.queue.next()
		if x.stopped != nil {
			for _, o := range group {
				o.err, o.done = x.stopped, true
			}
			continue
		}
		x.puts(group)
	}
	return c.err
}

// leave takes c out of the queue, if it is there.
func (q *queue) leave(c *call) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.calls, c)
	if i >= 0 {
		q.calls = slices.Delete(q.calls, i, i+1)
	}
	return i >= 0
}

// next takes the oldest out of the queue.
func (q *queue) next() []*call {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < min(len(q.calls), maxGroup) && (n == 0 || size+q.calls[n].size <= maxGroupBytes) {
		size += q.calls[n].size
		n++
	}
	q.spare = append(q.spare[:0], q.calls[:n]...)
	q.calls = slices.Delete(q.calls, 0, n)
	return q.spare
}

// puts writes and applies calls. The caller has the turn.
func (x *Index) puts(group []*call) {
	x.buf, x.ids = x.buf[:0], x.ids[:0]
	x.mark()
	seq, need := x.feed.Seq(), uint64(0)
	for _, c := range group {
		if c.err = x.room(c, need); c.err == nil && len(c.rs) > 0 {
			seq++
			need += c.need()
			x.encode(c.rs, seq)
		}
	}
	err := x.write("put", x.buf)
	if err == nil {
		x.apply(group)
	}
	for _, c := range group {
		if c.err == nil {
			c.err = err
		}
		c.done = true
	}
	if cap(x.buf) > 2*maxGroupBytes {
		x.buf, x.ids = nil, nil // a call that is seldom as long
	}
	x.grown()
}

// need bounds the bytes of the arena that a call's records take, but for more room
// for holders.
func (c *call) need() uint64 { return 2*uint64(c.size) + uint64(len(c.rs))*perRecord }

// room is ErrNoSpace if the arena could be too small for a call's records beside
// those of others that it is written with, which need so much; or if the
// numbers could be too few for their scopes and workers.
func (x *Index) room(c *call, others uint64) error {
	if !x.state.scopes.room(len(c.rs)) || !x.state.workers.room(len(c.rs)) {
		return fmt.Errorf("art: put: more than %d scopes or workers: %w", maxNames, kvferry.ErrNoSpace)
	}
	need := c.need() + uint64(len(x.state.workers.all)+len(c.rs))*perWorker
	if x.state.room(others + need) {
		return nil
	}
	return fmt.Errorf("art: put: %d records, which may take %d bytes, are more than there are addresses for beside %d: put fewer at once: %w",
		len(c.rs), need, x.state.count.blocks, kvferry.ErrNoSpace)
}

// numbers are those of a record's scope and worker.
type numbers struct{ scope, worker uint32 }

// encode appends the frame of a call.
func (x *Index) encode(rs []index.Record, seq uint64) {
	from := len(x.buf)
	x.buf = beginFrame(x.buf)
	var before *index.Record
	for i := range rs {
		r := &rs[i]
		id := numbers{x.scopeID(&r.Scope), x.workerID(r.Worker)}
		if w := x.state.workers.at(id.worker); w.unconfirmed && !w.vanishes && r.Tier.Volatile() {
			x.buf = appendUints(append(x.buf, entryVanish), uint64(id.worker))
			w.vanishes = true
			x.news.vanishes = append(x.news.vanishes, w)
		}
		x.buf = x.state.appendPut(x.buf, id.scope, id.worker, r, before)
		x.ids = append(x.ids, id)
		before = r
	}
	endFrame(x.buf, from, x.log.salt, seq)
}

// apply makes the changes of calls that were encoded.
func (x *Index) apply(group []*call) {
	ids := x.ids
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, c := range group {
		if c.err != nil || len(c.rs) == 0 {
			continue
		}
		for i := range c.rs {
			r, id := &c.rs[i], ids[i]
			if r.Tier.Volatile() {
				x.state.vanish(id.worker)
			}
			x.state.put(id.scope, id.worker, r)
		}
		ids = ids[len(c.rs):]
		x.feed.Add(&index.Change{Kind: index.DidPut, Records: c.rs})
		x.metrics.puts.Add(uint64(len(c.rs)))
	}
}
