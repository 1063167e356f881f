package engine

import (
	"context"
	"slices"

	"github.com/kvferry/kvferry/examples/llama/model"
)

// Token is a token that a step generated.
type Token struct {
	ID    string // its sequence
	Token int32
	Done  bool // it was the sequence's last
}

// Batch is what a step did.
type Batch struct {
	Rows   int     // tokens computed
	Tokens []Token // in order of the sequences' arrival
}

// work is a sequence's share of a step.
type work struct {
	s      *sequence
	rows   int
	sample bool // the last row yields a token
}

// Step advances every running sequence by one chunk. It waits while the engine
// is paused, and changes nothing if ctx ends before that. A batch of no rows
// means that nothing can run.
func (e *Engine) Step(ctx context.Context) (Batch, error) {
	if err := e.enter(ctx); err != nil {
		return Batch{}, err
	}
	defer e.leave()
	if e.remote != nil {
		if err := e.remote.settle(ctx); err != nil {
			return Batch{}, err
		}
	}
	e.mu.Lock()
	plan := e.planLocked()
	rows := e.rowsLocked(plan)
	e.mu.Unlock()
	if len(rows) == 0 {
		return Batch{}, nil
	}
	if err := e.run(rows); err != nil {
		return Batch{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return Batch{Rows: len(rows), Tokens: e.commitLocked(plan)}, nil
}

// run computes rows. What it stores may arrive later; whoever reads the memory
// then waits for it.
func (e *Engine) run(rows []model.Row) error {
	if e.remote == nil {
		e.pass.Run(e.cache, rows)
		return nil
	}
	// A step that has begun is not given up: its pages are taken.
	if err := e.remote.load(context.Background(), rows); err != nil {
		return err
	}
	e.pass.Run(e.cache, rows)
	return e.remote.store()
}

// enter takes the gate.
func (e *Engine) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case e.gate <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *Engine) leave() { <-e.gate }

// planLocked admits what can run and chooses each sequence's chunk: the rest of
// its tokens, cut at the end of a page.
func (e *Engine) planLocked() []work {
	e.seqs, e.inbox = append(e.seqs, e.inbox...), nil
	e.admitLocked()
	var plan []work
	for _, s := range e.seqs {
		if !s.admitted || e.shareLocked(s, plan) {
			continue
		}
		n := min(len(s.Tokens)-s.Written, e.cfg.PageTokens-s.Written%e.cfg.PageTokens)
		plan = append(plan, work{s, n, s.Written+n == len(s.Tokens)})
	}
	return plan
}

// admitLocked lets waiting sequences run, in order of arrival, as long as all
// pages that they may come to need can be promised.
func (e *Engine) admitLocked() {
	running := 0
	for _, s := range e.seqs {
		if s.admitted {
			running++
		}
	}
	for _, s := range e.seqs {
		if s.phase() != Waiting {
			continue
		}
		if e.cfg.Running > 0 && running >= e.cfg.Running || e.needLocked(s) > e.spareLocked() {
			return
		}
		s.admitted = true
		running++
	}
}

// needLocked returns how many pages s may still take. Its last token is never
// written.
func (e *Engine) needLocked(s *sequence) int {
	return e.pagesFor(s.limit(e.model.Config())-1) - len(s.pages)
}

// spareLocked returns how many free pages are promised to nobody.
func (e *Engine) spareLocked() int {
	n := len(e.blocks.free)
	for _, s := range e.seqs {
		if s.admitted {
			n -= e.needLocked(s)
		}
	}
	return n
}

// rowsLocked turns the plan into rows and takes the pages that they need.
func (e *Engine) rowsLocked(plan []work) []model.Row {
	var rows []model.Row
	for _, w := range plan {
		s := w.s
		if s.Written/e.cfg.PageTokens == len(s.pages) {
			p := e.blocks.take()
			e.cache.Clear(p)
			if e.remote != nil {
				e.remote.fresh = append(e.remote.fresh, p)
			}
			s.pages = append(s.pages, p)
		}
		// The generation changes before and after the write: a reader that
		// sees the same number twice has seen no part of it.
		e.blocks.gens[s.pages[len(s.pages)-1]]++
		for i := range w.rows {
			rows = append(rows, model.Row{Token: s.Tokens[s.Written+i], Pos: s.Written + i, Pages: s.pages})
		}
		if w.sample {
			if s.logits == nil {
				s.logits = make([]float32, e.model.Config().Vocab)
			}
			rows[len(rows)-1].Logits = s.logits
		}
	}
	return rows
}

// commitLocked records what the rows wrote and chooses the next tokens.
func (e *Engine) commitLocked(plan []work) []Token {
	var out []Token
	for _, w := range plan {
		s := w.s
		e.blocks.gens[s.pages[len(s.pages)-1]]++
		s.Written += w.rows
		if !w.sample {
			continue
		}
		t := model.Sampling{Temperature: s.Temperature, TopP: s.TopP}.Sample(s.logits, (*model.Random)(&s.Random))
		s.Tokens = append(s.Tokens, t)
		if len(s.Tokens) >= s.limit(e.model.Config()) || slices.Contains(s.Stop, t) {
			s.Done, s.admitted, s.logits = true, false, nil
		}
		out = append(out, Token{s.ID, t, s.Done})
	}
	return out
}
