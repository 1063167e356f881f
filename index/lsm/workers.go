package lsm

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// load is how much there is of something.
type load struct{ blocks, bytes uint64 }

func (l *load) add(bytes uint64)  { l.blocks, l.bytes = l.blocks+1, l.bytes+bytes }
func (l *load) take(bytes uint64) { l.blocks, l.bytes = l.blocks-1, l.bytes-bytes }

// worker is what is known of a worker.
type worker struct {
	incarnation       uint64
	lasting, volatile load // in tiers of the two kinds
	// unconfirmed: nothing was heard of it since the index was opened. What it has
	// in volatile tiers is stale.
	unconfirmed bool
}

// of returns the load that a record in a tier belongs to.
func (w *worker) of(t index.Tier) *load {
	if t.Volatile() {
		return &w.volatile
	}
	return &w.lasting
}

// known reports whether there is anything to know.
func (w *worker) known() bool {
	return w.incarnation != 0 || w.lasting.blocks+w.volatile.blocks > 0
}

// silent reports whether it has stale records.
func (w *worker) silent() bool { return w.unconfirmed && w.volatile.blocks > 0 }

// workers are those of an index. Only who holds its writer token changes them.
type workers struct {
	mu    sync.RWMutex
	all   map[string]worker
	live  load
	stale uint64 // blocks

	// silent are the unconfirmed ones that have anything in volatile tiers, with
	// their names as they are and as they are in keys. Never changed, only
	// replaced.
	silent atomic.Pointer[silent]
}

type silent struct{ plain, encoded map[string]struct{} }

// has reports whether a record is stale.
func (s *silent) has(r *index.Record) bool {
	if len(s.plain) == 0 || !r.Tier.Volatile() {
		return false
	}
	_, ok := s.plain[r.Worker]
	return ok
}

func newWorkers() *workers {
	w := &workers{all: map[string]worker{}}
	w.silent.Store(&silent{})
	return w
}

// get returns what is known of a worker.
func (ws *workers) get(name string) worker {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	return ws.all[name]
}

// set takes what is new over.
func (ws *workers) set(changed map[string]*worker) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	news := false
	for name, w := range changed {
		was, ok := ws.all[name]
		news = news || ok && was.silent() && !w.silent()
		ws.count(&was, ^uint64(0))
		ws.count(w, 1)
		switch {
		case !w.known():
			delete(ws.all, name)
		case ok:
			ws.all[name] = *w
		default:
			ws.all[strings.Clone(name)] = *w // the caller's may be a part of something large
		}
	}
	if news {
		ws.listenLocked()
	}
}

// count adds a worker's records so many times; the greatest number is -1.
func (ws *workers) count(w *worker, times uint64) {
	ws.live.blocks += times * w.lasting.blocks
	ws.live.bytes += times * w.lasting.bytes
	if w.unconfirmed {
		ws.stale += times * w.volatile.blocks
		return
	}
	ws.live.blocks += times * w.volatile.blocks
	ws.live.bytes += times * w.volatile.bytes
}

// listenLocked finds the silent ones anew.
func (ws *workers) listenLocked() {
	s := &silent{map[string]struct{}{}, map[string]struct{}{}}
	for name, w := range ws.all {
		if w.silent() {
			s.plain[name] = struct{}{}
			s.encoded[string(wire.AppendWorker(nil, name)[2:])] = struct{}{}
		}
	}
	ws.silent.Store(s)
}

// add adds the counts.
func (ws *workers) add(m *index.Metrics) {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	m.ResidentBlocks, m.ResidentBytes = ws.live.blocks, ws.live.bytes
	m.StaleBlocks, m.Workers = ws.stale, uint64(len(ws.all))
}

// Workers implements index.Announcer.
func (x *Index) Workers(ctx context.Context) ([]index.Worker, error) {
	if err := x.enter(ctx); err != nil {
		return nil, err
	}
	defer x.gate.leave()
	x.workers.mu.RLock()
	defer x.workers.mu.RUnlock()
	var all []index.Worker
	for name, w := range x.workers.all {
		v := index.Worker{Name: name, Incarnation: w.incarnation, Blocks: w.lasting.blocks, Stale: w.silent()}
		if !w.unconfirmed {
			v.Blocks += w.volatile.blocks
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b index.Worker) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// names returns the names of all.
func (ws *workers) names() []string {
	ws.mu.RLock()
	defer ws.mu.RUnlock()
	return slices.Collect(maps.Keys(ws.all))
}
