package indextest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// identity is what makes two records one.
type identity struct {
	key    index.Key
	worker string
	tier   index.Tier
}

// modelWorker is what the model knows of a worker.
type modelWorker struct {
	incarnation uint64
	// unconfirmed: nothing was heard of the worker since the reopening. All its
	// records in volatile tiers are stale then, since the first of them that is
	// put confirms it.
	unconfirmed bool
}

// Model is the reference implementation of index.Index: a map, and every
// question answered by looking at all of it. It takes reopening as a persistent
// index does, see [Model.Reopen].
type Model struct {
	mu      sync.Mutex
	options index.Options
	records map[identity]index.Record
	workers map[string]*modelWorker
	counts  index.Metrics
	seq     uint64
	changes []index.Change // the newest, at most options.History
	added   chan struct{}  // closed at the next change and at Close
	closed  bool
}

var _ index.Index = (*Model)(nil)

// NewModel returns an empty index. The options must be valid.
func NewModel(o index.Options) *Model {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		panic(err)
	}
	return &Model{options: o, records: map[identity]index.Record{}, workers: map[string]*modelWorker{}, added: make(chan struct{})}
}

// Reopen does what closing and opening a persistent index does.
func (m *Model) Reopen() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed, m.counts, m.changes = false, index.Metrics{}, nil
	m.added = make(chan struct{})
	if m.options.Rules.Stale() {
		for _, w := range m.workers {
			w.unconfirmed = true
		}
	}
}

// clone returns another one in the same state, without what is kept for watchers.
func (m *Model) clone() *Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewModel(m.options)
	c.records, c.seq, c.counts = maps.Clone(m.records), m.seq, m.counts
	for name, w := range m.workers {
		known := *w
		c.workers[name] = &known
	}
	return c
}

func (m *Model) identity(r *index.Record) identity {
	return identity{m.options.Rules.Key(r.Key), r.Worker, r.Tier}
}

func (m *Model) stale(r *index.Record) bool {
	return r.Tier.Volatile() && m.workers[r.Worker].unconfirmed
}

// enter begins every method. The caller unlocks if there is no error.
func (m *Model) enter(ctx context.Context) error {
	m.mu.Lock()
	err := ctx.Err()
	if m.closed {
		err = fmt.Errorf("model: %w", kvferry.ErrClosed)
	}
	if err != nil {
		m.mu.Unlock()
	}
	return err
}

// changed numbers a change and keeps it for watchers.
func (m *Model) changed(c index.Change) {
	m.seq++
	c.Seq = m.seq
	c.Records, c.Removals = slices.Clone(c.Records), slices.Clone(c.Removals)
	m.changes = append(m.changes, c)
	if n := len(m.changes) - m.options.History; n > 0 {
		m.changes = m.changes[n:] // append moves them when their array ends
	}
	close(m.added)
	m.added = make(chan struct{})
}

// take removes the records for which which is true, and returns how many.
func (m *Model) take(which func(r *index.Record) bool) int {
	n := len(m.records)
	maps.DeleteFunc(m.records, func(_ identity, r index.Record) bool { return which(&r) })
	return n - len(m.records)
}

// Put implements index.Writer.
func (m *Model) Put(ctx context.Context, rs []index.Record) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	for i := range rs {
		if err := rs[i].Check(); err != nil {
			return fmt.Errorf("model: %w", err)
		}
	}
	for i := range rs {
		r := &rs[i]
		w := m.workers[r.Worker]
		if w == nil {
			w = &modelWorker{}
			m.workers[strings.Clone(r.Worker)] = w
		}
		if r.Tier.Volatile() && w.unconfirmed {
			m.takeVolatile(r.Worker)
			w.unconfirmed = false
		}
		delete(m.records, m.identity(r))
		m.records[m.identity(r)] = *r
	}
	if len(rs) > 0 {
		m.counts.Puts += uint64(len(rs))
		m.changed(index.Change{Kind: index.DidPut, Records: rs})
	}
	return nil
}

func (m *Model) takeVolatile(worker string) int {
	return m.take(func(r *index.Record) bool { return r.Worker == worker && r.Tier.Volatile() })
}

// selects reports whether a removal means a record.
func (m *Model) selects(x *index.Removal, r *index.Record) bool {
	mine, asked := m.options.Rules.Scope(r.Scope), m.options.Rules.Scope(x.Scope)
	if x.AnyAdapter {
		mine.Adapter, asked.Adapter = index.Adapter{}, index.Adapter{}
	}
	return mine == asked && r.Worker == x.Worker && r.Hash == x.Hash &&
		(x.Tier == 0 || x.Tier == r.Tier) && (!x.OneGroup || x.Group == r.Group)
}

