package events

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events/msg"
)

// The most of what an engine may make us remember, besides blocks.
const (
	maxRanks     = 4096
	maxAdapters  = 1 << 15
	maxGroups    = 256
	maxLoRABytes = 1 << 12
)

// flushRecords is how many records are handed to the index at once.
const flushRecords = 1 << 12

// DefaultMaxBlocks is how many blocks of one worker are remembered, if not said
// otherwise: 64 bytes each and 12 more.
const DefaultMaxBlocks = 1 << 24

// errBatch says that a batch cannot be. It tells that from damage of the index,
// which is ErrCorrupt as well.
var errBatch = fmt.Errorf("a batch that cannot be: %w", kvferry.ErrCorrupt)

// Engine is whose events an Ingester takes, and what holds for them.
type Engine struct {
	Name                     string // of the worker; of further ranks see WorkerName
	Model, Tokenizer, Tenant string
	BytesPerBlock            uint64 // 0: DefaultBytesPerBlock
	MaxBlocks                int    // 0: DefaultMaxBlocks
}

// Ingester turns the batches of one engine into changes of an index. It holds
// them back until Flush, or until there are many. It is not safe for concurrent
// use.
//
// After an error of the index, all that it was given is still to be written: the
// same call may be tried again until it succeeds.
type Ingester struct {
	x           index.Index
	joiner      index.Joiner // x, if it has leases that several hold
	engine      Engine
	count       *counters
	now         func() time.Time
	workers     map[int]*worker
	incarnation uint64
	late        bool   // the engine ran before it was followed: others may know more of it
	at          uint64 // time of the batch, or of its arrival

	puts     []index.Record
	removals []index.Removal
	epoch    uint32 // of puts; an entry with another one is in the index
	// unremembered: puts has a block that the ledger had no room for.
	unremembered bool
	removed      uint64 // records taken away by Remove, by the index's count
	arena        arena
	keys         []key
	lora         []byte
}

// worker is what is known of one rank.
type worker struct {
	name     string
	ledger   *ledger
	adapters []index.Adapter // the first is none
	numbers  map[string]uint16
	groups   []uint32 // that had blocks
	scopes   scopes
	held     uint64 // incarnation that holds in the index
	told     uint64 // newest incarnation that the index was told to begin
}

// NewIngester returns an Ingester for one engine.
func NewIngester(x index.Index, e Engine) *Ingester { return newIngester(x, e, &counters{}) }

func newIngester(x index.Index, e Engine, c *counters) *Ingester {
	if e.BytesPerBlock == 0 {
		e.BytesPerBlock = DefaultBytesPerBlock
	}
	if e.MaxBlocks == 0 {
		e.MaxBlocks = DefaultMaxBlocks
	}
	in := &Ingester{x: x, engine: e, count: c, now: time.Now, workers: map[int]*worker{}, epoch: 1}
	in.joiner, _ = x.(index.Joiner)
	return in
}

// Stats returns counts of what was ingested.
func (in *Ingester) Stats() Stats { return in.count.stats() }

// Announce tells the index of the engine's incarnation: of the ranks that are
// known now, and of each other when it is first heard of. In an index that is an
// index.Joiner they join the lives that they have there.
func (in *Ingester) Announce(ctx context.Context, incarnation uint64) error {
	if err := in.Flush(ctx); err != nil {
		return err
	}
	in.incarnation = incarnation
	for _, w := range in.workers {
		held, err := in.life(ctx, w, w.held)
		if err != nil {
			return err
		}
		w.held = held
	}
	return nil
}

// Clear takes away what all ranks of the engine have: what they hold now is not
// known. In which lives they are is asked again: others may have seen an end that
// was missed here, and the next one must be told from it.
func (in *Ingester) Clear(ctx context.Context) error {
	in.puts, in.removals = in.puts[:0], in.removals[:0]
	for _, w := range in.workers {
		if in.joiner != nil && in.incarnation != 0 {
			held, err := in.life(ctx, w, 0)
			if err != nil {
				return err
			}
			w.held = held
		}
		if err := in.clear(ctx, w); err != nil {
			return err
		}
	}
	return nil
}

func (in *Ingester) clear(ctx context.Context, w *worker) error {
	if _, err := in.x.ClearWorker(ctx, w.name); err != nil {
		return fmt.Errorf("events: clearing %s: %w", w.name, err)
	}
	w.reset()
	return nil
}

func (w *worker) reset() {
	w.ledger.reset()
	w.adapters = append(w.adapters[:0], index.Adapter{})
	w.numbers = map[string]uint16{}
	w.groups = w.groups[:0]
	w.scopes = scopes{}
}

// Flush writes what was held back.
func (in *Ingester) Flush(ctx context.Context) error {
	// No put that is held back is older than a removal of the same block, so
	// removals go first.
	if len(in.removals) > 0 {
		n, err := in.x.Remove(ctx, in.removals)
		if err != nil {
			return fmt.Errorf("events: removing %d blocks of %s: %w", len(in.removals), in.engine.Name, err)
		}
		in.removed += uint64(n)
		clear(in.removals)
		in.removals = in.removals[:0]
	}
	if len(in.puts) > 0 {
		if err := in.x.Put(ctx, in.puts); err != nil {
			if errors.Is(err, kvferry.ErrInvalid) {
				in.puts = in.puts[:0] // trying again cannot help
			}
			return fmt.Errorf("events: putting %d blocks of %s: %w", len(in.puts), in.engine.Name, err)
		}
		clear(in.puts)
		in.puts = in.puts[:0]
	}
	in.epoch++
	in.unremembered = false
	return nil
}

