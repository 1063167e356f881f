package events

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/msg"
)

// Intake takes JSON batches of several engines, by the rules of the package (and
// not those of IngestAsOriginal). It is safe for concurrent use; batches of one
// engine are taken one after the other.
type Intake struct {
	x       index.Index
	engines map[string]*intakeEngine
	count   counters
}

type intakeEngine struct {
	mu     sync.Mutex
	in     *Ingester
	refuse error // of all batches
}

// NewIntake returns an Intake for some engines. Of two with one id, the first
// counts.
func NewIntake(x index.Index, engines []Endpoint) *Intake {
	t := &Intake{x: x, engines: map[string]*intakeEngine{}}
	for _, e := range engines {
		if t.engines[e.ID] != nil {
			continue
		}
		in := newIngester(x, Engine{Name: e.ID, Model: e.Model, Tokenizer: e.Tokenizer, Tenant: e.Tenant}, &t.count)
		if about := x.Info(); about.Persistent || about.Shared {
			// What the index has of an earlier time is not known to be there still.
			in.incarnation, in.late = uint64(in.now().UnixNano()), true
		}
		t.engines[e.ID] = &intakeEngine{in: in, refuse: CheckName(e.ID)}
		if e.Subscribed {
			t.engines[e.ID].refuse = errSubscribed(e.ID)
		}
	}
	return t
}

func errSubscribed(engine string) error {
	return fmt.Errorf("events: %s is subscribed to, and its batches are not taken over HTTP as well: %w", engine, kvferry.ErrInvalid)
}

// Lapsed implements Follower. What is gone comes back with the batches that tell
// of it again.
func (t *Intake) Lapsed(ctx context.Context, workers []string) error {
	for _, e := range t.engines {
		e.mu.Lock()
		e.in.puts, e.in.removals = e.in.puts[:0], e.in.removals[:0] // of a batch that failed, and comes again
		ours, err := e.in.lapse(ctx, workers)
		e.mu.Unlock()
		if err != nil {
			return err
		}
		if ours {
			t.count.cleared.Add(1)
		}
	}
	return nil
}

// Close lets go of the engines' workers: in an index.Joiner they live on as long as
// somebody else keeps them alive, or until their leases end.
func (t *Intake) Close() {
	for _, e := range t.engines {
		e.mu.Lock()
		e.in.leave()
		e.mu.Unlock()
	}
}

// Stats returns counts of all engines.
func (t *Intake) Stats() Stats { return t.count.stats() }

