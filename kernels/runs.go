package kernels

import (
	"fmt"
	"math"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cuda"
)

// Run maps fragments of pages in device memory to canonical bytes of a page:
//
//	memory     Address + page*PageStride + i*LocalStride
//	canonical  Canonical + i*CanonicalStride           for i in 0 .. Count-1
//
// each fragment being Bytes long on both sides. All numbers are bytes, none is
// negative; the strides do not matter when Count is 1. Canonical counts from the
// start of the page, all parts together: it is pager.Run of a pager.Mapping with
// the region's address and offset put in.
type Run struct {
	Address         cuda.Ptr
	PageStride      int64
	LocalStride     int64
	Canonical       int64
	CanonicalStride int64
	Bytes           int64
	Count           int64
}

// Runs is a page's runs in device memory, ready for the kernels. It is safe for
// concurrent use.
type Runs struct {
	set       *Set
	memory    *cuda.Memory // units, then fragments; nil for pages of no bytes
	units     cuda.Ptr
	perPage   int
	table     cuda.Ptr // of fragments
	fragments []fragment
	pageBytes int64
}

// NewRuns puts the runs of a page of pageBytes onto the device. They must cover
// every canonical byte once (else ErrInvalid).
func (s *Set) NewRuns(runs []Run, pageBytes int64) (*Runs, error) {
	r, content, err := planRuns(runs, pageBytes)
	if err != nil {
		return nil, err
	}
	r.set = s
	if len(content) == 0 {
		return r, nil
	}
	if r.memory, err = s.upload(content); err != nil {
		return nil, fmt.Errorf("kernels: new runs: %w", err)
	}
	r.units = r.memory.Ptr()
	r.table = r.units + cuda.Ptr(r.perPage*unitSize)
	return r, nil
}

// planRuns returns what NewRuns makes of the runs, and what goes to the device.
func planRuns(runs []Run, pageBytes int64) (*Runs, []byte, error) {
	if err := checkRuns(runs, pageBytes); err != nil {
		return nil, nil, err
	}
	fs, err := fragmentsOf(runs, pageBytes)
	if err != nil {
		return nil, nil, err
	}
	us := unitsOf(runs, pageBytes)
	content := make([]byte, 0, len(us)*unitSize+len(fs)*fragmentSize)
	for _, u := range us {
		content = u.append(content)
	}
	for _, f := range fs {
		content = f.append(content)
	}
	return &Runs{perPage: len(us), fragments: fs, pageBytes: pageBytes}, content, nil
}

// Close frees the runs' device memory. Nothing in flight may use them. One that
// failed can be tried again; after that, another Close does nothing.
func (r *Runs) Close() error {
	if r.memory == nil {
		return nil
	}
	if err := r.memory.Free(); err != nil {
		return fmt.Errorf("kernels: close runs: %w", err)
	}
	return nil
}

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
func (r *Runs) Gather(q *cuda.Submission, p Pages) error {
	return r.copy("gather", r.set.gather, q, p)
}

// Scatter adds the copy of canonical pages to their places. Bytes that no run
// covers are left alone.
func (r *Runs) Scatter(q *cuda.Submission, p Pages) error {
	return r.copy("scatter", r.set.scatter, q, p)
}

const (
	copyWarps   = 8 // KF_COPY_WARPS in runs.h
	copyThreads = 32 * copyWarps
	mostBlocks  = 1 << 20
)

func (r *Runs) copy(op string, f *cuda.Function, q *cuda.Submission, p Pages) error {
	if err := r.check(op, p); err != nil {
		return err
	}
	if p.Count == 0 || r.pageBytes == 0 {
		return nil
	}
	s := r.set
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.done()
	s.params.Ptr(r.units)
	s.params.Uint32(uint32(r.perPage))
	s.params.Ptr(p.Numbers)
	s.params.Uint32(uint32(p.Count))
	s.params.Ptr(p.Staging)
	s.params.Int64(p.Stride)
	s.params.Uint32(pointerAlignment(p.Staging, p.Stride))
	blocks := p.Blocks
	if blocks == 0 {
		blocks = 2 * s.multiprocessors
	}
	blocks = min(blocks, mostBlocks, (int(min(int64(p.Count)*int64(r.perPage), math.MaxInt32))+copyWarps-1)/copyWarps)
	q.Launch(f, cuda.Dim{X: uint32(blocks)}, cuda.Dim{X: copyThreads}, 0, &s.params)
	return nil
}

func (r *Runs) check(op string, p Pages) error {
	switch {
	case p.Count < 0 || p.Count > math.MaxInt32:
		return invalid(op, "%d pages, want 0 to %d", p.Count, math.MaxInt32)
	case p.Blocks < 0:
		return invalid(op, "a grid of %d blocks", p.Blocks)
	case p.Count == 0 || r.pageBytes == 0:
		return nil
	case p.Numbers == 0 || p.Numbers%4 != 0:
		return invalid(op, "page numbers at %#x, want a multiple of 4 that is not 0", uint64(p.Numbers))
	case p.Staging == 0:
		return invalid(op, "staging has no address")
	case p.Stride < r.pageBytes:
		return invalid(op, "a stride of %d bytes, want at least a page's %d", p.Stride, r.pageBytes)
	case !fits(uint64(p.Staging), uint64(p.Count), uint64(p.Stride)):
		return invalid(op, "%d pages every %d bytes from %#x end beyond what an address can name", p.Count, p.Stride, uint64(p.Staging))
	}
	return nil
}

// InPlace reports whether HashInPlace can be used: every fragment begins and ends
// at a multiple of BLAKE3's 1,024-byte chunks, counted from its part's start,
// and at addresses that are multiples of 16.
func (r *Runs) InPlace(parts []Part) bool {
	for _, p := range parts {
		if !p.within(r.pageBytes) {
			return false
		}
		for i := r.holding(p.Offset); p.Bytes > 0 && i < len(r.fragments) && r.fragments[i].canonical < p.Offset+p.Bytes; i++ {
			f := &r.fragments[i]
			from := max(f.canonical, p.Offset)
			address := f.address + uint64(from-f.canonical)
			if (from-p.Offset)%chunkBytes != 0 || address%widest != 0 || f.pageStride%widest != 0 {
				return false
			}
		}
	}
	return true
}

// holding returns the index of the fragment with canonical byte at.
func (r *Runs) holding(at int64) int {
	low, high := 0, len(r.fragments)
	for high-low > 1 {
		if middle := (low + high) / 2; r.fragments[middle].canonical <= at {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// unsupported is HashInPlace's answer where it cannot be used.
func unsupported() error {
	return fmt.Errorf("kernels: hash in place: fragments are not whole chunks at multiples of %d: gather the pages and hash those: %w",
		widest, kvferry.ErrUnsupported)
}
