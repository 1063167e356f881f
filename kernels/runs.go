package kernels

import "github.com/kvferry/kvferry/cuda"

// Run maps fragments of pages in device memory to canonical bytes of a page:
//
//	memory     Address + page*PageStride + i*LocalStride
//	canonical  Canonical + i*CanonicalStride           for i in 0 .. Count-1
//
// each fragment being Bytes long on both sides. All numbers are bytes.
// Canonical counts from the start of the page, all parts together: it is
// pager.Run of a pager.Mapping with the region's address put in.
type Run struct {
	Address         cuda.Ptr
	PageStride      int64
	LocalStride     int64
	Canonical       int64
	CanonicalStride int64
	Bytes           int64
	Count           int64
}

// Runs is a page's runs in device memory, ready for the kernels.
type Runs struct{}

// NewRuns puts the runs of a page of pageBytes onto the device. They must cover
// every canonical byte once (else ErrInvalid).
func (s *Set) NewRuns(runs []Run, pageBytes int64) (*Runs, error) { panic("not written yet") }

// Close frees the runs' device memory. Nothing in flight may use them.
func (r *Runs) Close() error { panic("not written yet") }

// Pages is what Gather and Scatter work on: Count pages, by their numbers, and
// Count canonical pages at Staging, one every Stride bytes.
type Pages struct {
	Numbers cuda.Ptr // Count numbers of 4 bytes, in device memory or mapped pinned memory
	Count   int
	Staging cuda.Ptr // device memory
	Stride  int64    // at least a page's bytes; any alignment works, 16 is fastest
	Blocks  int      // bound of the grid, so that a running model keeps its multiprocessors; 0 means 2 for each
}

// Gather adds the copy of pages from their places into canonical pages.
func (r *Runs) Gather(q *cuda.Submission, p Pages) error { panic("not written yet") }

// Scatter adds the copy of canonical pages to their places. Bytes that no run
// covers are left alone.
func (r *Runs) Scatter(q *cuda.Submission, p Pages) error { panic("not written yet") }

// InPlace reports whether HashInPlace can be used: every fragment begins and ends
// at a multiple of BLAKE3's 1,024-byte chunks, counted from its part's start,
// and at addresses that are multiples of 16.
func (r *Runs) InPlace(parts []Part) bool { panic("not written yet") }
