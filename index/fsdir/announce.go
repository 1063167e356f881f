package fsdir

import (
	"context"
	"errors"
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
	known := x.lives[worker].incarnation
	_, silent := x.unconfirmed[worker]
	if known == incarnation && !silent {
		return nil
	}
	c := &index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation}
	c.Gone = known != incarnation && (known != 0 || silent || x.forgot)
	var gone [2][]index.Record
	var err error
	if c.Gone {
		if gone, err = x.unlinkVolatile(worker, nil); err == nil {
			// Durably, before the incarnation is: a crash must not leave records of the
			// old one that the new one would make live.
			err = x.files.flush()
		}
	}
	if err == nil && known != incarnation {
		err = x.write(worker, incarnation)
	}
	if err == nil {
		err = x.settle()
	}
	if err == nil && silent && !c.Gone {
		c.Records, err = x.revive(ctx, worker)
	}
	if err != nil {
		x.files.fail(err) // a part of it is done
		return typed("announce", err)
	}
	err = errors.Join(x.takeBoth(worker, gone), x.remember(ctx, worker, incarnation))
	x.cleared.Add(uint64(len(gone[0]) + len(gone[1])))
	return x.did(err, c)
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

// unlinkVolatile removes the files of what a worker has in volatile tiers, but not
// those of kept paths, and returns what it was, of both indexes in memory.
func (x *Index) unlinkVolatile(worker string, kept map[string]struct{}) (gone [2][]index.Record, err error) {
	for i, m := range x.both() {
		if m == x.stale {
			gone[i], err = x.staleOf(worker)
		} else {
			gone[i], err = volatileOf(m, worker)
		}
		if err != nil {
			return gone, err
		}
		for k := range gone[i] {
			path := recordPath(&gone[i][k], x.o.Rules)
			if _, keep := kept[path]; keep {
				continue
			}
			if err := x.files.remove(path); err != nil {
				return gone, err
			}
		}
	}
	return gone, nil
}

// takeBoth removes from memory what unlinkVolatile returned of a worker, which is
// not unconfirmed any more.
func (x *Index) takeBoth(worker string, gone [2][]index.Record) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.unconfirmed, worker)
	delete(x.staleBy, worker)
	var err error
	for i, m := range x.both() {
		err = errors.Join(err, take(m, gone[i]))
	}
	return err
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

// staleOf returns a worker's stale records. After an opening all workers are asked
// for, one after another: they are told apart in one pass.
func (x *Index) staleOf(worker string) ([]index.Record, error) {
	if x.staleBy == nil {
		x.staleBy = map[string][]index.Record{}
		if _, err := x.stale.Snapshot(context.Background(), func(r *index.Record) error {
			x.staleBy[r.Worker] = append(x.staleBy[r.Worker], *r)
			return nil
		}); err != nil {
			x.staleBy = nil
			return nil, err
		}
	}
	return x.staleBy[worker], nil
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
	found, err := x.staleOf(worker)
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
	for name, l := range x.lives {
		all[name] = index.Worker{Name: name, Incarnation: l.incarnation}
	}
	for _, w := range live {
		all[w.Name] = index.Worker{Name: w.Name, Incarnation: x.lives[w.Name].incarnation, Blocks: w.Blocks}
	}
	for _, w := range stale {
		v := all[w.Name]
		v.Name, v.Incarnation, v.Stale = w.Name, x.lives[w.Name].incarnation, true
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