// Remove implements index.Writer.
func (m *Model) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	n := 0
	for i := range rs {
		n += m.take(func(r *index.Record) bool { return m.selects(&rs[i], r) })
	}
	m.counts.Removes += uint64(n)
	if n > 0 {
		m.changed(index.Change{Kind: index.DidRemove, Removals: rs})
	}
	return n, nil
}

// ClearWorker implements index.Writer.
func (m *Model) ClearWorker(ctx context.Context, worker string) (int, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	n := m.take(func(r *index.Record) bool { return r.Worker == worker })
	m.counts.Cleared += uint64(n)
	if n > 0 {
		m.changed(index.Change{Kind: index.DidClearWorker, Worker: worker})
	}
	return n, nil
}

// Clear implements index.Writer.
func (m *Model) Clear(ctx context.Context) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	n := m.take(func(*index.Record) bool { return true })
	m.counts.Cleared += uint64(n)
	if n > 0 {
		m.changed(index.Change{Kind: index.DidClear})
	}
	return nil
}

// Expire implements index.Writer.
func (m *Model) Expire(ctx context.Context, before uint64) (int, error) {
	if err := m.enter(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	n := m.take(func(r *index.Record) bool { return r.LastAccess < before && !r.Pinned && r.Refs == 0 })
	m.counts.Expired += uint64(n)
	if n > 0 {
		m.changed(index.Change{Kind: index.DidExpire, Before: before})
	}
	return n, nil
}

// Announce implements index.Announcer.
func (m *Model) Announce(ctx context.Context, worker string, incarnation uint64) error {
	if err := m.enter(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if incarnation == 0 {
		return fmt.Errorf("model: incarnation 0: %w", kvferry.ErrInvalid)
	}
	if len(worker) > index.MaxFieldBytes {
		return fmt.Errorf("model: worker's name of %d bytes: %w", len(worker), kvferry.ErrInvalid)
	}
	w := m.workers[worker]
	if w == nil {
		w = &modelWorker{}
		m.workers[strings.Clone(worker)] = w
	}
	if w.incarnation == incarnation && !w.unconfirmed {
		return nil
	}
	c := index.Change{Kind: index.DidAnnounce, Worker: worker, Incarnation: incarnation}
	switch {
	case w.incarnation != incarnation && (w.incarnation != 0 || w.unconfirmed):
		m.counts.Cleared += uint64(m.takeVolatile(worker))
		c.Gone = true
	case w.unconfirmed:
		c.Records = m.sorted(func(r *index.Record) bool { return r.Worker == worker && m.stale(r) })
	}
	*w = modelWorker{incarnation: incarnation}
	m.changed(c)
	return nil
}

// Workers implements index.Announcer.
func (m *Model) Workers(ctx context.Context) ([]index.Worker, error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return m.listWorkers(), nil
}

func (m *Model) listWorkers() []index.Worker {
	known := map[string]*index.Worker{}
	for name, w := range m.workers {
		known[name] = &index.Worker{Name: name, Incarnation: w.incarnation}
	}
	for _, r := range m.records {
		x := known[r.Worker]
		if m.stale(&r) {
			x.Stale = true
		} else {
			x.Blocks++
		}
	}
	var ws []index.Worker
	for _, x := range known {
		if x.Incarnation != 0 || x.Stale || x.Blocks > 0 {
			ws = append(ws, *x)
		}
	}
	slices.SortFunc(ws, func(a, b index.Worker) int { return strings.Compare(a.Name, b.Name) })
	return ws
}

// sorted returns the records for which which is true, in order.
func (m *Model) sorted(which func(r *index.Record) bool) []index.Record {
	var rs []index.Record
	for _, r := range m.records {
		if which(&r) {
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b index.Record) int { return index.Compare(&a, &b) })
	return rs
}

// live is sorted without stale records.
func (m *Model) live(which func(r *index.Record) bool) []index.Record {
	return m.sorted(func(r *index.Record) bool { return !m.stale(r) && which(r) })
}

// sortMatches puts matches into their order.
func sortMatches(ms []index.Match) {
	slices.SortFunc(ms, func(a, b index.Match) int {
		return cmp.Or(cmp.Compare(b.Blocks, a.Blocks), strings.Compare(a.Worker, b.Worker))
	})
}

// unconfirmed reports whether nothing was heard of a worker since the reopening.
func (m *Model) unconfirmed(worker string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.workers[worker]
	return w != nil && w.unconfirmed
}
