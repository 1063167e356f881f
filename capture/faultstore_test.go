package capture_test

import (
	"context"
	"iter"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// faultStore passes calls on to a store and counts them.
type faultStore struct {
	cas.Store
	calls *calls
}

// newFaultStore returns the store with the abilities that it has.
func newFaultStore(inner cas.Store, c *calls) cas.Store {
	s := faultStore{inner, c}
	if ch, ok := inner.(cas.Checker); ok {
		return struct {
			faultStore
			faultChecker
		}{s, faultChecker{ch, c}}
	}
	if sc, ok := inner.(cas.Scrubber); ok {
		return struct {
			faultStore
			faultScrubber
		}{s, faultScrubber{sc, c}}
	}
	if b, ok := inner.(cas.BatchGetter); ok {
		return struct {
			faultStore
			faultBatcher
		}{s, faultBatcher{b, c}}
	}
	if v, ok := inner.(cas.Viewer); ok {
		return struct {
			faultStore
			faultViewer
		}{s, faultViewer{v, c}}
	}
	return s
}

func (s faultStore) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	if err := s.calls.hit("store get"); err != nil {
		return 0, err
	}
	return s.Store.Get(ctx, d, dst)
}

func (s faultStore) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := s.calls.hit("store has"); err != nil {
		return false, err
	}
	return s.Store.Has(ctx, d)
}

func (s faultStore) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	if err := s.calls.hit("begin"); err != nil {
		return nil, err
	}
	x, err := s.Store.Begin(ctx, o)
	if err != nil {
		return nil, err
	}
	return faultSession{x, s.calls}, nil
}

func (s faultStore) Catalog() cas.Catalog { return faultCatalog{s.Store.Catalog(), s.calls} }

func (s faultStore) Blobs(ctx context.Context) iter.Seq2[cas.BlobInfo, error] {
	return func(yield func(cas.BlobInfo, error) bool) {
		for b, err := range s.Store.(cas.Enumerator).Blobs(ctx) {
			if ferr := s.calls.hit("blobs"); ferr != nil {
				yield(cas.BlobInfo{}, ferr)
				return
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func (s faultStore) Quarantine(ctx context.Context, d digest.Digest) error {
	if err := s.calls.hit("quarantine"); err != nil {
		return err
	}
	return s.Store.(cas.Quarantiner).Quarantine(ctx, d)
}

func (s faultStore) Stats(ctx context.Context) (cas.Stats, error) {
	if err := s.calls.hit("stats"); err != nil {
		return cas.Stats{}, err
	}
	return s.Store.(cas.Stater).Stats(ctx)
}

type faultViewer struct {
	inner cas.Viewer
	calls *calls
}

func (v faultViewer) View(ctx context.Context, d digest.Digest) (cas.View, error) {
	if err := v.calls.hit("view"); err != nil {
		return nil, err
	}
	return v.inner.View(ctx, d)
}

type faultBatcher struct {
	inner cas.BatchGetter
	calls *calls
}

// GetBatch fails as a whole, or in one of its requests.
func (b faultBatcher) GetBatch(ctx context.Context, reqs []cas.Request) error {
	if err := b.calls.hit("get batch"); err != nil {
		return err
	}
	for i := range reqs {
		q := &reqs[i]
		if q.Err = b.calls.hit("store get"); q.Err != nil {
			continue
		}
		if err := b.inner.GetBatch(ctx, reqs[i:i+1]); err != nil {
			return err
		}
	}
	return nil
}

type faultScrubber struct {
	inner cas.Scrubber
	calls *calls
}

func (b faultScrubber) Scrub(ctx context.Context, o cas.ScrubOptions) error {
	if err := b.calls.hit("scrub"); err != nil {
		return err
	}
	return b.inner.Scrub(ctx, o)
}

type faultChecker struct {
	inner cas.Checker
	calls *calls
}

func (c faultChecker) Check(ctx context.Context, report func(cas.Problem)) error {
	if err := c.calls.hit("check"); err != nil {
		return err
	}
	return c.inner.Check(ctx, report)
}

type faultSession struct {
	cas.Session
	calls *calls
}

func (x faultSession) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	if err := x.calls.hit("put"); err != nil {
		return cas.PutResult{}, err
	}
	return x.Session.Put(ctx, d, plain)
}

func (x faultSession) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.calls.hit("session has"); err != nil {
		return false, err
	}
	return x.Session.Has(ctx, d)
}

func (x faultSession) Flush(ctx context.Context) error {
	if err := x.calls.hit("flush"); err != nil {
		return err
	}
	return x.Session.Flush(ctx)
}

func (x faultSession) Commit(ctx context.Context, e cas.Entry) error {
	if err := x.calls.hit("commit"); err != nil {
		return err
	}
	return x.Session.Commit(ctx, e)
}

type faultCatalog struct {
	cas.Catalog
	calls *calls
}

func (c faultCatalog) Entries(ctx context.Context) ([]cas.Entry, error) {
	if err := c.calls.hit("entries"); err != nil {
		return nil, err
	}
	return c.Catalog.Entries(ctx)
}

func (c faultCatalog) Lookup(ctx context.Context, name string) (cas.Entry, error) {
	if err := c.calls.hit("lookup"); err != nil {
		return cas.Entry{}, err
	}
	return c.Catalog.Lookup(ctx, name)
}
