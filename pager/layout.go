package pager

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/kvferry/kvferry"
)

// Run maps fragments of an engine's memory to canonical bytes of one part:
//
//	memory     Region.Offset + page*Region.Stride + Local + i*LocalStride
//	canonical  Canonical + i*CanonicalStride           for i in 0 .. Count-1
//
// each fragment being Bytes long on both sides. All numbers are bytes, none is
// negative, Bytes and Count are at least 1; the strides do not matter when
// Count is 1.
type Run struct {
	Region          int   // index into Layout.Regions
	Local           int64 // first fragment, from the page's place in the region
	Canonical       int64 // first fragment, from the start of the part
	Bytes           int64 // length of one fragment
	Count           int64 // number of fragments
	LocalStride     int64 // between fragments in the region
	CanonicalStride int64 // between fragments in the part
}

// Region is one piece of memory that holds a share of every page: a host
// slice, a mapped file, a device allocation. Page p has its place at
// Offset + p*Stride. A run may reach beyond Stride, as it does where one
// allocation holds the layers one after the other and pages within them.
type Region struct {
	Bytes  int64 // length of the memory
	Offset int64 // place of page 0
	Stride int64 // from one page's place to the next
}

// Layout describes how an engine keeps its pages: the geometry, the number of
// pages, the memories and, for each part of a page, the runs that map it. It
// is plain data; Compile checks it. Different layouts of one Meta have equal
// fingerprints, so pages move between them.
type Layout struct {
	Meta    Meta
	Pages   int
	Regions []Region
	Runs    [][]Run // as long as Meta.Parts, in the same order
}

// MaxPages is the number of pages that PageID can name.
const MaxPages = 1 << 32

// MaxFragments bounds the fragments of one page; a layout that cuts its pages
// finer is refused.
const MaxFragments = 1 << 20

// Fingerprint returns the fingerprint of the canonical form. Strides and
// regions have no part in it.
func (l *Layout) Fingerprint() Fingerprint { return l.Meta.Fingerprint() }

// Validate returns ErrInvalid unless the layout is safe to copy by: no
// arithmetic overflows, every canonical byte of every part is covered exactly
// once, every fragment of every page lies inside its region, and no two
// fragments overlap there, be they of one page or of two. Its cost depends on
// the fragments of one page, not on the number of pages.
func (l *Layout) Validate() error {
	_, err := l.fragments()
	return err
}

// fragment is one contiguous piece of a page in its region.
type fragment struct {
	region          int
	local, canon, n int64 // canon counts from the start of the page
}

// fragments checks the layout and returns the fragments of a page in canonical
// order, neighbours merged.
func (l *Layout) fragments() ([]fragment, error) {
	if err := l.checkShape(); err != nil {
		return nil, err
	}
	var fs []fragment
	base := int64(0)
	for i, p := range l.Meta.Parts {
		from := len(fs)
		covered := int64(0)
		for j := range l.Runs[i] {
			r := &l.Runs[i][j]
			n, err := l.checkRun(r, int64(p.Bytes)-covered, int64(p.Bytes))
			if err != nil {
				return nil, fmt.Errorf("pager: part %d (%s), run %d: %w", i, p.Kind, j, err)
			}
			covered += n
			if fs, err = expand(fs, r, base); err != nil {
				return nil, fmt.Errorf("pager: part %d (%s), run %d: %w", i, p.Kind, j, err)
			}
		}
		if err := checkCover(fs[from:], base, int64(p.Bytes)); err != nil {
			return nil, fmt.Errorf("pager: part %d (%s): %w", i, p.Kind, err)
		}
		base += int64(p.Bytes)
	}
	if err := l.checkOverlap(fs); err != nil {
		return nil, err
	}
	return mergeFragments(fs), nil
}

func (l *Layout) checkShape() error {
	if err := l.Meta.Validate(); err != nil {
		return err
	}
	if l.Pages < 0 || uint64(l.Pages) > MaxPages {
		return fmt.Errorf("pager: layout of %d pages, want 0 to %d: %w", l.Pages, int64(MaxPages), kvferry.ErrInvalid)
	}
	if len(l.Runs) != len(l.Meta.Parts) {
		return fmt.Errorf("pager: layout maps %d parts of %d: %w", len(l.Runs), len(l.Meta.Parts), kvferry.ErrInvalid)
	}
	for i, r := range l.Regions {
		if r.Bytes < 0 || r.Offset < 0 || r.Stride < 0 {
			return fmt.Errorf("pager: region %d has a negative length, offset or stride: %w", i, kvferry.ErrInvalid)
		}
	}
	return nil
}

