package events

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// IngestAsOriginal does what the original's ingest_batch does, its faults
// included, so that its traces can be replayed: an unknown medium is HBM, blocks
// are numbered from 0 in every event, groups are not looked at, and a removal is
// of all tiers and of the batch's adapter only. An engine that is not among the
// endpoints is ErrNotFound, one that is subscribed to ErrInvalid, and nothing was
// changed. Other than the original's,
// errors of the index are returned.
func IngestAsOriginal(ctx context.Context, x index.Index, b *Batch, engines []Endpoint) (Summary, error) {
	var sum Summary
	engine := findEndpoint(engines, b.EngineID)
	if engine == nil {
		return sum, fmt.Errorf("events: unknown engine: %s: %w", b.EngineID, kvferry.ErrNotFound)
	}
	if engine.Subscribed {
		return sum, errSubscribed(engine.ID)
	}
	scope := index.Scope{
		Model:     or(b.Model, engine.Model),
		Tokenizer: or(b.Tokenizer, engine.Tokenizer),
		Tenant:    or(b.Tenant, engine.Tenant),
	}
	if b.Adapter != nil {
		scope.Adapter = index.Named(*b.Adapter)
	}
	for i := range b.Events {
		e := &b.Events[i]
		var err error
		switch e.Kind {
		case Stored:
			sum.StoredBlocks += uint64(len(e.Hashes))
			err = x.Put(ctx, originalRecords(b, e, scope, engine.ID))
		case Removed:
			var n uint64
			n, err = originalRemove(ctx, x, e, scope, engine.ID)
			sum.RemovedBlocks += n
		case Cleared:
			_, err = x.ClearWorker(ctx, engine.ID)
			sum.Cleared = true
		}
		if err != nil {
			return sum, fmt.Errorf("events: ingesting %v of %s: %w", e.Kind, engine.ID, err)
		}
	}
	m, err := x.Metrics(ctx)
	sum.TotalResident = m.ResidentBlocks
	return sum, err
}

func originalRecords(b *Batch, e *Event, scope index.Scope, worker string) []index.Record {
	if b.Adapter == nil && e.LoRA != nil {
		scope.Adapter = index.Named(*e.LoRA)
	}
	tier := index.HBM
	if e.Medium != nil {
		if t, err := index.ParseTier(*e.Medium); err == nil {
			tier = t
		}
	}
	rs := make([]index.Record, len(e.Hashes))
	parent := or(e.Parent, index.Root)
	for i, h := range e.Hashes {
		rs[i] = index.Record{
			Key:        index.Key{Scope: scope, Prefix: parent, Hash: h, Index: uint32(i), Tokens: e.BlockSize},
			Worker:     worker,
			Tier:       tier,
			Bytes:      or(e.BytesPerBlock, or(b.BytesPerBlock, DefaultBytesPerBlock)),
			LastAccess: or(b.Millis, 0),
		}
		parent = h
	}
	return rs
}

// originalRemove removes hash by hash: the second of two equal ones removes
// nothing.
func originalRemove(ctx context.Context, x index.Index, e *Event, scope index.Scope, worker string) (uint64, error) {
	var sum uint64
	for _, h := range e.Hashes {
		n, err := x.Remove(ctx, []index.Removal{{Scope: scope, Worker: worker, Hash: h}})
		sum += uint64(n)
		if err != nil {
			return sum, err
		}
	}
	return sum, nil
}

func findEndpoint(engines []Endpoint, id string) *Endpoint {
	for i := range engines {
		if engines[i].ID == id {
			return &engines[i]
		}
	}
	return nil
}

// or returns what p points to, or what holds without it.
func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
