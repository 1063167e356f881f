package synthetic

import (
	"context"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

func (d digester) DigestPages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, dst []digest.Digest) error {
	return d.each(ctx, "digest", a, key, ids, len(dst), func(k int, sums []digest.Digest) {
		copy(dst[k*len(sums):], sums)
	})
}

func (d digester) ComparePages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []pager.PageID, want []digest.Digest, changed []int, sums []digest.Digest) ([]int, []digest.Digest, error) {
	atChanged, atSums := len(changed), len(sums)
	err := d.each(ctx, "compare", a, key, ids, len(want), func(k int, got []digest.Digest) {
		if !slices.Equal(got, want[k*len(got):(k+1)*len(got)]) {
			changed, sums = append(changed, k), append(sums, got...)
		}
	})
	if err != nil {
		return changed[:atChanged], sums[:atSums], err
	}
	return changed, sums, nil
}

// each calls f with the position and the digests of every page. room is the
// length of the list of digests that the caller has for them.
func (d digester) each(ctx context.Context, op string, a digest.Algorithm, key *digest.Key, ids []pager.PageID, room int, f func(k int, sums []digest.Digest)) error {
	e := d.e
	e.mu.RLock()
	defer e.mu.RUnlock()
	if err := e.ready(ctx, op+" pages"); err != nil {
		return err
	}
	if room != len(ids)*len(e.meta.Parts) {
		return fmt.Errorf("synthetic: %s %d pages of %d parts with %d digests: %w", op, len(ids), len(e.meta.Parts), room, kvferry.ErrInvalid)
	}
	h, err := digest.NewHasher(a, key)
	if err != nil {
		return fmt.Errorf("synthetic: %s pages: %w", op, err)
	}
	sums := make([]digest.Digest, len(e.meta.Parts))
	for k, id := range ids {
		c, i := e.slab.find(id)
		if c == nil || c.states[i] != full {
			return fmt.Errorf("synthetic: %s page %d: %w", op, id, kvferry.ErrNotFound)
		}
		page := e.slab.page(c, i)
		for j, p := range e.meta.Parts {
			sums[j] = h.Sum(page[:p.Bytes])
			page = page[p.Bytes:]
		}
		f(k, sums)
	}
	return nil
}
