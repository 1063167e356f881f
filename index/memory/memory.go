package memory

import (
	"context"
	"fmt"
	"hash/maphash"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/internal/feed"
)

// Options are those of an index in memory. The zero Options work.
type Options struct {
	index.Options
}

// Index is a residency index in memory.
type Index struct {
	rules   index.Rules
	seeds   seeds
	seed    maphash.Seed
	feed    *feed.Feed
	closed  atomic.Bool
	scopes  dict[index.Scope]
	workers dict[string]
	longs   longs
	reads   readCounts
	putters pool[putter]

	// What slabs and tables lie in. Outgrown tables would keep a block that they
	// share with slabs, which live on.
	blocks, tables blocks

	shards [shards]shard
	scans  [shards]scanShard

	announceMu   sync.Mutex
	incarnations map[string]announced
	announces    uint64       // how many there were
	forgot       bool         // incarnations of workers without records
	unannounced  atomic.Int64 // workers with records that are not among incarnations
}

var _ index.Index = (*Index)(nil)

// New returns an empty index.
func New(o Options) (*Index, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	x := &Index{rules: o.Rules, seed: maphash.MakeSeed(), feed: feed.New(o.History, 0), incarnations: map[string]announced{}}
	for i := range x.seeds {
		x.seeds[i] = rand.Uint64() | 1
	}
	x.scopes.init()
	x.workers.init()
	x.longs.init()
	for i := range x.shards {
		x.shards[i].init(&x.blocks, &x.tables)
		x.scans[i].parents.mem = &x.tables
	}
	x.reset()
	return x, nil
}

// reset lets go of all records; whoever calls it has all locks.
func (x *Index) reset() {
	x.blocks.reset()
	x.tables.reset()
	for i := range x.shards {
		x.shards[i].reset()
		x.scans[i].parents.reset()
	}
}

// enter begins every method.
func (x *Index) enter(ctx context.Context) error {
	if x.closed.Load() {
		return fmt.Errorf("memory: %w", kvferry.ErrClosed)
	}
	return ctx.Err()
}

// leave ends a reading: what Close overtook found less than there was.
func (x *Index) leave(dst, rs []index.Record) ([]index.Record, error) {
	if x.closed.Load() {
		return dst, fmt.Errorf("memory: %w", kvferry.ErrClosed)
	}
	return rs, nil
}

// enterLocked is enter for writers: Close waits for their locks.
func (x *Index) enterLocked(l locks) error {
	x.lock(l)
	if x.closed.Load() {
		x.unlock(l)
		return fmt.Errorf("memory: %w", kvferry.ErrClosed)
	}
	return nil
}

func (x *Index) scopeHash(s *index.Scope) uint64 {
	adapter, named := s.Adapter.Name()
	h := maphash.String(x.seed, s.Model)
	h = x.seeds.with(h, maphash.String(x.seed, s.Tokenizer), maphash.String(x.seed, s.Tenant))
	if named {
		h = x.seeds.with(h, maphash.String(x.seed, adapter), 1)
	}
	return h
}

func (x *Index) workerHash(name string) uint64 { return maphash.String(x.seed, name) }

// ownScope copies the strings of a scope.
func ownScope(s *index.Scope) index.Scope {
	c := index.Scope{Model: strings.Clone(s.Model), Tokenizer: strings.Clone(s.Tokenizer), Tenant: strings.Clone(s.Tenant)}
	if name, named := s.Adapter.Name(); named {
		c.Adapter = index.Named(strings.Clone(name))
	}
	return c
}

// pool is a sync.Pool of one type.
type pool[T any] struct{ p sync.Pool }

func (p *pool[T]) get() *T {
	if t, ok := p.p.Get().(*T); ok {
		return t
	}
	return new(T)
}

func (p *pool[T]) put(t *T) { p.p.Put(t) }

// Info implements index.Keeper.
func (x *Index) Info() index.Info { return index.Info{Name: "memory", Rules: x.rules} }

// Flush implements index.Keeper: there is nothing to do.
func (x *Index) Flush(ctx context.Context) error { return x.enter(ctx) }

// Watch implements index.Watcher.
func (x *Index) Watch(ctx context.Context, after uint64) iter.Seq2[*index.Change, error] {
	return x.feed.Watch(ctx, after)
}

// Close implements index.Keeper.
func (x *Index) Close() error {
	l := locks{all, all}
	x.lock(l)
	defer x.unlock(l)
	if !x.closed.Swap(true) {
		x.turn(l)
		x.reset()
		x.scopes.clear()
		x.workers.clear()
		x.unannounced.Store(0)
		x.longs.clear()
		x.turn(l)
		x.feed.Close()
	}
	return nil
}
