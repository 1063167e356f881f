package kernels

import "github.com/kvferry/kvferry/cuda"

// DigestBytes is the length of a digest in device memory.
const DigestBytes = 32

// Part is a range of a canonical page that has a digest of its own.
type Part struct {
	Offset, Bytes int64
}

// Hash is what BLAKE3 works on. Digests are written page by page, those of a
// page in the order of Parts.
type Hash struct {
	Parts   []Part
	Count   int       // pages
	Key     *[32]byte // keyed BLAKE3; nil for the plain one
	Digests cuda.Ptr  // Count x len(Parts) x DigestBytes, a multiple of 16
	// Scratch is device memory of at least ScratchBytes, a multiple of 16.
	Scratch      cuda.Ptr
	ScratchBytes int64
	Blocks       int // bound of the grid; 0 means none
}

// ScratchBytes returns the scratch memory that count pages of parts need.
func ScratchBytes(parts []Part, count int) int64 { panic("not written yet") }

// HashPages adds the digests of canonical pages at staging, one every stride
// bytes.
func (s *Set) HashPages(q *cuda.Submission, staging cuda.Ptr, stride int64, h Hash) error {
	panic("not written yet")
}

// HashInPlace adds the digests of pages where they are; numbers is as in Pages.
// ErrUnsupported unless InPlace(h.Parts).
func (r *Runs) HashInPlace(q *cuda.Submission, numbers cuda.Ptr, h Hash) error {
	panic("not written yet")
}

// Compare adds the comparison of count pages of parts digests each: the indices
// (0 to count-1, 4 bytes each, ascending) of those pages of which some digest in
// got differs from the one in want are written to changed, and how many they are to
// number (4 bytes), which needs no setting to zero. A page whose want is all zero bytes counts as changed.
func (s *Set) Compare(q *cuda.Submission, got, want cuda.Ptr, count, parts int, changed, number cuda.Ptr) error {
	panic("not written yet")
}
