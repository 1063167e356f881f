package blocks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/pack"
	"github.com/kvferry/kvferry/codec"
	"github.com/kvferry/kvferry/digest"
)

// batchBytes is what a worker asks a store for at once.
const batchBytes = 8 * miB

// variant is a way to use the pack store.
type variant struct {
	class cas.Class
	mode  codec.Mode
}

func variants() []variant {
	return []variant{{cas.Snapshot, codec.OnlyRaw}, {cas.Cache, codec.OnlyRaw}, {cas.Snapshot, codec.Auto}, {cas.Cache, codec.Auto}}
}

// String is the variant as part of a figure's name.
func (v variant) String() string {
	class := "snapshot"
	if v.class == cas.Cache {
		class = "cache"
	}
	return fmt.Sprintf("store=pack/class=%s/codec=%s", class, v.mode)
}

// packWay moves a set into a pack store and back.
type packWay struct {
	variant

	ways  ways
	ratio *harness.Figure
}

func newPackWay(s *harness.Section, c *set, v variant) *packWay {
	p := &packWay{variant: v, ways: newWays(s, c, v.String(), harness.Ours, "put", "put-sync", "get", "get-warm")}
	if v.mode != codec.OnlyRaw {
		p.ratio = s.Figure("op=ratio/size="+c.name+"/"+v.String(), harness.Times)
	}
	return p
}

// round moves the set once, in a store of its own.
func (p *packWay) round(ctx context.Context, e *harness.Env, c *set) (err error) {
	dir, err := e.Folder("blocks")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	names, err := p.put(ctx, dir, c)
	if err != nil {
		return err
	}
	if err := harness.DropCached(dir); err != nil {
		return err
	}
	s, err := pack.Open(dir, pack.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, f := range []*harness.Figure{p.ways["get"], p.ways["get-warm"]} {
		clear(c.back)
		start := time.Now()
		if err := load(ctx, s, c, names); err != nil {
			return err
		}
		f.Add(harness.Rate(int64(len(c.all)), start))
		if !bytes.Equal(c.all, c.back) {
			return fmt.Errorf("what was loaded is not what was stored: %w", kvferry.ErrCorrupt)
		}
	}
	return nil
}

// put stores the set in a new store and closes that.
func (p *packWay) put(ctx context.Context, dir string, c *set) (names []digest.Digest, err error) {
	s, err := pack.Open(dir, pack.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := harness.SyncFS(dir); err != nil {
		return nil, err
	}
	done, err := store(ctx, s, p.options(c), c)
	if err != nil {
		return nil, err
	}
	total := float64(len(c.all))
	p.ways["put"].Add(total / done.put.Seconds())
	p.ways["put-sync"].Add(total / done.durable.Seconds())
	if p.ratio != nil {
		p.ratio.Add(total / float64(done.bytes))
	}
	return done.names, nil
}

// options are those of a session that stores the set.
func (p *packWay) options(c *set) cas.SessionOptions {
	o := cas.SessionOptions{Class: p.class, Owner: "bench", Hint: codec.Hint{Mode: p.mode}}
	if p.mode != codec.OnlyRaw {
		o.Hint = codec.Hint{
			Mode: p.mode, Elem: codec.BF16, ElemBytes: 2, RowElems: c.Channels(), Segments: c.Segments(), Tuning: c.tuning,
		}
	}
	return o
}

// stored is what came of putting a set.
type stored struct {
	names []digest.Digest
	bytes int64 // in the store
	// put is how long it took until all could be read, durable until all was
	// on the disk.
	put, durable time.Duration
}

// store hashes and puts the set in a session of its own, and flushes it. What
// is durable stays when the session ends, until somebody collects or evicts.
func store(ctx context.Context, s cas.Store, o cas.SessionOptions, c *set) (out stored, err error) {
	hashers, err := newHashers()
	if err != nil {
		return out, err
	}
	start := time.Now()
	sess, err := s.Begin(ctx, o)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, sess.Abort(context.WithoutCancel(ctx))) }()
	out.names = make([]digest.Digest, c.count())
	var total atomic.Int64
	err = each(ctx, len(out.names), func(ctx context.Context, w, i int) error {
		out.names[i] = hashers[w].Sum(c.chunk(i))
		r, err := sess.Put(ctx, out.names[i], c.chunk(i))
		if err == nil && !r.New {
			err = fmt.Errorf("chunk %d was there before: %w", i, kvferry.ErrInvalid)
		}
		total.Add(r.StoredBytes)
		return err
	})
	if err != nil {
		return out, err
	}
	out.put, out.bytes = time.Since(start), total.Load()
	if err := sess.Flush(ctx); err != nil {
		return out, err
	}
	out.durable = time.Since(start)
	return out, nil
}

func newHashers() ([]*digest.Hasher, error) {
	out := make([]*digest.Hasher, workers)
	for i := range out {
		h, err := digest.NewHasher(digest.BLAKE3, nil)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// load reads the set back, verified, in batches.
func load(ctx context.Context, s cas.Store, c *set, names []digest.Digest) error {
	per := max(1, batchBytes/c.PageBytes())
	readers := make([]*cas.Reader, workers)
	for w := range readers {
		r, err := cas.NewReader(s, nil)
		if err != nil {
			return err
		}
		readers[w] = r
	}
	return each(ctx, (len(names)+per-1)/per, func(ctx context.Context, w, batch int) error {
		reqs := make([]cas.Request, 0, per)
		for i := batch * per; i < min(len(names), (batch+1)*per); i++ {
			reqs = append(reqs, cas.Request{Digest: names[i], Dst: c.returned(i)})
		}
		if err := readers[w].GetBatch(ctx, reqs); err != nil {
			return err
		}
		for _, r := range reqs {
			if r.Err != nil {
				return r.Err
			}
		}
		return nil
	})
}
