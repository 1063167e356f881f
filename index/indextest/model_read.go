package indextest

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// Locate implements index.Reader.
func (m *Model) Locate(ctx context.Context, k *index.Key, dst []index.Record) ([]index.Record, error) {
	if err := m.enter(ctx); err != nil {
		return dst, err
	}
	defer m.mu.Unlock()
	m.counts.Locates++
	rules := m.options.Rules
	return append(dst, m.live(func(r *index.Record) bool { return rules.Key(r.Key) == rules.Key(*k) })...), nil
}

// Scan implements index.Reader.
func (m *Model) Scan(ctx context.Context, s *index.Scope, prefix string, dst []index.Record) ([]index.Record, error) {
	if err := m.enter(ctx); err != nil {
		return dst, err
	}
	defer m.mu.Unlock()
	m.counts.PrefixScans++
	rules := m.options.Rules
	return append(dst, m.live(func(r *index.Record) bool {
		return rules.Scope(r.Scope) == rules.Scope(*s) && r.Prefix == prefix
	})...), nil
}

// ByHash implements index.Reader.
func (m *Model) ByHash(ctx context.Context, hash string, dst []index.Record) ([]index.Record, error) {
	if err := m.enter(ctx); err != nil {
		return dst, err
	}
	defer m.mu.Unlock()
	return append(dst, m.live(func(r *index.Record) bool { return r.Hash == hash })...), nil
}

// Match implements index.Reader, position by position as its text says.
func (m *Model) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	if err := m.enter(ctx); err != nil {
		return dst, err
	}
	defer m.mu.Unlock()
	m.counts.Matches++
	of := m.asked(q)
	var ms []index.Match
	for _, w := range m.listWorkers() {
		if q.Workers != nil && !slices.Contains(q.Workers, w.Name) {
			continue
		}
		x := index.Match{Worker: w.Name, Blocks: reach(of[w.Name], q, 0)}
		for t := index.Tier(1); t < index.Tiers; t++ {
			x.InTier[t] = reach(of[w.Name], q, t)
		}
		if x.Blocks > 0 {
			ms = append(ms, x)
		}
	}
	sortMatches(ms)
	return append(dst, ms...), nil
}

// asked returns the records of the query's scope and group that are not stale,
// by worker.
func (m *Model) asked(q *index.Query) map[string][]index.Record {
	of := map[string][]index.Record{}
	for _, r := range m.records {
		if r.Group == q.Group && m.options.Rules.Scope(r.Scope) == m.options.Rules.Scope(q.Scope) && !m.stale(&r) {
			of[r.Worker] = append(of[r.Worker], r)
		}
	}
	return of
}

// reach returns how many positions of the prompt, from the first, are among a
// worker's records in a tier, or in any if it is 0.
func reach(rs []index.Record, q *index.Query, tier index.Tier) int {
	parent := index.Root
	for i, hash := range q.Hashes {
		if !slices.ContainsFunc(rs, func(r index.Record) bool {
			return r.Hash == hash && (r.Prefix == parent || r.Prefix == "") && (tier == 0 || tier == r.Tier)
		}) {
			return i
		}
		parent = hash
	}
	return len(q.Hashes)
}

// Snapshot implements index.Reader.
func (m *Model) Snapshot(ctx context.Context, visit func(r *index.Record) error) (uint64, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	rs, seq := m.live(func(*index.Record) bool { return true }), m.seq
	m.mu.Unlock()
	for i := range rs {
		if err := visit(&rs[i]); err != nil {
			return seq, err
		}
	}
	return seq, nil
}

// Watch implements index.Watcher.
func (m *Model) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	return func(yield func(*index.Change, error) bool) {
		for {
			c, added, err := m.next(ctx, after)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case c != nil:
				after = c.Seq
				if !yield(c, nil) {
					return
				}
			default:
				select {
				case <-ctx.Done():
				case <-added:
				}
			}
		}
	}
}

// next returns the change behind a number, or what is closed when there is one.
func (m *Model) next(ctx context.Context, after uint64) (*index.Change, <-chan struct{}, error) {
	if err := m.enter(ctx); err != nil {
		return nil, nil, err
	}
	defer m.mu.Unlock()
	first := m.seq - uint64(len(m.changes)) // what can be gone on from
	switch {
	case after == m.seq:
		return nil, m.added, nil
	case after < first:
		return nil, nil, fmt.Errorf("model: change %d is not kept any more: %w", after+1, kvferry.ErrExpired)
	case after > m.seq:
		return nil, nil, fmt.Errorf("model: change %d lies ahead: %w", after, kvferry.ErrExpired)
	}
	c := m.changes[after-first]
	return &c, nil, nil
}

// Info implements index.Keeper.
func (m *Model) Info() index.Info {
	return index.Info{Name: "model", Rules: m.options.Rules}
}

// Metrics implements index.Keeper.
func (m *Model) Metrics(ctx context.Context) (index.Metrics, error) {
	if err := m.enter(ctx); err != nil {
		return index.Metrics{}, err
	}
	defer m.mu.Unlock()
	x := m.counts
	x.Seq = m.seq
	x.Workers = uint64(len(m.listWorkers()))
	for _, r := range m.records {
		if m.stale(&r) {
			x.StaleBlocks++
		} else {
			x.ResidentBlocks++
			x.ResidentBytes += r.Bytes
		}
	}
	return x, nil
}

// Flush implements index.Keeper.
func (m *Model) Flush(ctx context.Context) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	m.mu.Unlock()
	return nil
}

// Close implements index.Keeper.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		close(m.added)
	}
	return nil
}

// Apply does what a change did to the index that it came from: with a model that
// was filled from a snapshot, the reference for replaying changes.
func (m *Model) Apply(ctx context.Context, c *index.Change) error {
	var err error
	switch c.Kind {
	case index.DidPut:
		err = m.Put(ctx, c.Records)
	case index.DidRemove:
		_, err = m.Remove(ctx, c.Removals)
	case index.DidClearWorker:
		_, err = m.ClearWorker(ctx, c.Worker)
	case index.DidClear:
		err = m.Clear(ctx)
	case index.DidExpire:
		_, err = m.Expire(ctx, c.Before)
	case index.DidAnnounce:
		if c.Gone {
			m.mu.Lock()
			m.takeVolatile(c.Worker)
			m.mu.Unlock()
		}
		err = m.Put(ctx, c.Records)
	default:
		err = fmt.Errorf("model: no change has the kind %d: %w", uint8(c.Kind), kvferry.ErrInvalid)
	}
	return err
}
