package gpu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// sums is what a work of digests wants.
type sums struct {
	algorithm digest.Algorithm
	key       *[32]byte
	dst       []digest.Digest // of all pages; nil for a comparison
	want      []digest.Digest
	changed   []int
	found     []digest.Digest // of the changed pages
}

// DigestPages implements pager.Digester for BLAKE3, keyed and not.
func (c *cache) DigestPages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, dst []digest.Digest) error {
	return c.digestPages(ctx, "digest pages", key, ids, len(dst), &sums{algorithm: a, dst: dst})
}

// ComparePages implements pager.Comparer.
func (c *cache) ComparePages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID,
	want []digest.Digest, changed []int, found []digest.Digest,
) ([]int, []digest.Digest, error) {
	k := &sums{algorithm: a, want: want, changed: changed, found: found}
	if k.want == nil {
		k.want = []digest.Digest{}
	}
	if err := c.digestPages(ctx, "compare pages", key, ids, len(want), k); err != nil {
		return changed, found, err
	}
	return k.changed, k.found, nil
}

func (c *cache) digestPages(ctx context.Context, op string, key *digest.Key, ids []pager.PageID, n int, k *sums) error {
	if k.algorithm != digest.BLAKE3 && k.algorithm != digest.KeyedBLAKE3 {
		return fmt.Errorf("gpu: %s: no kernel for %v, only for BLAKE3: %w", op, k.algorithm, kvferry.ErrUnsupported)
	}
	h, err := digest.NewHasher(k.algorithm, key) // judges the key
	if err != nil {
		return fmt.Errorf("gpu: %s: %w", op, err)
	}
	if n != len(ids)*len(c.parts) {
		return fmt.Errorf("gpu: %s: %d digests for %d parts of each of %d pages: %w", op, n, len(c.parts), len(ids), kvferry.ErrInvalid)
	}
	if k.algorithm == digest.KeyedBLAKE3 {
		k.key = (*[32]byte)(key)
	}
	w := &work{job: pager.Job{Direction: pager.Out, Pages: ids}, sums: k}
	if err := c.submit(ctx, w); err != nil {
		return err
	}
	if err := c.finish(ctx, w); err != nil {
		return err
	}
	if c.runs == nil {
		k.ofNothing(h.Sum(nil), len(ids), len(c.parts))
	}
	return nil
}

// ofNothing fills in the digests of pages without bytes.
func (k *sums) ofNothing(none digest.Digest, pages, parts int) {
	for i := range k.dst {
		k.dst[i] = none
	}
	for i := 0; k.want != nil && i < pages; i++ {
		for j := range parts {
			if k.want[i*parts+j] != none {
				k.take(i, none, parts)
				break
			}
		}
	}
}

// take notes page i as changed, all of its digests being one.
func (k *sums) take(i int, sum digest.Digest, parts int) {
	k.changed = append(k.changed, i)
	for range parts {
		k.found = append(k.found, sum)
	}
}

// buildSums adds the steps of a batch of digests.
func (w *way) buildSums(s *slot, ids []pager.PageID) error {
	c, q, l, k := w.c, &w.queue, s.lane, s.work.sums
	l.held = s
	d := &l.digests
	bytes := int64(s.n) * int64(len(c.parts)) * kernels.DigestBytes
	if k.want != nil {
		k.putWant(d.hostWant[:bytes], k.want[s.from*len(c.parts):])
		w.link(cuda.Copy{Dst: d.want, Src: address(d.hostWant), Bytes: uint64(bytes)})
	}
	pages := w.table(s, ids)
	if err := w.order(s, ids); err != nil {
		return err
	}
	if err := w.hash(s, pages); err != nil {
		return fmt.Errorf("digests: %w", err)
	}
	if k.want == nil {
		w.link(cuda.Copy{Dst: address(d.hostGot), Src: d.got, Bytes: uint64(bytes)})
		return nil
	}
	meta := metaHead + 4*int64(s.n)
	q.Fill(d.meta, 0, meta) // the indices that are not used travel, too
	if err := c.kernels.Compare(q, d.got, d.want, s.n, len(c.parts), d.meta+metaHead, d.meta); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	c.counts.launches.Add(1)
	w.link(cuda.Copy{Dst: address(d.hostMeta), Src: d.meta, Bytes: uint64(meta)})
	return nil
}

