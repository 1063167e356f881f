// Package engine is a small serving engine over package model: it runs several
// sequences in one batch, with their keys and values in pages, and offers the
// pages to kvferry.
//
// A step gives every running sequence one chunk: prompts advance by up to one
// page, sequences that generate by one token. Sequences join and leave between
// steps. A prompt whose full pages equal those of another sequence takes these
// pages by reference; pages are counted and go back to the free list with
// their last reference. What a sequence generates depends on its request
// alone, not on what else the engine does (see package model).
//
// # Snapshot and continuation
//
// Pager offers the pages and the sequences that own them. What an engine needs
// beside them to go on with a sequence is its State: tokens, limits and the
// state of its random numbers. The key and value of the newest token are not in
// the cache yet; they are written by the step that the token is the input of.
// A sequence that kvferry installed is parked until Resume binds its State.
package engine

import (
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/examples/llama/model"
)

// Config is the size of an engine. Pages is required.
type Config struct {
	PageTokens int // token slots per page; 0 means 16
	Pages      int // pages of the cache
	// Running bounds the sequences that are computed at a time, 0 for no
	// bound; others wait for their turn.
	Running int
	// Workers bounds the goroutines of a step; 0 means one per processor.
	Workers int
	// Grain is the work, in multiply-adds, below which a step is not divided
	// among goroutines; 0 means a good default.
	Grain int
	// Private turns the sharing of prompt pages off.
	Private bool
	// Memory, if set, opens the memory that the engine keeps its pages in; nil
	// means host memory. The engine closes it.
	Memory func(bytes int64) (Memory, error)
}

// Engine is a serving engine. It is safe for concurrent use; steps run one
// after the other.
type Engine struct {
	cfg   Config
	model *model.Model
	cache *model.Cache
	pass  *model.Pass
	// remote is nil if the pages are in host memory. Whoever has the gate may
	// use it.
	remote *remote

	// gate holds one token, which a step or a pause takes for as long as it
	// lasts.
	gate chan struct{}

	mu     sync.Mutex
	seqs   []*sequence // in order of arrival
	inbox  []*sequence // submitted since the last step
	blocks *blocks
	paused bool
	saved  []State // as of the last pause
}

// New returns an engine with an empty cache. Impossible numbers are
// ErrInvalid.
func New(m *model.Model, c Config) (*Engine, error) {
	if c.PageTokens == 0 {
		c.PageTokens = 16
	}
	if c.Workers == 0 {
		c.Workers = model.Workers()
	}
	if c.Running < 0 || c.Workers < 0 || c.Grain < 0 {
		return nil, fmt.Errorf("engine: %d running, %d workers, grain %d: %w", c.Running, c.Workers, c.Grain, kvferry.ErrInvalid)
	}
	cache, memory, err := c.newCache(m.Config())
	if err != nil {
		return nil, fmt.Errorf("engine: %w", err)
	}
	e := &Engine{
		cfg: c, model: m, cache: cache, pass: model.NewPass(m, c.Workers, c.Grain),
		gate: make(chan struct{}, 1), blocks: newBlocks(c.Pages),
	}
	if memory != nil {
		e.remote = &remote{memory: memory, cache: cache}
	}
	return e, nil
}

// Close gives the memory back that Config.Memory opened; an engine in host
// memory has nothing to close. It waits for a step in flight; there must be no
// pause then, and no step after it.
func (e *Engine) Close() error {
	if e.remote == nil {
		return nil
	}
	e.gate <- struct{}{}
	defer e.leave()
	if e.remote.failed == nil {
		e.remote.failed = fmt.Errorf("engine: step of a closed engine: %w", kvferry.ErrClosed)
	}
	if err := e.remote.memory.Close(); err != nil {
		return fmt.Errorf("engine: close: %w", err)
	}
	return nil
}

// find returns the sequence named id among the live and the submitted ones.
func (e *Engine) findLocked(id string) *sequence {
	for _, list := range [][]*sequence{e.seqs, e.inbox} {
		for _, s := range list {
			if s.ID == id {
				return s
			}
		}
	}
	return nil
}

// pagesFor returns the number of pages that hold tokens.
func (e *Engine) pagesFor(tokens int) int {
	return (tokens + e.cfg.PageTokens - 1) / e.cfg.PageTokens
}
