package kernels

import (
	"math"

	"github.com/kvferry/kvferry/cuda"
)

const compareThreads = 256 // KF_COMPARE_THREADS in compare.h

// Compare adds the comparison of count pages of parts digests each: the indices
// (0 to count-1, 4 bytes each, ascending) of those pages of which some digest in
// got differs from the one in want are written to changed, and how many they are to
// number (4 bytes), which needs no setting to zero. A page whose want is all zero bytes counts as changed.
//
// got and want are multiples of 16. changed has 4 bytes for each of count pages;
// beyond the indices their content does not matter.
func (s *Set) Compare(q *cuda.Submission, got, want cuda.Ptr, count, parts int, changed, number cuda.Ptr) error {
	const op = "compare"
	switch {
	case count < 0 || parts < 1 || parts > math.MaxInt32/2/max(count, 1):
		return invalid(op, "%d pages with %d digests each", count, parts)
	case number == 0 || number%4 != 0:
		return invalid(op, "the number at %#x, want a multiple of 4 that is not 0", uint64(number))
	case count == 0:
		q.Fill(number, 0, 4)
		return nil
	case got == 0 || want == 0 || (got|want)%widest != 0:
		return invalid(op, "digests at %#x and %#x, want multiples of %d that are not 0", uint64(got), uint64(want), widest)
	case changed == 0 || changed%4 != 0:
		return invalid(op, "the indices at %#x, want a multiple of 4 that is not 0", uint64(changed))
	}
	if err := s.begin(op); err != nil {
		return err
	}
	defer s.done()
	groups := (count + 31) / 32
	s.params.Ptr(got)
	s.params.Ptr(want)
	s.params.Uint32(uint32(count))
	s.params.Uint32(uint32(2 * parts))
	s.params.Ptr(changed + cuda.Ptr(4*(count-groups)))
	q.Launch(s.compareFlags, cuda.Dim{X: uint32((count + compareThreads - 1) / compareThreads)}, cuda.Dim{X: compareThreads}, 0, &s.params)
	s.params.Reset()
	s.params.Ptr(changed)
	s.params.Ptr(number)
	s.params.Uint32(uint32(count))
	q.Launch(s.compareList, cuda.Dim{X: 1}, cuda.Dim{X: compareThreads}, 0, &s.params)
	return nil
}
