package pager

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/kvferry/kvferry"
)

// Mapping is a Layout that was checked and compiled to few copies. It is
// immutable and safe for concurrent use.
type Mapping struct {
	meta    Meta
	pages   int
	regions []Region
	runs    []Run
}

// Compile checks l as Validate does and returns its mapping, which keeps
// nothing of l's slices.
func (l *Layout) Compile() (*Mapping, error) {
	fs, err := l.fragments()
	if err != nil {
		return nil, err
	}
	m := &Mapping{meta: l.Meta, pages: l.Pages, regions: slices.Clone(l.Regions)}
	m.meta.Parts = slices.Clone(l.Meta.Parts)
	m.runs = group(fs)
	slices.SortFunc(fs, func(a, b fragment) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.local, b.local))
	})
	if byLocal := group(fs); len(byLocal) < len(m.runs) {
		m.runs = byLocal
	}
	return m, nil
}

// group folds consecutive fragments of one size and one pair of strides.
func group(fs []fragment) []Run {
	var out []Run
	for _, f := range fs {
		if k := len(out) - 1; k >= 0 && extend(&out[k], f) {
			continue
		}
		out = append(out, Run{Region: f.region, Local: f.local, Canonical: f.canon, Bytes: f.n, Count: 1})
	}
	return slices.Clip(out)
}

// extend adds f to r if it continues r's strides.
func extend(r *Run, f fragment) bool {
	if f.region != r.Region || f.n != r.Bytes {
		return false
	}
	if r.Count == 1 {
		ls, cs := f.local-r.Local, f.canon-r.Canonical
		if ls < 0 || cs < 0 {
			return false
		}
		r.LocalStride, r.CanonicalStride, r.Count = ls, cs, 2
		return true
	}
	if f.local != r.Local+r.Count*r.LocalStride || f.canon != r.Canonical+r.Count*r.CanonicalStride {
		return false
	}
	r.Count++
	return true
}

// Meta returns the geometry.
func (m *Mapping) Meta() Meta { return m.meta }

// Pages returns the number of pages.
func (m *Mapping) Pages() int { return m.pages }

// Regions returns the regions; they belong to the mapping.
func (m *Mapping) Regions() []Region { return m.regions }

// Runs returns the copies of one page with neighbours merged. Unlike in a
// Layout, Canonical counts from the start of the page, all parts together. The
// slice belongs to the mapping.
func (m *Mapping) Runs() []Run { return m.runs }

// Bind ties the mapping to host memory: one slice for each region, at least as
// long as the region says. ErrInvalid if one is too short or if two share
// memory. The memory stays the caller's.
func (m *Mapping) Bind(regions [][]byte) (*Bound, error) {
	if len(regions) != len(m.regions) {
		return nil, fmt.Errorf("pager: %d memories for %d regions: %w", len(regions), len(m.regions), kvferry.ErrInvalid)
	}
	for i, r := range m.regions {
		if r.Bytes > math.MaxInt || len(regions[i]) < int(r.Bytes) {
			return nil, fmt.Errorf("pager: memory of region %d has %d bytes, want %d: %w", i, len(regions[i]), r.Bytes, kvferry.ErrInvalid)
		}
	}
	b := &Bound{Mapping: m, memory: slices.Clone(regions), pageBytes: m.meta.PageBytes()}
	if i, j, shared := sharing(b.memory); shared {
		return nil, fmt.Errorf("pager: the memories of regions %d and %d overlap: %w", i, j, kvferry.ErrInvalid)
	}
	return b, nil
}

// Bound is a Mapping tied to host memory. Its methods are safe for concurrent
// use on different pages and allocate nothing.
type Bound struct {
	*Mapping
	memory    [][]byte
	pageBytes int
}

func (b *Bound) check(op string, id PageID, n int) error {
	if uint64(id) >= uint64(b.pages) {
		return fmt.Errorf("pager: %s page %d of %d: %w", op, id, b.pages, kvferry.ErrNotFound)
	}
	if n != b.pageBytes {
		return fmt.Errorf("pager: %s page %d: buffer of %d bytes, want %d: %w", op, id, n, b.pageBytes, kvferry.ErrInvalid)
	}
	return nil
}

// Gather copies page id into dst in canonical order. dst is
// Meta().PageBytes() long, else ErrInvalid; a page beyond the layout is
// ErrNotFound.
func (b *Bound) Gather(dst []byte, id PageID) error {
	if err := b.check("read", id, len(dst)); err != nil {
		return err
	}
	for i := range b.runs {
		r := &b.runs[i]
		at := int(b.regions[r.Region].Offset + int64(id)*b.regions[r.Region].Stride + r.Local)
		mem := b.memory[r.Region]
		if r.Count == 1 {
			copy(dst[r.Canonical:r.Canonical+r.Bytes], mem[at:])
			continue
		}
		strided(dst[r.Canonical:], mem[at:], int(r.Count), int(r.Bytes), int(r.CanonicalStride), int(r.LocalStride))
	}
	return nil
}

// Scatter copies src, a page in canonical order, to page id's place. Errors
// are those of Gather. Bytes that no run covers (padding) are left alone.
func (b *Bound) Scatter(id PageID, src []byte) error {
	if err := b.check("write", id, len(src)); err != nil {
		return err
	}
	for i := range b.runs {
		r := &b.runs[i]
		at := int(b.regions[r.Region].Offset + int64(id)*b.regions[r.Region].Stride + r.Local)
		mem := b.memory[r.Region]
		if r.Count == 1 {
			copy(mem[at:], src[r.Canonical:r.Canonical+r.Bytes])
			continue
		}
		strided(mem[at:], src[r.Canonical:], int(r.Count), int(r.Bytes), int(r.LocalStride), int(r.CanonicalStride))
	}
	return nil
}

// strided copies count fragments of n bytes, at least one; ds and ss are the
// strides of dst and src. The sizes of elements and small rows go without a
// call of memmove per fragment, which would cost several times the copy.
func strided(dst, src []byte, count, n, ds, ss int) {
	switch n {
	case 2:
		stridedOf[[2]byte](dst, src, count, ds, ss)
	case 4:
		stridedOf[[4]byte](dst, src, count, ds, ss)
	case 8:
		stridedOf[[8]byte](dst, src, count, ds, ss)
	case 16:
		stridedOf[[16]byte](dst, src, count, ds, ss)
	case 32:
		stridedOf[[32]byte](dst, src, count, ds, ss)
	case 64:
		stridedOf[[64]byte](dst, src, count, ds, ss)
	default:
		for d, s := 0, 0; count > 0; count-- {
			copy(dst[d:d+n], src[s:s+n])
			d, s = d+ds, s+ss
		}
	}
}

// sharing returns two slices that have memory in common.
func sharing(ms [][]byte) (i, j int, found bool) {
	order := make([]int, 0, len(ms))
	for i, m := range ms {
		if len(m) > 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(address(ms[a]), address(ms[b])) })
	for k := 1; k < len(order); k++ {
		a, b := order[k-1], order[k]
		if address(ms[a])+uintptr(len(ms[a])) > address(ms[b]) {
			return a, b, true
		}
	}
	return 0, 0, false
}
