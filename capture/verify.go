package capture

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/capture/processfork"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// VerifyOptions guide a Verify. The zero value works.
type VerifyOptions struct {
	LoadOptions
	// Workers that read and hash; 0 means one per processor.
	Workers int
	// Progress, if set, is called from several goroutines; it counts blobs as
	// pages.
	Progress func(Progress)
}

// VerifyReport says what a Verify found.
type VerifyReport struct {
	Root      digest.Digest
	Format    cas.Format
	Pages     int
	Sequences int
	Blobs     int64 // distinct blobs of pages that were checked
	Bytes     int64 // their plain bytes
	// Problems lists the blobs that are damaged, missing or unreadable; none
	// means that a restore would find every byte.
	Problems []Loss
	// Omitted lists sequences that a lenient reader left out.
	Omitted []processfork.Omission
	Elapsed time.Duration
}

// Loss is one blob of a snapshot that cannot be had, and what that means.
type Loss struct {
	Digest    digest.Digest
	Err       error
	Group     string
	Pages     []uint32 // page numbers that need the blob, ascending
	Sequences []string // sequences on these pages, sorted
}

// Verify reads and hashes every blob of a snapshot. An unreadable manifest or
// page table is an error; damage of pages is not, but is listed in the report.
func Verify(ctx context.Context, s cas.Store, root digest.Digest, o VerifyOptions) (VerifyReport, error) {
	start := time.Now()
	if err := checkWorkers(o.Workers); err != nil {
		return VerifyReport{}, err
	}
	l, err := load(ctx, s, root, o.LoadOptions)
	if err != nil {
		return VerifyReport{}, err
	}
	snap := l.snapshot
	rep := VerifyReport{Root: root, Format: l.format, Omitted: l.omitted}
	rep.Pages, rep.Sequences, _ = measure(snap)
	distinct := make([][]int, len(snap.Groups))
	blobs := 0
	for i := range snap.Groups {
		distinct[i] = distinctParts(&snap.Groups[i])
		blobs += len(distinct[i])
	}
	v := &verifying{store: s, opts: o, meter: newMeter(o.Progress, blobs, 0)}
	for i := range snap.Groups {
		losses, err := v.group(ctx, &snap.Groups[i], distinct[i])
		if err != nil {
			return VerifyReport{}, fmt.Errorf("capture: verify %v: %w", root, err)
		}
		rep.Problems = append(rep.Problems, losses...)
	}
	rep.Blobs, rep.Bytes = int64(blobs), v.bytes.Load()
	rep.Elapsed = time.Since(start)
	return rep, nil
}

// distinctParts returns, for each distinct blob of a group, page x parts +
// part of its first use, and of its first use as a part of another length.
func distinctParts(g *manifest.Group) []int {
	parts := g.Table.Parts()
	set := newRows(g.Table.Pages()*parts, func(i int) []byte {
		return g.Table.Row(i / parts)[i%parts*digest.Size:][:digest.Size]
	})
	var first []int
	for i := range g.Table.Pages() * parts {
		if j := set.add(i); j == i || g.Meta.Parts[i%parts].Bytes != g.Meta.Parts[j%parts].Bytes {
			first = append(first, i)
		}
	}
	return first
}

type verifying struct {
	store cas.Store
	opts  VerifyOptions
	meter meter
	bytes atomic.Int64
}

// group checks the distinct blobs of one group.
func (v *verifying) group(ctx context.Context, g *manifest.Group, distinct []int) ([]Loss, error) {
	c := &combing{v: v, g: g, distinct: distinct, bad: map[digest.Digest]error{}}
	eg, ctx := newCrew(ctx)
	for range workers(v.opts.Workers) {
		eg.Go(func() error { return c.work(ctx) })
	}
	if err := eg.Wait(); err != nil {
		return nil, err
	}
	return losses(g, func(d digest.Digest, _ int) error { return c.bad[d] }), nil
}

// combing is the check of one group's blobs by several workers.
type combing struct {
	v        *verifying
	g        *manifest.Group
	distinct []int
	next     atomic.Int64

	mu  sync.Mutex
	bad map[digest.Digest]error
}

