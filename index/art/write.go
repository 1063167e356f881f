package art

import (
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// news are the scopes and workers whose numbers the frames that are being made
// define. If they are not written the numbers are free again.
type news struct {
	scopes   []*scope
	workers  []*worker
	vanishes []*worker // whose stale records they remove
}

// forget is called when they are written or taken back.
func (n *news) forget() {
	clear(n.scopes)
	clear(n.workers)
	clear(n.vanishes)
	n.scopes, n.workers, n.vanishes = n.scopes[:0], n.workers[:0], n.vanishes[:0]
}

// lastNames are the scope and the worker that were named last, most often the
// next ones.
type lastNames struct {
	scope    index.Scope
	worker   string
	sid, wid uint32
	scopeOK  bool
	workerOK bool
}

// scopeID returns the number of a scope, and defines it in the frame if it is new.
func (x *Index) scopeID(s *index.Scope) uint32 {
	if x.last.scopeOK && x.last.scope == *s {
		return x.last.sid
	}
	id, ok := x.state.scopes.find(x.o.Rules.Scope(*s))
	if !ok {
		x.mu.Lock()
		id = x.state.scope(s)
		x.mu.Unlock()
		e := x.state.scopes.at(id)
		x.buf = appendScopeEntry(x.buf, id, &e.Scope)
		x.news.scopes = append(x.news.scopes, e)
	}
	e := x.state.scopes.at(id)
	x.last.scope, x.last.sid, x.last.scopeOK = e.Scope, id, true
	return id
}

// workerID is scopeID for workers.
func (x *Index) workerID(name string) uint32 {
	if x.last.workerOK && x.last.worker == name {
		return x.last.wid
	}
	id, ok := x.state.workers.find(name)
	if !ok {
		x.mu.Lock()
		id = x.state.worker(name)
		x.mu.Unlock()
		w := x.state.workers.at(id)
		x.buf = appendWorkerEntry(x.buf, id, w.name)
		x.news.workers = append(x.news.workers, w)
	}
	w := x.state.workers.at(id)
	x.last.worker, x.last.wid, x.last.workerOK = w.name, id, true
	return id
}

// undo takes back the numbers that frames define which were not written: nothing
// uses them.
func (x *Index) undo() {
	x.mu.Lock()
	for _, s := range x.news.scopes {
		id, _ := x.state.scopes.find(s.Scope)
		x.state.scopes.drop(id, s.Scope)
	}
	for _, w := range x.news.workers {
		id, _ := x.state.workers.find(w.name)
		x.state.workers.drop(id, w.name)
	}
	x.mu.Unlock()
	for _, w := range x.news.vanishes {
		w.vanishes = false
	}
	x.news.forget()
	x.last = lastNames{}
}

// write appends frames to the log, and makes them durable if every change is to
// be. On an error nothing of them counts.
func (x *Index) write(op string, frames []byte) error {
	x.buf = frames[:0] // kept for the next ones
	if len(frames) == 0 {
		return nil
	}
	harmless, err := x.log.append(frames)
	x.metrics.written.Add(uint64(len(frames)))
	if err != nil {
		x.undo()
		if harmless {
			return fmt.Errorf("art: %s: %w: %w", op, kvferry.ErrNoSpace, err)
		}
		return x.fail(op, err)
	}
	x.log.told = x.marked
	if x.o.Sync || x.unsaid || crosses(x.feed.Seq()) {
		if err := x.log.sync(x.log.end); err != nil {
			return x.fail(op, err)
		}
	}
	x.unsaid = false
	x.news.forget()
	return nil
}

// begin begins the frame of a change. What mark appends comes first.
func (x *Index) begin() (from int) {
	x.buf = x.buf[:0]
	x.mark()
	from = len(x.buf)
	x.buf = beginFrame(x.buf)
	return from
}

// mark appends where numbers begin, if the log does not say it, and a mark, if more
// is durable than the last one told.
func (x *Index) mark() {
	if x.unsaid {
		x.buf = appendNumbers(x.buf, x.log.salt, x.feed.Seq())
	}
	x.marked = x.log.told
	if d := x.log.durable(); d > x.log.told {
		x.buf = appendMark(x.buf, x.log.salt, x.feed.Seq(), d)
		x.marked = d
	}
}

// commit writes the frame that begin began, and makes the change with apply.
func (x *Index) commit(op string, from int, c *index.Change, apply func(s *state)) error {
	if len(x.buf)-from > maxEntries {
		x.undo()
		return fmt.Errorf("art: %s of more than %d bytes at once: %w", op, maxEntries, kvferry.ErrInvalid)
	}
	endFrame(x.buf, from, x.log.salt, x.feed.Seq()+1)
	if err := x.write(op, x.buf); err != nil {
		return err
	}
	x.mu.Lock()
	apply(x.state)
	x.feed.Add(c)
	x.mu.Unlock()
	x.grown()
	return nil
}
