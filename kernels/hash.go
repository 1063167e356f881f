package kernels

import (
	"math"
	"math/bits"

	"github.com/kvferry/kvferry/cuda"
)

// DigestBytes is the length of a digest in device memory.
const DigestBytes = 32

// chunkBytes is the length of BLAKE3's chunks.
const chunkBytes = 1024

// Part is a range of a canonical page that has a digest of its own.
type Part struct {
	Offset, Bytes int64
}

// within reports whether p lies in pages of n bytes. No part has 2^31 bytes or
// more.
func (p Part) within(n int64) bool {
	return p.Offset >= 0 && p.Bytes >= 0 && p.Bytes <= math.MaxInt32 && p.Offset <= n && p.Bytes <= n-p.Offset
}

// chunks returns how many chunks p has. No bytes are one chunk, too.
func (p Part) chunks() int64 { return max(1, (p.Bytes+chunkBytes-1)/chunkBytes) }

// Hash is what BLAKE3 works on. Digests are written page by page, those of a
// page in the order of Parts.
type Hash struct {
	Parts   []Part
	Count   int       // pages
	Key     *[32]byte // keyed BLAKE3; nil for the plain one
	Digests cuda.Ptr  // Count x len(Parts) x DigestBytes, a multiple of 16
	// Scratch is device memory of at least ScratchBytes, a multiple of 16. What
	// is in it does not matter, and after the steps have run nothing does.
	Scratch      cuda.Ptr
	ScratchBytes int64
	Blocks       int // bound of the grid; 0 means none
	// Tile lets warps read through shared memory, Multiply lets some additions be
	// products with 1: the same digests by other kernels, of which a measurement
	// has to tell whether they are faster. They exclude each other, and have no part
	// in HashInPlace.
	Tile, Multiply bool
}

// ScratchBytes returns the scratch memory that count pages of parts need: 0 if
// no part is longer than 1,024 bytes. Parts or counts that cannot be need more
// than there is: math.MaxInt64.
func ScratchBytes(parts []Part, count int) int64 {
	if checkParts("scratch", parts, count, math.MaxInt64) != nil {
		return math.MaxInt64
	}
	most := int64(0)
	for ; len(parts) > 0; parts = parts[min(perLaunch, len(parts)):] {
		var l level
		l.begin(parts[:min(perLaunch, len(parts))])
		if l.trees() > 0 {
			most = max(most, (l.in+l.out())*int64(count)*DigestBytes)
		}
	}
	return most
}

// checkParts returns ErrInvalid unless count pages of pageBytes can have parts,
// and their chunks numbers.
func checkParts(op string, parts []Part, count int, pageBytes int64) error {
	if count < 0 || count > math.MaxInt32 {
		return invalid(op, "%d pages, want 0 to %d", count, math.MaxInt32)
	}
	if len(parts) > math.MaxInt32/max(count, 1) {
		return invalid(op, "%d digests of each of %d pages: want fewer pages at once", len(parts), count)
	}
	chunks := int64(0)
	for i, p := range parts {
		if !p.within(pageBytes) {
			return invalid(op, "part %d is %d bytes at %d, beyond the page or too long", i, p.Bytes, p.Offset)
		}
		if chunks += p.chunks(); chunks > math.MaxInt32/int64(max(count, 1)) {
			return invalid(op, "%d pages have more than %d chunks: want fewer pages at once", count, math.MaxInt32)
		}
	}
	return nil
}

func (h *Hash) check(op string, pageBytes int64) error {
	if err := checkParts(op, h.Parts, h.Count, pageBytes); err != nil {
		return err
	}
	switch need := ScratchBytes(h.Parts, h.Count); {
	case h.Blocks < 0:
		return invalid(op, "a grid of %d blocks", h.Blocks)
	case h.Tile && h.Multiply:
		return invalid(op, "Tile and Multiply exclude each other")
	case h.empty():
	case h.Digests == 0 || h.Digests%widest != 0:
		return invalid(op, "digests at %#x, want a multiple of %d that is not 0", uint64(h.Digests), widest)
	case h.ScratchBytes < need:
		return invalid(op, "%d bytes of scratch, want %d", h.ScratchBytes, need)
	case need > 0 && (h.Scratch == 0 || h.Scratch%widest != 0):
		return invalid(op, "scratch at %#x, want a multiple of %d that is not 0", uint64(h.Scratch), widest)
	}
	return nil
}

// empty reports whether there is nothing to hash.
func (h *Hash) empty() bool { return h.Count == 0 || len(h.Parts) == 0 }

// HashPages adds the digests of canonical pages at staging, one every stride
// bytes.
func (s *Set) HashPages(q *cuda.Submission, staging cuda.Ptr, stride int64, h Hash) error {
	const op = "hash pages"
	if stride < 0 {
		return invalid(op, "a stride of %d bytes", stride)
	}
	page := stride
	if h.Count < 2 {
		page = math.MaxInt64 // one page lies wherever it ends
	}
	if err := h.check(op, page); err != nil {
		return err
	}
	if h.empty() {
		return nil
	}
	if staging == 0 || !fits(uint64(staging), uint64(h.Count), uint64(max(stride, h.end()))) {
		return invalid(op, "%d pages every %d bytes from %#x", h.Count, stride, uint64(staging))
	}
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.done()
	s.hash(q, &h, func(p *cuda.Params) *cuda.Function {
		p.Ptr(staging)
		p.Int64(stride)
		switch {
		case h.Tile:
			return s.chunksTile
		case h.Multiply:
			return s.chunksMad
		default:
			return s.chunks
		}
	})
	return nil
}

// HashInPlace adds the digests of pages where they are; numbers is as in Pages.
// ErrUnsupported unless InPlace(h.Parts).
func (r *Runs) HashInPlace(q *cuda.Submission, numbers cuda.Ptr, h Hash) error {
	const op = "hash in place"
	if err := h.check(op, r.pageBytes); err != nil {
		return err
	}
	if h.empty() {
		return nil
	}
	if !r.InPlace(h.Parts) {
		return unsupported()
	}
	if numbers == 0 || numbers%4 != 0 {
		return invalid(op, "page numbers at %#x, want a multiple of 4 that is not 0", uint64(numbers))
	}
	s := r.set
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.done()
	s.hash(q, &h, func(p *cuda.Params) *cuda.Function {
		p.Ptr(r.table)
		p.Uint32(uint32(len(r.fragments)))
		p.Ptr(numbers)
		return s.inPlace
	})
	return nil
}

// end returns where the last part ends.
func (h *Hash) end() int64 {
	end := int64(0)
	for _, p := range h.Parts {
		end = max(end, p.Offset+p.Bytes)
	}
	return end
}

// fits reports whether count strides from p end below 2^63.
func fits(p, count, stride uint64) bool {
	hi, n := bits.Mul64(count, stride)
	return hi == 0 && n < 1<<62 && p < 1<<62
}
