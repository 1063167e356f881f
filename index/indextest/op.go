package indextest

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// opKind is a method of an index.
type opKind string

const (
	opPut         opKind = "put"
	opRemove      opKind = "remove"
	opClearWorker opKind = "clear worker"
	opClear       opKind = "clear"
	opExpire      opKind = "expire"
	opAnnounce    opKind = "announce"
	opLocate      opKind = "locate"
	opScan        opKind = "scan"
	opByHash      opKind = "by hash"
	opMatch       opKind = "match"
	opSnapshot    opKind = "snapshot"
	opWorkers     opKind = "workers"
	opMetrics     opKind = "metrics"
	opFlush       opKind = "flush"
	opReopen      opKind = "reopen" // by whoever applies the operations
)

// op is one call of an index.
type op struct {
	kind     opKind
	records  []index.Record
	removals []index.Removal
	key      index.Key // of locate; its scope and prefix of scan, its hash of by hash
	worker   string
	number   uint64 // incarnation or time
	query    index.Query
}

// String returns the operation with what matters of it.
func (o op) String() string {
	switch o.kind {
	case opPut:
		return fmt.Sprintf("put %+v", o.records)
	case opRemove:
		return fmt.Sprintf("remove %+v", o.removals)
	case opClearWorker, opAnnounce, opExpire:
		return fmt.Sprintf("%s %q %d", o.kind, o.worker, o.number)
	case opLocate, opScan, opByHash:
		return fmt.Sprintf("%s %+v", o.kind, o.key)
	case opMatch:
		return fmt.Sprintf("match %+v", o.query)
	}
	return string(o.kind)
}

// outcome is what a call returned.
type outcome struct {
	n       int
	records []index.Record
	matches []index.Match
	workers []index.Worker
	metrics index.Metrics
	err     error
}

// sentinel stands before what a call appends to.
var sentinel = index.Record{Worker: "the caller's own", Bytes: 0xdead}

// apply makes the call.
func (o op) apply(ctx context.Context, x index.Index) outcome {
	var r outcome
	switch o.kind {
	case opPut:
		r.err = x.Put(ctx, o.records)
	case opRemove:
		r.n, r.err = x.Remove(ctx, o.removals)
	case opClearWorker:
		r.n, r.err = x.ClearWorker(ctx, o.worker)
	case opClear:
		r.err = x.Clear(ctx)
	case opExpire:
		r.n, r.err = x.Expire(ctx, o.number)
	case opAnnounce:
		r.err = x.Announce(ctx, o.worker, o.number)
	case opFlush:
		r.err = x.Flush(ctx)
	default:
		o.read(ctx, x, &r)
	}
	return r
}

func (o op) read(ctx context.Context, x index.Index, r *outcome) {
	dst := []index.Record{sentinel}
	switch o.kind {
	case opLocate:
		k := o.key
		r.records, r.err = x.Locate(ctx, &k, dst)
	case opScan:
		s := o.key.Scope
		r.records, r.err = x.Scan(ctx, &s, o.key.Prefix, dst)
	case opByHash:
		r.records, r.err = x.ByHash(ctx, o.key.Hash, dst)
	case opSnapshot:
		r.records, r.err = snapshot(ctx, x)
	case opMatch:
		q := o.query
		r.matches, r.err = x.Match(ctx, &q, []index.Match{{Worker: sentinel.Worker}})
	case opWorkers:
		r.workers, r.err = x.Workers(ctx)
	case opMetrics:
		r.metrics, r.err = x.Metrics(ctx)
	}
}

// snapshot returns the records that Snapshot visits.
func snapshot(ctx context.Context, x index.Reader) ([]index.Record, error) {
	var rs []index.Record
	_, err := x.Snapshot(ctx, func(r *index.Record) error {
		rs = append(rs, cloned(r))
		return nil
	})
	return rs, err
}

// same returns an error unless two calls had the same outcome. Metrics are
// compared without what is each index's own.
func same(want, got *outcome) error {
	if err := sameError(want.err, got.err); err != nil || want.err != nil {
		return err
	}
	if want.n != got.n {
		return fmt.Errorf("%d records counted instead of %d", got.n, want.n)
	}
	if err := sameRecords(want.records, got.records); err != nil {
		return err
	}
	if len(want.matches)+len(got.matches) > 0 && !reflect.DeepEqual(want.matches, got.matches) {
		return fmt.Errorf("matches are\n%+v\ninstead of\n%+v", got.matches, want.matches)
	}
	if len(want.workers)+len(got.workers) > 0 && !reflect.DeepEqual(want.workers, got.workers) {
		return fmt.Errorf("workers are\n%+v\ninstead of\n%+v", got.workers, want.workers)
	}
	w, g := want.metrics, got.metrics
	w.BytesWritten, w.Seq, w.Cleared = g.BytesWritten, g.Seq, g.Cleared
	if w != g {
		return fmt.Errorf("metrics are\n%+v\ninstead of\n%+v", g, w)
	}
	return nil
}

// sameError returns an error unless both are of the same kind.
func sameError(want, got error) error {
	for _, kind := range []error{kvferry.ErrInvalid, kvferry.ErrClosed, kvferry.ErrExpired, context.Canceled} {
		if errors.Is(want, kind) != errors.Is(got, kind) {
			return fmt.Errorf("the error is %s instead of %s", told(got), told(want))
		}
	}
	if (want == nil) != (got == nil) {
		return fmt.Errorf("the error is %s instead of %s", told(got), told(want))
	}
	return nil
}

func told(err error) string {
	if err == nil {
		return "none"
	}
	return err.Error()
}

// sameRecords returns an error unless both are the same in the same order.
func sameRecords(want, got []index.Record) error {
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%d records instead of %d; missing from %d: %+v", len(got), len(want), i, want[i])
		case i >= len(want):
			return fmt.Errorf("%d records instead of %d; too many from %d: %+v", len(got), len(want), i, got[i])
		case want[i] != got[i]:
			return fmt.Errorf("record %d of %d is\n%+v\ninstead of\n%+v", i, len(want), got[i], want[i])
		}
	}
	return nil
}

func requireRecords(t require.TestingT, want, got []index.Record) {
	require.NoError(t, sameRecords(want, got))
}
