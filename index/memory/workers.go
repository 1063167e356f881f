package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// ClearWorker implements index.Writer.
func (x *Index) ClearWorker(ctx context.Context, worker string) (int, error) {
	if err := x.enter(ctx); err != nil {
		return 0, err
	}
	l := locks{shards: all}
	if err := x.enterLocked(l); err != nil {
		return 0, err
	}
	defer x.unlock(l)
	v := victims{x: x}
	v.ofWorker(worker, false)
	return v.drop(all, cleared, &index.Change{Kind: index.DidClearWorker, Worker: worker}), nil
}

func cleared(c *counts) *uint64 { return &c.cleared }

// ofWorker dooms all records of a worker, or those in volatile tiers.
func (v *victims) ofWorker(name string, volatile bool) {
	x := v.x
	it := x.workers.find(&name, x.workerHash(name))
	if it == nil {
		return
	}
	for i := range x.shards {
		sh := &x.shards[i]
		if int(it.id) >= len(sh.workers) {
			continue
		}
		for ref := sh.workers[it.id].first; ref != 0; {
			c := sh.rec(ref)
			if !volatile || tierOf(c).Volatile() {
				v.doom(uint32(i), ref)
			}
			ref = c.high(recMine)
		}
	}
}

// Announce implements index.Announcer.
func (x *Index) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if err := x.enter(ctx); err != nil {
		return err
	}
	if incarnation == 0 {
		return fmt.Errorf("memory: announce worker %q in incarnation 0: %w", worker, kvferry.ErrInvalid)
	}
	if len(worker) > index.MaxFieldBytes {
		return fmt.Errorf("memory: announce a worker with a name of %d bytes, at most %d: %w", len(worker), index.MaxFieldBytes, kvferry.ErrInvalid)
	}
	if x.incarnation(worker) == incarnation {
		return nil
	}
	l := locks{shards: all}
	if err := x.enterLocked(l); err != nil {
		return err
	}
	defer x.unlock(l)
	before := x.incarnation(worker)
	if before == incarnation {
		return nil
	}
	c := index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation, Gone: before != 0 || x.forgot}
	x.remember(worker, incarnation)
	v := victims{x: x}
	if c.Gone {
		v.ofWorker(worker, true)
	}
	if v.drop(all, cleared, &c) == 0 {
		x.feed.Add(&c)
	}
	return nil
}

// incarnation returns the one that was announced last, or 0. It changes only
// while all shards are locked.
func (x *Index) incarnation(worker string) uint64 {
	x.announceMu.Lock()
	defer x.announceMu.Unlock()
	return x.incarnations[worker].incarnation
}

// maxAnnounced is how many incarnations are remembered, besides those of workers
// with records: pods come and go, and each has another name.
const maxAnnounced = 1 << 16

// announced is what a worker announced, and how many announcements there were then.
type announced struct{ incarnation, at uint64 }

// remember notes an incarnation; whoever calls it has locked all shards. If there
// are too many, the older half of those without records is forgotten. From then on
// a worker that is not known may be one of them: if it has records after all, its
// next announcement takes the volatile ones away.
func (x *Index) remember(worker string, incarnation uint64) {
	x.announceMu.Lock()
	defer x.announceMu.Unlock()
	x.announces++
	if it := x.workers.find(&worker, x.workerHash(worker)); it != nil && it.refs.Load() >= aUse && x.incarnations[worker].incarnation == 0 {
		x.unannounced.Add(-1)
	}
	x.incarnations[strings.Clone(worker)] = announced{incarnation, x.announces}
	if len(x.incarnations) <= maxAnnounced+x.workers.count() {
		return
	}
	var idle []string
	for name := range x.incarnations {
		if name != worker && x.workers.find(&name, x.workerHash(name)) == nil {
			idle = append(idle, name)
		}
	}
	slices.SortFunc(idle, func(a, b string) int { return cmp.Compare(x.incarnations[a].at, x.incarnations[b].at) })
	for _, name := range idle[:(len(idle)+1)/2] {
		delete(x.incarnations, name)
		x.forgot = true
	}
}

// useWorker notes that a worker has records in one more shard, which is locked.
func (x *Index) useWorker(id uint32) {
	if it := x.workers.item(id); it.use() && x.incarnation(it.key) == 0 {
		x.unannounced.Add(1)
	}
}

// releaseWorker notes that a worker has no records in a shard any more.
func (x *Index) releaseWorker(id uint32) {
	if it := x.workers.item(id); x.workers.release(it, aUse) && x.incarnation(it.key) == 0 {
		x.unannounced.Add(-1)
	}
}

// countWorkers returns how many Workers would return.
func (x *Index) countWorkers() uint64 {
	x.announceMu.Lock()
	defer x.announceMu.Unlock()
	return uint64(len(x.incarnations)) + uint64(x.unannounced.Load()) //nolint:gosec // never negative while all shards are locked
}

// Workers implements index.Announcer.
func (x *Index) Workers(ctx context.Context) ([]index.Worker, error) {
	if err := x.enter(ctx); err != nil {
		return nil, err
	}
	l := locks{shards: all}
	if err := x.enterLocked(l); err != nil {
		return nil, err
	}
	defer x.unlock(l)
	return x.workersLocked(), nil
}

func (x *Index) workersLocked() []index.Worker {
	var ws []index.Worker
	for _, it := range x.workers.list() {
		w := index.Worker{Name: it.key, Incarnation: x.incarnation(it.key)}
		for i := range x.shards {
			if sh := &x.shards[i]; int(it.id) < len(sh.workers) {
				w.Blocks += uint64(sh.workers[it.id].n)
			}
		}
		if w.Blocks > 0 {
			ws = append(ws, w)
		}
	}
	byName := func(a index.Worker, name string) int { return strings.Compare(a.Name, name) }
	slices.SortFunc(ws, func(a, b index.Worker) int { return byName(a, b.Name) })
	n := len(ws)
	x.announceMu.Lock()
	defer x.announceMu.Unlock()
	for name, a := range x.incarnations {
		if _, ok := slices.BinarySearchFunc(ws[:n], name, byName); !ok {
			ws = append(ws, index.Worker{Name: name, Incarnation: a.incarnation})
		}
	}
	slices.SortFunc(ws, func(a, b index.Worker) int { return byName(a, b.Name) })
	return ws
}