// Ingest takes a batch. What cannot be is ErrCorrupt; then, or after a batch that
// could not be decoded, the engine's state is unknown: see Clear.
func (in *Ingester) Ingest(ctx context.Context, b *msg.Batch) error {
	w, err := in.worker(ctx, b.Rank)
	if err != nil {
		return err
	}
	in.at = millis(b.Seconds)
	if in.at == 0 {
		in.at = uint64(in.now().UnixMilli())
	}
	for i := range b.Events {
		if err := in.event(ctx, w, b, &b.Events[i]); err != nil {
			return err
		}
	}
	in.count.batches.Add(1)
	in.count.events.Add(uint64(len(b.Events)))
	in.count.unknownEvents.Add(uint64(b.Unknown))
	return nil
}

func (in *Ingester) event(ctx context.Context, w *worker, b *msg.Batch, e *msg.Event) error {
	if e.Kind == msg.Cleared {
		return in.allCleared(ctx, w)
	}
	f := in.fact(e.Kind == msg.Stored)
	f.tier, f.lastAccess = tierOf(e.Medium, e.Locality), in.at
	f.group, f.oneGroup, f.tokens = e.Group, e.HasGroup, e.Size
	f.anyTier = e.Medium == msg.NoMedium
	if e.Kind == msg.Stored {
		if err := in.context(w, b, e, &f); err != nil {
			return err
		}
	}
	err := in.blocks(ctx, w, b, e, &f)
	w.ledger.release(f.begin)
	return err
}

// blocks applies an event's blocks, some at a time.
func (in *Ingester) blocks(ctx context.Context, w *worker, b *msg.Batch, e *msg.Event, f *fact) error {
	if in.skip(f) {
		return nil
	}
	r := b.Hashes(e)
	for left := int(e.Hashes); left > 0; left -= len(in.keys) {
		in.keys = in.keys[:0]
		for range min(left, 256) {
			h := r.Next()
			in.keys = append(in.keys, key{})
			in.keys[len(in.keys)-1].setHash(&h) // of scope 0
		}
		if err := in.apply(ctx, w, f); err != nil {
			return err
		}
	}
	return nil
}

// context fills in what a Stored event says of where its blocks stand.
func (in *Ingester) context(w *worker, b *msg.Batch, e *msg.Event, f *fact) error {
	var named bool
	if in.lora, named = b.AppendLoRA(in.lora[:0], e); named {
		n, err := w.adapter(in.lora)
		if err != nil {
			return err
		}
		f.adapter, f.adapterKnown = n, true
	}
	f.adapterKnown = f.adapterKnown || e.Tokens > 0
	if e.Tokens > 0 && e.Size > 0 && uint64(e.Hashes)*uint64(e.Size) < uint64(e.Tokens) {
		return nil // a sliding window: blocks are left out, it is not known which
	}
	f.chained = true
	if h, ok := b.Parent(e); ok {
		var k key
		k.setHash(&h)
		in.behind(w, f, &k)
	} else if e.Tokens > 0 {
		f.chain.root()
	} else {
		f.chained = false // blocks of an offload tier, in no order
	}
	return nil
}

func (in *Ingester) allCleared(ctx context.Context, w *worker) error {
	if err := in.Flush(ctx); err != nil {
		return err
	}
	in.count.clears.Add(1)
	return in.clear(ctx, w)
}

// worker returns what is known of a rank.
func (in *Ingester) worker(ctx context.Context, rank int) (*worker, error) {
	rank = max(rank, 0)
	if w := in.workers[rank]; w != nil {
		return w, nil
	}
	if len(in.workers) >= maxRanks {
		return nil, fmt.Errorf("events: %s has more than %d ranks: %w", in.engine.Name, maxRanks, errBatch)
	}
	w := &worker{name: WorkerName(in.engine.Name, rank), ledger: newLedger(in.engine.MaxBlocks)}
	w.reset()
	if err := in.meetWorker(ctx, w); err != nil {
		return nil, err
	}
	in.workers[rank] = w
	return w, nil
}

// adapter returns the number of an adapter's name.
func (w *worker) adapter(name []byte) (uint16, error) {
	if n, ok := w.numbers[string(name)]; ok {
		return n, nil
	}
	if len(name) > maxLoRABytes || len(w.adapters) > maxAdapters {
		return 0, fmt.Errorf("events: %s has more than %d adapters, or one with a name of %d bytes: %w", w.name, maxAdapters, len(name), errBatch)
	}
	n := uint16(len(w.adapters))
	w.adapters = append(w.adapters, index.Named(string(name)))
	w.numbers[string(name)] = n
	return n, nil
}

// millis returns an engine's time in milliseconds; 0 for one that cannot be.
func millis(seconds float64) uint64 {
	if ms := seconds * 1000; ms > 0 && ms < math.MaxInt64 {
		return uint64(ms)
	}
	return 0
}
