package gpu

import (
	"cmp"
	"slices"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
)

// This file works out what is to be copied. It touches no device.

// fragment is one contiguous piece of every page.
type fragment struct {
	address cuda.Ptr // in page 0
	stride  int64    // from one page to the next
	canon   int64    // from the start of the canonical page
	bytes   int64
}

// at returns where page id has the fragment.
func (f *fragment) at(id pager.PageID) cuda.Ptr {
	return f.address + cuda.Ptr(int64(id)*f.stride)
}

// geometry is how the pages lie in device memory.
type geometry struct {
	pageBytes int64
	fragments []fragment // in canonical order, neighbours merged
	// chained tells that a page's last fragment ends where the next page's
	// first one begins.
	chained bool
}

// kernelRuns returns the mapping's runs with the regions' addresses put in.
func kernelRuns(m *pager.Mapping, regions []cuda.Ptr) []kernels.Run {
	runs := make([]kernels.Run, 0, len(m.Runs()))
	for _, r := range m.Runs() {
		region := m.Regions()[r.Region]
		runs = append(runs, kernels.Run{
			Address:    regions[r.Region] + cuda.Ptr(region.Offset+r.Local),
			PageStride: region.Stride, LocalStride: r.LocalStride,
			Canonical: r.Canonical, CanonicalStride: r.CanonicalStride,
			Bytes: r.Bytes, Count: r.Count,
		})
	}
	return runs
}

// newGeometry expands runs to fragments.
func newGeometry(runs []kernels.Run, pageBytes int64) geometry {
	g := geometry{pageBytes: pageBytes}
	for _, r := range runs {
		for i := range r.Count {
			g.fragments = append(g.fragments, fragment{
				r.Address + cuda.Ptr(i*r.LocalStride), r.PageStride, r.Canonical + i*r.CanonicalStride, r.Bytes,
			})
		}
	}
	slices.SortFunc(g.fragments, func(a, b fragment) int { return cmp.Compare(a.canon, b.canon) })
	if n := len(g.fragments); n > 0 {
		first, last := &g.fragments[0], &g.fragments[n-1]
		g.chained = first.stride == last.stride && last.at(0)+cuda.Ptr(last.bytes) == first.at(1)
	}
	return g
}

// place is where a canonical page lies in host memory that the device reaches.
type place struct {
	at cuda.Ptr
	// joined tells that it follows the place before it, in the same
	// registration: one copy can serve both.
	joined bool
}

// follows reports whether the pages i-1 and i can be one copy on both sides.
func (g *geometry) follows(ids []pager.PageID, places []place, i int) bool {
	return g.chained && places[i].joined && int64(ids[i]) == int64(ids[i-1])+1
}

// runs returns how many copies the pages take after merging. Within a page the
// fragments are merged already, so only the seams between pages count.
func (g *geometry) runs(ids []pager.PageID, places []place) int64 {
	n := int64(len(ids)) * int64(len(g.fragments))
	if !g.chained {
		return n
	}
	for i := 1; i < len(ids); i++ {
		if g.follows(ids, places, i) {
			n--
		}
	}
	return n
}

// direct appends the copies between pages and their places, fragment by
// fragment; with merge, neighbours on both sides become one.
func (g *geometry) direct(cs []cuda.Copy, d pager.Direction, ids []pager.PageID, places []place, merge bool) []cuda.Copy {
	for i, id := range ids {
		joins := merge && i > 0 && g.follows(ids, places, i)
		for j := range g.fragments {
			f := &g.fragments[j]
			if j == 0 && joins {
				cs[len(cs)-1].Bytes += uint64(f.bytes)
				continue
			}
			cs = append(cs, copyOf(d, f.at(id), places[i].at+cuda.Ptr(f.canon), f.bytes))
		}
	}
	return cs
}

// staged appends the copies between canonical pages, one after the other from
// staging on, and their places.
func (g *geometry) staged(cs []cuda.Copy, d pager.Direction, staging cuda.Ptr, places []place) []cuda.Copy {
	for i, p := range places {
		if i > 0 && p.joined {
			cs[len(cs)-1].Bytes += uint64(g.pageBytes)
			continue
		}
		cs = append(cs, copyOf(d, staging+cuda.Ptr(int64(i)*g.pageBytes), p.at, g.pageBytes))
	}
	return cs
}

// copyOf returns the copy from device to host for Out, and back for In.
func copyOf(d pager.Direction, device, host cuda.Ptr, bytes int64) cuda.Copy {
	if d == pager.Out {
		return cuda.Copy{Dst: host, Src: device, Bytes: uint64(bytes)}
	}
	return cuda.Copy{Dst: device, Src: host, Bytes: uint64(bytes)}
}

// distinct returns how many of ids, from the first on, are all different. It
// allocates: only a job that names a page twice needs it.
func distinct(ids []pager.PageID) int {
	seen := make(map[pager.PageID]struct{}, len(ids))
	for i, id := range ids {
		if _, again := seen[id]; again {
			return i
		}
		seen[id] = struct{}{}
	}
	return len(ids)
}