// checkRun returns the number of canonical bytes that r covers; room is how
// many of the part's are not covered yet.
func (l *Layout) checkRun(r *Run, room, part int64) (int64, error) {
	if r.Region < 0 || r.Region >= len(l.Regions) {
		return 0, fmt.Errorf("region %d of %d: %w", r.Region, len(l.Regions), kvferry.ErrInvalid)
	}
	if r.Bytes < 1 || r.Count < 1 || r.Local < 0 || r.Canonical < 0 || r.LocalStride < 0 || r.CanonicalStride < 0 {
		return 0, fmt.Errorf("%d fragments of %d bytes with a number out of range: %w", r.Count, r.Bytes, kvferry.ErrInvalid)
	}
	n, ok := product(uint64(r.Count), uint64(r.Bytes))
	if !ok || n > uint64(room) {
		return 0, fmt.Errorf("%d fragments of %d bytes cover more than the part's %d bytes: %w", r.Count, r.Bytes, part, kvferry.ErrInvalid)
	}
	end, ok := sum(uint64(r.Canonical), times(r.Count-1, r.CanonicalStride), uint64(r.Bytes))
	if !ok || end > uint64(part) {
		return 0, fmt.Errorf("canonical bytes end beyond the part's %d: %w", part, kvferry.ErrInvalid)
	}
	reg := &l.Regions[r.Region]
	end, ok = sum(uint64(reg.Offset), times(int64(max(l.Pages-1, 0)), reg.Stride),
		uint64(r.Local), times(r.Count-1, r.LocalStride), uint64(r.Bytes))
	if !ok || (l.Pages > 0 && end > uint64(reg.Bytes)) {
		return 0, fmt.Errorf("the last page ends beyond the %d bytes of region %d: %w", reg.Bytes, r.Region, kvferry.ErrInvalid)
	}
	return int64(n), nil
}

// times multiplies and saturates, so that sum reports the overflow.
func times(a, b int64) uint64 {
	p, ok := product(uint64(a), uint64(b))
	if !ok {
		return math.MaxUint64
	}
	return p
}

// sum adds and reports whether the result fits an int64.
func sum(vs ...uint64) (uint64, bool) {
	t := uint64(0)
	for _, v := range vs {
		if v > math.MaxInt64-t {
			return 0, false
		}
		t += v
	}
	return t, true
}

// expand appends r's fragments; base is the part's start within the page.
func expand(fs []fragment, r *Run, base int64) ([]fragment, error) {
	if r.Count > 1 && r.LocalStride == r.Bytes && r.CanonicalStride == r.Bytes {
		return append(fs, fragment{r.Region, r.Local, base + r.Canonical, r.Bytes * r.Count}), nil
	}
	if r.Count > int64(MaxFragments-len(fs)) {
		return nil, fmt.Errorf("a page of more than %d fragments: %w", MaxFragments, kvferry.ErrInvalid)
	}
	for i := range r.Count {
		fs = append(fs, fragment{r.Region, r.Local + i*r.LocalStride, base + r.Canonical + i*r.CanonicalStride, r.Bytes})
	}
	return fs, nil
}

// checkCover sorts a part's fragments by canonical offset and returns
// ErrInvalid unless they tile its bytes.
func checkCover(fs []fragment, base, n int64) error {
	slices.SortFunc(fs, func(a, b fragment) int { return cmp.Compare(a.canon, b.canon) })
	at := base
	for _, f := range fs {
		if f.canon != at {
			return fmt.Errorf("canonical byte %d is covered twice or not at all: %w", min(f.canon, at)-base, kvferry.ErrInvalid)
		}
		at += f.n
	}
	if at != base+n {
		return fmt.Errorf("canonical byte %d is not covered: %w", at-base, kvferry.ErrInvalid)
	}
	return nil
}

// mergeFragments joins fragments that are neighbours on both sides; fs is in
// canonical order and without gaps.
func mergeFragments(fs []fragment) []fragment {
	out := fs[:0]
	for _, f := range fs {
		if k := len(out) - 1; k >= 0 && out[k].region == f.region && out[k].local+out[k].n == f.local {
			out[k].n += f.n
			continue
		}
		out = append(out, f)
	}
	return out
}