// hash adds the digests of pages, where they are or gathered.
func (w *way) hash(s *slot, p kernels.Pages) error {
	c, d := w.c, &s.lane.digests
	h := kernels.Hash{
		Parts: c.parts, Count: s.n, Key: s.work.sums.key, Digests: d.got,
		Scratch: d.scratch, ScratchBytes: d.scratchBytes, Blocks: c.blocks,
	}
	c.counts.launches.Add(1)
	if c.inPlace {
		return c.runs.HashInPlace(&w.queue, p.Numbers, h)
	}
	if err := c.runs.Gather(&w.queue, p); err != nil {
		return err
	}
	c.counts.launches.Add(1)
	return c.kernels.HashPages(&w.queue, p.Staging, p.Stride, h)
}

// link adds a copy over the link and counts it.
func (w *way) link(c cuda.Copy) {
	w.queue.Copy(c)
	w.c.counts.copies.Add(1)
	w.c.counts.bytes.Add(c.Bytes)
}

// putWant writes digests as the kernel compares them. One that is not valid, or
// of another algorithm, becomes zeros, which no page has.
func (k *sums) putWant(dst []byte, want []digest.Digest) {
	for i := 0; i*kernels.DigestBytes < len(dst); i++ {
		var sum [digest.Size]byte
		if want[i].Algorithm() == k.algorithm {
			sum = want[i].Sum()
		}
		copy(dst[i*kernels.DigestBytes:], sum[:])
	}
}

// receiveSums takes the digests of a batch that is done. Those of changed pages
// are fetched when it is known which they are.
func (w *way) receiveSums(s *slot) (again bool, err error) {
	k, d := s.work.sums, &s.lane.digests
	parts := len(w.c.parts)
	if k.want == nil {
		for i := range k.dst[s.from*parts : (s.from+s.n)*parts] {
			k.dst[s.from*parts+i] = k.sumAt(d.hostGot, i)
		}
		return false, nil
	}
	changed, err := changedOf(d.hostMeta, s.n)
	if err != nil || changed == 0 {
		return false, err
	}
	if !s.fetching {
		return w.fetchSums(s, changed)
	}
	for i := range changed {
		k.changed = append(k.changed, s.from+indexAt(d.hostMeta, i))
	}
	for i := range changed * parts {
		k.found = append(k.found, k.sumAt(d.hostGot, i))
	}
	return false, nil
}

// sumAt returns the i-th digest of mem.
func (k *sums) sumAt(mem []byte, i int) digest.Digest {
	return digest.New(k.algorithm, [digest.Size]byte(mem[i*kernels.DigestBytes:]))
}

// indexAt returns the i-th index of changed pages.
func indexAt(meta []byte, i int) int { return int(binary.LittleEndian.Uint32(meta[metaHead+4*i:])) }

// changedOf returns how many of n pages changed, and checks what the device
// says before anybody goes by it.
func changedOf(meta []byte, n int) (int, error) {
	changed := binary.LittleEndian.Uint32(meta)
	if uint64(changed) > uint64(n) {
		return 0, fmt.Errorf("the device tells of %d changed pages of %d: %w", changed, n, kvferry.ErrCorrupt)
	}
	last := -1
	for i := range int(changed) {
		at := indexAt(meta, i)
		if at <= last || at >= n {
			return 0, fmt.Errorf("the device tells of a changed page %d of %d after %d: %w", at, n, last, kvferry.ErrCorrupt)
		}
		last = at
	}
	return int(changed), nil
}

// errUnmarked tells that a submission stopped midway and its end cannot be
// waited for.
var errUnmarked = errors.New("gpu: the end of what was queued cannot be marked")

// fetchSums brings the digests of the changed pages to the host, those of
// neighbours by one copy.
func (w *way) fetchSums(s *slot, changed int) (again bool, err error) {
	d := &s.lane.digests
	record := int64(len(w.c.parts)) * kernels.DigestBytes
	w.copies = w.copies[:0]
	for i := range changed {
		at := indexAt(d.hostMeta, i)
		if i > 0 && at == indexAt(d.hostMeta, i-1)+1 {
			w.copies[len(w.copies)-1].Bytes += uint64(record)
			continue
		}
		w.copies = append(w.copies, copyOf(pager.Out, d.got+cuda.Ptr(int64(at)*record), address(d.hostGot)+cuda.Ptr(int64(i)*record), record))
	}
	s.fetching = true
	return w.fetch(s)
}