// work is a worker: it reads as many blobs at a time as fit its buffer, or one
// where the store does not read batches.
func (c *combing) work(ctx context.Context) error {
	rd, err := cas.NewReader(c.v.store, c.v.opts.Key)
	if err != nil {
		return err
	}
	most, room := 1, largestPart(c.g)
	if batches(c.v.store) {
		most = max(1, min(readBatchBytes/max(room, 1), readBatchRequests, len(c.distinct)/(4*workers(c.v.opts.Workers))))
	}
	scratch := make([]byte, most*room)
	reqs := make([]cas.Request, 0, most)
	for {
		lo := int(c.next.Add(int64(most))) - most
		if lo >= len(c.distinct) {
			return nil
		}
		run := c.distinct[lo:min(lo+most, len(c.distinct))]
		reqs = reqs[:0]
		for k, i := range run {
			d, size := c.blob(i)
			reqs = append(reqs, cas.Request{Digest: d, Dst: scratch[k*room:][:size]})
		}
		err := rd.GetBatch(ctx, reqs)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		c.judge(reqs)
	}
}

// blob returns the digest and length of the blob that is used at i, which is
// page x parts + part.
func (c *combing) blob(i int) (digest.Digest, int) {
	parts := c.g.Table.Parts()
	return c.g.Table.Digest(i/parts, i%parts), c.g.Meta.Parts[i%parts].Bytes
}

// judge keeps what is wrong with the blobs of a batch, and counts them.
func (c *combing) judge(reqs []cas.Request) {
	var bytes int64
	for _, q := range reqs {
		if err := partError(q.Digest, q.N, len(q.Dst), q.Err); err != nil {
			c.mu.Lock()
			c.bad[q.Digest] = err
			c.mu.Unlock()
		}
		bytes += int64(len(q.Dst))
	}
	c.v.bytes.Add(bytes)
	c.v.meter.add(len(reqs), bytes)
}

func checkWorkers(n int) error { return Transfer{Workers: n}.validate() }

func workers(n int) int {
	t := Transfer{Workers: n}
	t.ensureDefaults()
	return t.Workers
}

func largestPart(g *manifest.Group) int {
	n := 0
	for _, p := range g.Meta.Parts {
		n = max(n, p.Bytes)
	}
	return n
}

// checkBlob reads a blob of a known length.
func checkBlob(ctx context.Context, rd *cas.Reader, d digest.Digest, scratch []byte, size int) error {
	n, err := rd.Get(ctx, d, scratch[:size])
	return partError(d, n, size, err)
}

// losses lists the blobs of a group that fault reports an error for, in order
// of first use, with the pages and sequences that need them.
func losses(g *manifest.Group, fault func(d digest.Digest, size int) error) []Loss {
	var all []Loss
	at := map[digest.Digest]int{}
	for n := range g.Table.Pages() {
		for p := range g.Table.Parts() {
			d := g.Table.Digest(n, p)
			err := fault(d, g.Meta.Parts[p].Bytes)
			if err == nil {
				continue
			}
			i, ok := at[d]
			if !ok {
				i = len(all)
				at[d] = i
				all = append(all, Loss{Digest: d, Err: err, Group: g.Name})
			}
			if k := len(all[i].Pages); k == 0 || all[i].Pages[k-1] != uint32(n) {
				all[i].Pages = append(all[i].Pages, uint32(n))
			}
		}
	}
	nameSequences(g, all)
	return all
}

// nameSequences fills in which sequences use the pages of each loss.
func nameSequences(g *manifest.Group, all []Loss) {
	if len(all) == 0 {
		return
	}
	on := map[uint32][]int32{} // sequences by lost page
	for i := range all {
		for _, p := range all[i].Pages {
			on[p] = nil
		}
	}
	for k, s := range g.Sequences {
		for _, p := range s.Pages {
			if list, lost := on[p]; lost && (len(list) == 0 || list[len(list)-1] != int32(k)) {
				on[p] = append(list, int32(k))
			}
		}
	}
	for i := range all {
		var ks []int32
		for _, p := range all[i].Pages {
			ks = append(ks, on[p]...)
		}
		slices.Sort(ks)
		for _, k := range slices.Compact(ks) {
			all[i].Sequences = append(all[i].Sequences, g.Sequences[k].ID)
		}
	}
}
