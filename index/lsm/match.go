package lsm

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/wire"
)

// matching is a Match that is under way.
type matching struct {
	view
	q       *index.Query
	scope   index.Scope
	orphans bool           // the scope has blocks without a known parent
	at      map[string]int // by names as they are in keys
	found   []index.Match
	key     []byte
	wanted  map[string]struct{} // nil: all, by names as they are in keys
}

// Match implements index.Reader. It costs one or two seeks for each block, and
// ends where no worker goes on.
func (x *Index) Match(ctx context.Context, q *index.Query, dst []index.Match) ([]index.Match, error) {
	if err := x.enter(ctx); err != nil {
		return dst, err
	}
	defer x.gate.leave()
	x.counts.matches.Add(1)
	m := matching{q: q, scope: x.o.Rules.Scope(q.Scope), at: map[string]int{}}
	var err error
	if m.view, err = x.look(wire.AppendScope(nil, &m.scope)); err != nil {
		return dst, x.failure("match", err)
	}
	err = m.run(ctx)
	if closed := m.it.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return dst, x.failure("match", err)
	}
	slices.SortFunc(m.found, func(a, b index.Match) int {
		return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), cmp.Compare(a.Worker, b.Worker))
	})
	return append(dst, m.found...), nil
}

func (m *matching) run(ctx context.Context) error {
	if m.q.Workers != nil {
		m.wanted = map[string]struct{}{}
		for _, name := range m.q.Workers {
			m.wanted[string(wire.AppendWorker(nil, name)[2:])] = struct{}{}
		}
	}
	m.key = wire.AppendParent(m.key[:0], &m.scope, "")
	m.orphans = m.it.SeekGE(m.key) && bytes.HasPrefix(m.it.Key(), m.key)
	parent := index.Root
	for i, hash := range m.q.Hashes {
		if i%stepsPerLook == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		on, err := m.position(i, parent, hash)
		if m.orphans && err == nil && parent != "" {
			var too bool
			too, err = m.position(i, "", hash)
			on = on || too
		}
		if err != nil || !on {
			return err
		}
		parent = hash
	}
	return nil
}

// position looks for a block under a parent, and reports whether a worker's
// prefix goes on with it.
func (m *matching) position(i int, parent, hash string) (on bool, err error) {
	m.key = wire.AppendChild(m.key[:0], &m.scope, parent, hash)
	for ok := m.it.SeekGE(m.key); ok && bytes.HasPrefix(m.it.Key(), m.key); ok = m.it.NextPrefix() {
		worker, group, tier, err := wire.ParseHolder(m.it.Key()[len(m.key):])
		if err != nil {
			return false, err
		}
		if group != m.q.Group || m.hidden(worker, tier) {
			continue
		}
		r, err := m.holder(i, worker)
		if err != nil {
			return false, err
		}
		if r == nil {
			continue
		}
		if r.InTier[tier] == i {
			r.InTier[tier]++
		}
		if r.Blocks == i {
			r.Blocks++
		}
		on = on || r.Blocks == i+1
	}
	return on, m.it.Error()
}

func (m *matching) hidden(worker []byte, tier index.Tier) bool {
	if !tier.Volatile() {
		return false
	}
	_, stale := m.encoded[string(worker)]
	return stale
}

// holder returns what was found of a worker, nil if it does not count.
func (m *matching) holder(i int, worker []byte) (*index.Match, error) {
	if at, ok := m.at[string(worker)]; ok {
		return &m.found[at], nil
	}
	if i > 0 {
		return nil, nil
	}
	if _, ok := m.wanted[string(worker)]; m.wanted != nil && !ok {
		return nil, nil
	}
	name, err := wire.ParseWorker(worker)
	if err != nil {
		return nil, err
	}
	m.at[string(worker)] = len(m.found)
	m.found = append(m.found, index.Match{Worker: name})
	return &m.found[len(m.found)-1], nil
}