// Ingest takes a batch, which is in the index then. An engine that is not known
// is ErrNotFound, one that is subscribed to ErrInvalid, and nothing was changed. A
// batch beyond what an engine may have (groups, adapters, scopes) is ErrInvalid,
// too. After that or another error it may be there in part; it may be given again.
func (t *Intake) Ingest(ctx context.Context, b *Batch) (Summary, error) {
	e := t.engines[b.EngineID]
	if e == nil {
		return Summary{}, fmt.Errorf("events: unknown engine: %s: %w", b.EngineID, kvferry.ErrNotFound)
	}
	if e.refuse != nil {
		return Summary{}, e.refuse
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	sum, err := e.in.ingestJSON(ctx, b)
	if errors.Is(err, errBatch) {
		err = fmt.Errorf("%v: %w", err, kvferry.ErrInvalid) //nolint:errorlint // it is whoever sent it, and nothing here is damaged
	}
	if err != nil {
		return sum, err
	}
	m, err := t.x.Metrics(ctx)
	sum.TotalResident = m.ResidentBlocks
	return sum, err
}

func (in *Ingester) ingestJSON(ctx context.Context, b *Batch) (Summary, error) {
	var sum Summary
	if err := b.check(); err != nil {
		return sum, err
	}
	w, err := in.worker(ctx, 0)
	if err != nil {
		return sum, err
	}
	before := in.removed
	for i := range b.Events {
		e := &b.Events[i]
		if e.Kind == Cleared {
			err = in.allCleared(ctx, w)
			sum.Cleared = true
		} else {
			err = in.jsonEvent(ctx, w, b, e, &sum)
		}
		if err != nil {
			return sum, err
		}
	}
	err = in.Flush(ctx)
	sum.RemovedBlocks = in.removed - before
	in.count.batches.Add(1)
	in.count.events.Add(uint64(len(b.Events)))
	return sum, err
}

// check returns ErrInvalid for a batch with a text that no index takes.
func (b *Batch) check() error {
	longest := max(len(or(b.Model, "")), len(or(b.Tokenizer, "")), len(or(b.Adapter, "")), len(or(b.Tenant, "")))
	for i := range b.Events {
		e := &b.Events[i]
		longest = max(longest, len(or(e.Parent, "")), len(or(e.LoRA, "")))
		for _, h := range e.Hashes {
			longest = max(longest, len(h))
		}
	}
	if longest > index.MaxFieldBytes {
		return fmt.Errorf("events: batch with a text of %d bytes, at most %d: %w", longest, index.MaxFieldBytes, kvferry.ErrInvalid)
	}
	return nil
}

func (in *Ingester) jsonEvent(ctx context.Context, w *worker, b *Batch, e *Event, sum *Summary) error {
	f := in.fact(e.Kind == Stored)
	own := f.scope
	f.scope.Model, f.scope.Tokenizer, f.scope.Tenant = or(b.Model, f.scope.Model), or(b.Tokenizer, f.scope.Tokenizer), or(b.Tenant, f.scope.Tenant)
	var err error
	if f.number, err = w.scopeNumber(f.scope, own); err != nil {
		return err
	}
	f.lastAccess, f.bytes = or(b.Millis, uint64(in.now().UnixMilli())), or(e.BytesPerBlock, or(b.BytesPerBlock, f.bytes))
	f.group, f.oneGroup, f.tokens = or(e.Group, 0), e.Group != nil, e.BlockSize
	f.anyTier, f.tier = e.Medium == nil, tierOf(msg.NoMedium, msg.NoLocality)
	if e.Medium != nil {
		f.tier = tierNamed(*e.Medium)
	}
	if e.Kind == Stored {
		if err := in.jsonContext(w, b, e, &f); err != nil {
			return err
		}
		if f.tier != 0 {
			sum.StoredBlocks += uint64(len(e.Hashes))
		}
	} else if b.Adapter != nil {
		f.scope.Adapter, f.anyAdapter = index.Named(*b.Adapter), false
	}
	err = in.jsonBlocks(ctx, w, e, &f)
	w.ledger.release(f.begin)
	return err
}

func (in *Ingester) jsonBlocks(ctx context.Context, w *worker, e *Event, f *fact) error {
	if in.skip(f) {
		return nil
	}
	for hs := e.Hashes; len(hs) > 0; hs = hs[len(in.keys):] {
		in.keys = in.keys[:0]
		for _, h := range hs[:min(len(hs), 256)] {
			var k key
			k.setText(h)
			k.scope = f.number
			in.keys = append(in.keys, k)
		}
		if err := in.apply(ctx, w, f); err != nil {
			return err
		}
	}
	return nil
}

// jsonContext is context for a JSON event. Its producers give no token ids with
// whole prompts, so a block size says that an event without a parent begins one.
func (in *Ingester) jsonContext(w *worker, b *Batch, e *Event, f *fact) error {
	name := b.Adapter
	if name == nil {
		name = e.LoRA
	}
	if name != nil {
		n, err := w.adapter([]byte(*name))
		if err != nil {
			return err
		}
		f.adapter = n
	}
	f.adapterKnown = name != nil || e.BlockSize > 0
	f.chained = true
	switch {
	case e.Parent != nil:
		var k key
		k.setText(*e.Parent)
		k.scope = f.number
		in.behind(w, f, &k)
	case len(e.TokenIDs) > 0 || e.BlockSize > 0:
		f.chain.root()
	default:
		f.chained = false
	}
	return nil
}
