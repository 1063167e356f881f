package main

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// poisonWatch is an index that tells when a write said that it is poisoned, whoever
// wrote: subscriptions try again for ever, and clients over HTTP are theirs to know.
type poisonWatch struct {
	index.Index

	told chan error
}

// watchPoison makes one of an index in a directory or in memory. A server that others
// share is never poisoned by us.
func watchPoison(x index.Index) *poisonWatch {
	return &poisonWatch{x, make(chan error, 1)}
}

// wait returns the error of the first write that found the index poisoned, or nil
// when ctx ends.
func (x *poisonWatch) wait(ctx context.Context) error {
	select {
	case err := <-x.told:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (x *poisonWatch) see(err error) error {
	if errors.Is(err, kvferry.ErrPoisoned) {
		select {
		case x.told <- err:
		default: // it was told already
		}
	}
	return err
}

// Put implements index.Writer.
func (x *poisonWatch) Put(ctx context.Context, rs []index.Record) error {
	return x.see(x.Index.Put(ctx, rs))
}

// Remove implements index.Writer.
func (x *poisonWatch) Remove(ctx context.Context, rs []index.Removal) (int, error) {
	n, err := x.Index.Remove(ctx, rs)
	return n, x.see(err)
}

// ClearWorker implements index.Writer.
func (x *poisonWatch) ClearWorker(ctx context.Context, worker string) (int, error) {
	n, err := x.Index.ClearWorker(ctx, worker)
	return n, x.see(err)
}

// Clear implements index.Writer.
func (x *poisonWatch) Clear(ctx context.Context) error { return x.see(x.Index.Clear(ctx)) }

// Expire implements index.Writer.
func (x *poisonWatch) Expire(ctx context.Context, before uint64) (int, error) {
	n, err := x.Index.Expire(ctx, before)
	return n, x.see(err)
}

// Announce implements index.Announcer.
func (x *poisonWatch) Announce(ctx context.Context, worker string, incarnation uint64) error {
	return x.see(x.Index.Announce(ctx, worker, incarnation))
}

// Flush implements index.Keeper.
func (x *poisonWatch) Flush(ctx context.Context) error { return x.see(x.Index.Flush(ctx)) }
