package pager

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// span is a stretch of a page's memory in one region.
type span struct{ from, to int64 }

// checkOverlap returns ErrInvalid if two fragments share a byte of a region.
// Without pages there is nothing to share.
func (l *Layout) checkOverlap(fs []fragment) error {
	if l.Pages == 0 {
		return nil
	}
	sorted := slices.Clone(fs)
	slices.SortFunc(sorted, func(a, b fragment) int {
		return cmp.Or(cmp.Compare(a.region, b.region), cmp.Compare(a.local, b.local))
	})
	for len(sorted) > 0 {
		region := sorted[0].region
		var spans []span
		i := 0
		for ; i < len(sorted) && sorted[i].region == region; i++ {
			f := sorted[i]
			switch k := len(spans) - 1; {
			case k < 0 || f.local > spans[k].to:
				spans = append(spans, span{f.local, f.local + f.n})
			case f.local == spans[k].to:
				spans[k].to += f.n
			default:
				return fmt.Errorf("pager: two fragments of a page overlap at byte %d of region %d: %w", f.local, region, kvferry.ErrInvalid)
			}
		}
		sorted = sorted[i:]
		if l.Pages > 1 && pagesOverlap(spans, l.Regions[region].Stride, int64(l.Pages)) {
			return fmt.Errorf("pager: fragments of two pages overlap in region %d with a stride of %d bytes: %w",
				region, l.Regions[region].Stride, kvferry.ErrInvalid)
		}
	}
	return nil
}

// edge is where a span begins or ends on the ring of residues.
type edge struct {
	at    int64
	lap   int64
	begin bool
}

// pagesOverlap reports whether page p's spans meet page q's for some p != q
// below pages. Spans at local offsets x and y of pages p and q share a byte
// exactly if x + p*stride and y + q*stride do: the residues modulo stride meet
// and the laps x/stride and y/stride differ by less than pages. So the spans
// are laid on a ring of stride bytes and a sweep keeps the laps that are open;
// in a sound layout those are at least pages apart, hence at most one in each
// bucket of that width, and a collision is found in the three nearest buckets.
func pagesOverlap(spans []span, stride, pages int64) bool {
	edges := make([]edge, 0, 2*len(spans))
	for _, s := range spans {
		if s.to-s.from > stride {
			return true // with its own copy in the next page; covers stride 0
		}
		lap, at := s.from/stride, s.from%stride
		if end := at + s.to - s.from; end <= stride {
			edges = append(edges, edge{at, lap, true}, edge{end, lap, false})
		} else {
			edges = append(edges, edge{at, lap, true}, edge{stride, lap, false},
				edge{0, lap + 1, true}, edge{end - stride, lap + 1, false})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at == b.at && a.begin != b.begin {
			if b.begin {
				return -1 // close before opening at the same byte
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	open := make(map[int64]int64)
	for _, e := range edges {
		bucket := e.lap / pages
		if !e.begin {
			delete(open, bucket)
			continue
		}
		for b := bucket - 1; b <= bucket+1; b++ {
			if lap, ok := open[b]; ok && max(lap-e.lap, e.lap-lap) < pages {
				return true
			}
		}
		open[bucket] = e.lap
	}
	return false
}
