package tiered_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/tiered"
	"github.com/kvferry/kvferry/digest"
)

// probe is a store whose calls are counted, can be made to fail, and can be
// held up.
type probe struct {
	cas.Store
	gets, batches atomic.Int64
	evicts        bool // keeps its blobs through collections, as a cache that evicts

	mu    sync.Mutex
	fault func(op string) error
	gate  chan struct{} // reads wait until it is closed; nil: they do not
	asked chan struct{} // told of each read that waits
}

func (p *probe) hit(op string) error {
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(op)
}

// fails makes every call return err; nil makes them work again.
func (p *probe) fails(err error) {
	p.failsIf(func(string) error { return err })
}

func (p *probe) failsIf(fault func(op string) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// hold makes reads wait until release is called; asked is told of each.
func (p *probe) hold() (asked <-chan struct{}, release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	gate := make(chan struct{})
	p.gate, p.asked = gate, make(chan struct{}, 1000)
	return p.asked, func() { close(gate) }
}

func (p *probe) wait(ctx context.Context) error {
	p.mu.Lock()
	gate, asked := p.gate, p.asked
	p.mu.Unlock()
	if gate == nil {
		return nil
	}
	asked <- struct{}{}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *probe) Get(ctx context.Context, d digest.Digest, dst []byte) (int, error) {
	p.gets.Add(1)
	if err := p.wait(ctx); err != nil {
		return 0, err
	}
	if err := p.hit("get"); err != nil {
		return 0, err
	}
	return p.Store.Get(ctx, d, dst)
}

func (p *probe) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := p.hit("has"); err != nil {
		return false, err
	}
	return p.Store.Has(ctx, d)
}

func (p *probe) Begin(ctx context.Context, o cas.SessionOptions) (cas.Session, error) {
	if err := p.hit("begin"); err != nil {
		return nil, err
	}
	sess, err := p.Store.Begin(ctx, o)
	if err != nil {
		return nil, err
	}
	return &probeSession{Session: sess, p: p}, nil
}

func (p *probe) Catalog() cas.Catalog { return probeCatalog{p.Store.Catalog(), p} }

func (p *probe) Blobs(ctx context.Context) iter.Seq2[cas.BlobInfo, error] {
	return p.Store.(cas.Enumerator).Blobs(ctx)
}

func (p *probe) Collect(ctx context.Context, o cas.CollectOptions) (cas.CollectReport, error) {
	if err := p.hit("collect"); err != nil {
		return cas.CollectReport{}, err
	}
	if p.evicts {
		return cas.CollectReport{}, o.Validate()
	}
	return p.Store.(cas.Collector).Collect(ctx, o)
}

func (p *probe) Stats(ctx context.Context) (cas.Stats, error) {
	st, err := p.Store.(cas.Stater).Stats(ctx)
	if p.evicts {
		st.CacheBlobs = st.Blobs
	}
	return st, err
}

func (p *probe) Quarantine(ctx context.Context, d digest.Digest) error {
	return p.Store.(cas.Quarantiner).Quarantine(ctx, d)
}

// batchProbe is a probe that reads batches.
type batchProbe struct{ *probe }

func (p batchProbe) GetBatch(ctx context.Context, reqs []cas.Request) error {
	p.batches.Add(1)
	if err := p.wait(ctx); err != nil {
		return err
	}
	for i := range reqs {
		reqs[i].N, reqs[i].Err = p.Store.Get(ctx, reqs[i].Digest, reqs[i].Dst)
	}
	return nil
}

type probeSession struct {
	cas.Session
	p *probe
}

func (x *probeSession) Put(ctx context.Context, d digest.Digest, plain []byte) (cas.PutResult, error) {
	if err := x.p.hit("put"); err != nil {
		return cas.PutResult{}, err
	}
	return x.Session.Put(ctx, d, plain)
}

func (x *probeSession) Has(ctx context.Context, d digest.Digest) (bool, error) {
	if err := x.p.hit("session has"); err != nil {
		return false, err
	}
	return x.Session.Has(ctx, d)
}

func (x *probeSession) Flush(ctx context.Context) error {
	if err := x.p.hit("flush"); err != nil {
		return err
	}
	return x.Session.Flush(ctx)
}

