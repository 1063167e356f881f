package memory

import (
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
	x.announceMu.Lock()
	x.incarnations[strings.Clone(worker)] = incarnation
	x.announceMu.Unlock()
	c := index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation, Gone: before != 0}
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
	return x.incarnations[worker]
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
	for name, incarnation := range x.incarnations {
		if _, ok := slices.BinarySearchFunc(ws[:n], name, byName); !ok {
			ws = append(ws, index.Worker{Name: name, Incarnation: incarnation})
		}
	}
	slices.SortFunc(ws, func(a, b index.Worker) int { return byName(a, b.Name) })
	return ws
}
