package kernels

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/kvferry/kvferry/cuda"
)

const (
	// unitBytes is about what a warp copies at once: enough for several loads
	// of every lane, and few enough that a page keeps many warps busy.
	unitBytes = 4096
	// mostPieces bounds the units of long fragments of one page, which become
	// longer in pages beyond unitBytes times as much.
	mostPieces = 16384
	// maxFragments bounds the fragments of one page, as package pager does.
	maxFragments = 1 << 20
	// unitSize and fragmentSize are those of KfUnit in runs.h and KfFragment in
	// blake3_in_place.cu.
	unitSize, fragmentSize = 64, 32
	widest                 = 16
)

// unit is KfUnit.
type unit struct {
	address                                             uint64
	pageStride, localStride, canonical, canonicalStride int64
	bytes, count, align                                 uint32
}

func (u unit) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, u.address)
	for _, v := range [...]int64{u.pageStride, u.localStride, u.canonical, u.canonicalStride} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	for _, v := range [...]uint32{u.bytes, u.count, u.align, 0, 0, 0} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// fragment is a stretch of a page that lies together in memory: KfFragment.
type fragment struct {
	address                      uint64
	canonical, pageStride, bytes int64
}

func (f fragment) append(b []byte) []byte {
	for _, v := range [...]uint64{f.address, uint64(f.canonical), uint64(f.pageStride), 0} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// checkRuns returns ErrInvalid unless the numbers of every run are in range.
func checkRuns(runs []Run, pageBytes int64) error {
	const op = "new runs"
	if pageBytes < 0 || pageBytes > math.MaxInt32 {
		return invalid(op, "pages of %d bytes, want 0 to %d", pageBytes, math.MaxInt32)
	}
	for i, r := range runs {
		switch {
		case r.Address == 0:
			return invalid(op, "run %d has no address", i)
		case r.Bytes < 1 || r.Count < 1 || r.Canonical < 0 || r.PageStride < 0 || r.LocalStride < 0 || r.CanonicalStride < 0:
			return invalid(op, "run %d has a number out of range: %+v", i, r)
		case r.Bytes > pageBytes || r.Count > pageBytes/r.Bytes || r.Canonical > pageBytes-r.Bytes:
			return invalid(op, "run %d covers more than the page's %d bytes: %+v", i, pageBytes, r)
		case r.Count > 1 && r.CanonicalStride > (pageBytes-r.Bytes-r.Canonical)/(r.Count-1):
			return invalid(op, "run %d ends beyond the page's %d bytes: %+v", i, pageBytes, r)
		case !inMemory(r):
			return invalid(op, "run %d ends beyond what an address can name: %+v", i, r)
		}
	}
	return nil
}

// inMemory reports whether the address of every fragment of page 0 is a number
// below 2^63.
func inMemory(r Run) bool {
	hi, span := bits.Mul64(uint64(r.Count-1), uint64(r.LocalStride))
	return hi == 0 && span < 1<<62 && uint64(r.Address) < 1<<62 && span+uint64(r.Address)+uint64(r.Bytes) < 1<<63
}

// whole returns r with fragments that are neighbours on both sides as one.
func whole(r Run) Run {
	if r.Count > 1 && r.LocalStride == r.Bytes && r.CanonicalStride == r.Bytes {
		r.Bytes, r.Count = r.Bytes*r.Count, 1
	}
	if r.Count == 1 {
		r.LocalStride, r.CanonicalStride = 0, 0
	}
	return r
}

// fragmentsOf returns a page's fragments in canonical order, neighbours merged.
// ErrInvalid unless they cover every canonical byte once.
func fragmentsOf(runs []Run, pageBytes int64) ([]fragment, error) {
	const op = "new runs"
	var fs []fragment
	for _, r := range runs {
		r = whole(r)
		if r.Count > int64(maxFragments-len(fs)) {
			return nil, invalid(op, "a page of more than %d fragments", maxFragments)
		}
		for i := range r.Count {
			fs = append(fs, fragment{uint64(r.Address) + uint64(i*r.LocalStride), r.Canonical + i*r.CanonicalStride, r.PageStride, r.Bytes})
		}
	}
	slices.SortFunc(fs, func(a, b fragment) int { return cmp.Compare(a.canonical, b.canonical) })
	at := int64(0)
	merged := fs[:0]
	for _, f := range fs {
		if f.canonical != at {
			return nil, invalid(op, "canonical byte %d is covered twice or not at all", min(at, f.canonical))
		}
		at += f.bytes
		if k := len(merged) - 1; k >= 0 && merged[k].pageStride == f.pageStride && merged[k].address+uint64(merged[k].bytes) == f.address {
			merged[k].bytes += f.bytes
			continue
		}
		merged = append(merged, f)
	}
	if at != pageBytes {
		return nil, invalid(op, "canonical byte %d is not covered", at)
	}
	return slices.Clip(merged), nil
}

// unitsOf cuts runs into units: long fragments into pieces, short ones so many
// together as make a piece.
func unitsOf(runs []Run, pageBytes int64) []unit {
	long := max(unitBytes, (pageBytes/mostPieces+unitBytes-1)/unitBytes*unitBytes)
	var us []unit
	for _, r := range runs {
		r = whole(r)
		if r.Bytes > unitBytes/2 || r.Count == 1 {
			us = appendPieces(us, r, long)
		} else {
			us = appendGroups(us, r)
		}
	}
	return us
}

// appendPieces cuts each fragment of r into pieces of long bytes. The first is
// shorter if the fragment does not begin at a multiple of the widest element,
// so that the others do.
func appendPieces(us []unit, r Run, long int64) []unit {
	for i := range r.Count {
		address, canonical := uint64(r.Address)+uint64(i*r.LocalStride), r.Canonical+i*r.CanonicalStride
		for at := int64(0); at < r.Bytes; {
			n := min(long-int64((address+uint64(at))%widest), r.Bytes-at)
			us = append(us, unit{
				address: address + uint64(at), pageStride: r.PageStride, canonical: canonical + at,
				bytes: uint32(n), count: 1, align: 1,
			})
			at += n
		}
	}
	return us
}

func appendGroups(us []unit, r Run) []unit {
	group := unitBytes / r.Bytes
	align := alignment(uint64(r.Address), uint64(r.PageStride), uint64(r.LocalStride),
		uint64(r.Canonical), uint64(r.CanonicalStride), uint64(r.Bytes))
	for i := int64(0); i < r.Count; i += group {
		u := unit{
			address: uint64(r.Address) + uint64(i*r.LocalStride), pageStride: r.PageStride, localStride: r.LocalStride,
			canonical: r.Canonical + i*r.CanonicalStride, canonicalStride: r.CanonicalStride,
			bytes: uint32(r.Bytes), count: uint32(min(group, r.Count-i)), align: align,
		}
		us = append(us, u)
	}
	return us
}

// alignment returns the widest element, 1 to 16 bytes, whose multiples all of
// vs are.
func alignment(vs ...uint64) uint32 {
	all := uint64(widest)
	for _, v := range vs {
		all |= v
	}
	return 1 << bits.TrailingZeros64(all)
}

func pointerAlignment(p cuda.Ptr, stride int64) uint32 { return alignment(uint64(p), uint64(stride)) }