func (x *probeSession) Commit(ctx context.Context, e cas.Entry) error {
	if err := x.p.hit("commit"); err != nil {
		return err
	}
	return x.Session.Commit(ctx, e)
}

type probeCatalog struct {
	cas.Catalog
	p *probe
}

func (c probeCatalog) Entries(ctx context.Context) ([]cas.Entry, error) {
	if err := c.p.hit("entries"); err != nil {
		return nil, err
	}
	return c.Catalog.Entries(ctx)
}

func (c probeCatalog) Lookup(ctx context.Context, name string) (cas.Entry, error) {
	if err := c.p.hit("lookup"); err != nil {
		return cas.Entry{}, err
	}
	return c.Catalog.Lookup(ctx, name)
}

func (c probeCatalog) Drop(ctx context.Context, root digest.Digest) error {
	if err := c.p.hit("drop"); err != nil {
		return err
	}
	return c.Catalog.Drop(ctx, root)
}

func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 11))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

func sumWith(a digest.Algorithm, p []byte) digest.Digest {
	h, err := digest.NewHasher(a, testKey())
	if err != nil {
		panic(err)
	}
	return h.Sum(p)
}

func sum(p []byte) digest.Digest { return sumWith(digest.BLAKE3, p) }

func testKey() *digest.Key {
	k := digest.DeriveKey([]byte("tiered"))
	return &k
}

// putIn puts blobs into one of the stores, behind the tiered one's back.
func putIn(t testing.TB, s cas.Store, blobs ...[]byte) {
	t.Helper()
	sess, err := s.Begin(t.Context(), cas.SessionOptions{})
	require.NoError(t, err)
	for _, p := range blobs {
		_, err := sess.Put(t.Context(), sum(p), p)
		require.NoError(t, err)
	}
	require.NoError(t, sess.Flush(t.Context()))
	t.Cleanup(func() { _ = sess.Abort(context.Background()) }) // the store may be closed
}

func wantBlob(t testing.TB, s cas.Store, p []byte) {
	t.Helper()
	buf := make([]byte, len(p))
	n, err := s.Get(t.Context(), sum(p), buf)
	require.NoError(t, err)
	require.Equal(t, p, buf[:n])
}

func wantHas(t testing.TB, want bool, s cas.Store, d digest.Digest) {
	t.Helper()
	has, err := s.Has(t.Context(), d)
	require.NoError(t, err)
	require.Equal(t, want, has)
}

// manifest lists blobs as the tests' references read them.
func manifest(blobs ...[]byte) []byte {
	text := "manifest\n"
	for _, p := range blobs {
		text += sum(p).String() + "\n"
	}
	return []byte(text)
}

// commit puts blobs and commits their manifest, whose digest it returns.
func commit(ctx context.Context, s cas.Store, created int, names []string, blobs ...[]byte) (digest.Digest, error) {
	sess, err := s.Begin(ctx, cas.SessionOptions{})
	if err != nil {
		return digest.Digest{}, err
	}
	defer func() { _ = sess.Abort(context.WithoutCancel(ctx)) }() // nothing is left after a commit
	root := manifest(blobs...)
	for _, p := range append(blobs, root) {
		if _, err := sess.Put(ctx, sum(p), p); err != nil {
			return digest.Digest{}, err
		}
	}
	return sum(root), sess.Commit(ctx, entryOf(sum(root), created, names...))
}

func entryOf(root digest.Digest, created int, names ...string) cas.Entry {
	return cas.Entry{Root: root, Format: cas.FormatNative, Names: names,
		Created: time.Date(2026, 1, 1, 0, 0, created, 0, time.UTC)}
}

// whole returns an error unless everything that the store's catalog lists can
// be read from it.
func whole(ctx context.Context, s cas.Store) error {
	entries, err := s.Catalog().Entries(ctx)
	if err != nil {
		return err
	}
	r, err := cas.NewReader(s, nil)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := references(s)(ctx, e, func(d digest.Digest) error {
			_, err := r.KeepDamaged().ReadAll(ctx, d, 1<<20)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// idle returns when so many blobs are in near, or could not be put there.
func idle(s interface{ State() tiered.State }, blobs int64) {
	until(func() bool { return s.State().Promoted+s.State().NotPromoted >= blobs })
}

// until returns when what goes on elsewhere has come so far.
func until(reached func() bool) {
	for !reached() {
		runtime.Gosched()
	}
}
