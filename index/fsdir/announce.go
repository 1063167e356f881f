package fsdir

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// Announce implements index.Announcer.
func (x *Index) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if incarnation == 0 {
		return fmt.Errorf("fsdir: incarnation 0: %w", kvferry.ErrInvalid)
	}
	if len(worker) > index.MaxFieldBytes {
		return fmt.Errorf("fsdir: worker's name of %d bytes: %w", len(worker), kvferry.ErrInvalid)
	}
	if err := x.enterWrite(ctx); err != nil {
		return err
	}
	defer x.leave()
	known := x.incarnations[worker]
	_, silent := x.unconfirmed[worker]
	if known == incarnation && !silent {
		return nil
	}
	c := &index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation}
	n := 0
	var err error
	switch {
	case known != incarnation && (known != 0 || silent):
		c.Gone = true
		if n, err = x.wipe(worker); err == nil {
			// Durably, before the incarnation is: a crash must not leave records of the
			// old one that the new one would make live.
			err = x.files.flush()
		}
	case silent:
		c.Records, err = x.revive(ctx, worker)
	}
	if err == nil && known != incarnation {
		err = x.write(worker, incarnation)
	}
	if err != nil {
		x.files.fail(err) // a part of it is done
		return typed("announce", err)
	}
	x.mu.Lock()
	x.incarnations[worker] = incarnation
	delete(x.unconfirmed, worker)
	x.mu.Unlock()
	x.cleared.Add(uint64(n))
	return x.did(nil, c)
}

// write writes the file of a worker.
func (x *Index) write(worker string, incarnation uint64) error {
	b, err := workerFile(worker, incarnation)
	if err != nil {
		return err
	}
	s, err := x.files.stage(workerPath(worker), b)
	if err != nil {
		return err
	}
	return x.files.publish([]staged{s})
}

// wipe removes what a worker has in volatile tiers, and says how much it was. The
// worker is not unconfirmed any more.
func (x *Index) wipe(worker string) (int, error) {
	n := 0
	for _, m := range x.both() {
		found, err := volatileOf(m, worker)
		if err != nil {
			return 0, err
		}
		for i := range found {
			if err := x.unlink(&found[i]); err != nil {
				return 0, err
			}
		}
		if err := take(m, found); err != nil {
			x.files.fail(err)
			return 0, err
		}
		n += len(found)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.unconfirmed, worker)
	return n, nil
}

// volatileOf returns what a worker has in volatile tiers.
func volatileOf(m index.Index, worker string) (found []index.Record, err error) {
	_, err = m.Snapshot(context.Background(), func(r *index.Record) error {
		if r.Worker == worker && r.Tier.Volatile() {
			found = append(found, *r)
		}
		return nil
	})
	return found, err
}

// take removes records from memory.
func take(m index.Index, rs []index.Record) error {
	sels := make([]index.Removal, len(rs))
	for i := range rs {
		r := &rs[i]
		sels[i] = index.Removal{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash, Tier: r.Tier}
	}
	_, err := m.Remove(context.Background(), sels)
	return err
}

// revive makes a worker's stale records live again.
func (x *Index) revive(ctx context.Context, worker string) ([]index.Record, error) {
	found, err := volatileOf(x.stale, worker)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.live.Put(context.WithoutCancel(ctx), found); err != nil {
		return nil, err
	}
	return found, take(x.stale, found)
}

// Workers implements index.Announcer.
func (x *Index) Workers(ctx context.Context) ([]index.Worker, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.workersLocked(ctx)
}

func (x *Index) workersLocked(ctx context.Context) ([]index.Worker, error) {
	live, err := x.live.Workers(ctx)
	if err != nil {
		return nil, err
	}
	stale, err := x.stale.Workers(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]index.Worker{}
	for name, incarnation := range x.incarnations {
		all[name] = index.Worker{Name: name, Incarnation: incarnation}
	}
	for _, w := range live {
		all[w.Name] = index.Worker{Name: w.Name, Incarnation: x.incarnations[w.Name], Blocks: w.Blocks}
	}
	for _, w := range stale {
		v := all[w.Name]
		v.Name, v.Incarnation, v.Stale = w.Name, x.incarnations[w.Name], true
		all[w.Name] = v
	}
	if len(all) == 0 {
		return nil, nil
	}
	return slices.SortedFunc(maps.Values(all), func(a, b index.Worker) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}), nil
}
