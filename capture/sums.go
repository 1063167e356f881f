package capture

import (
	"slices"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/staging"
)

// Parts of smallPart bytes take less time when several are hashed together, at
// most hashedTogether bytes of them: these are still in the core's second cache
// when the last is stored.
const (
	smallPart      = 15 << 10
	hashedTogether = 64 << 10
)

// sums makes the digests of the parts of a batch's pages, in their order. A
// worker owns one.
type sums struct {
	hasher *digest.Hasher
	frames []*staging.Frame // whose parts are to be hashed
	parts  []pager.Part
	part   int // of the first of frames, with which to go on

	plain   [][]byte
	digests []digest.Digest // of plain
	taken   int             // of digests
}

// begin is called with the pages of a batch before the first next of it.
func (s *sums) begin(frames []*staging.Frame, parts []pager.Part) {
	s.frames, s.parts, s.part = frames, parts, 0
	s.digests, s.taken = s.digests[:0], 0
}

// next returns the digest of the next part, of which there must be one.
func (s *sums) next() digest.Digest {
	if s.taken == len(s.digests) {
		s.hash()
	}
	d := s.digests[s.taken]
	s.taken++
	return d
}

// hash hashes the part that follows, and such small ones behind it as are hashed
// together.
func (s *sums) hash() {
	for bytes := 0; s.add(&bytes); {
	}
	s.digests = slices.Grow(s.digests[:0], len(s.plain))[:len(s.plain)]
	s.hasher.SumMany(s.digests, s.plain)
	clear(s.plain)
	s.plain, s.taken = s.plain[:0], 0
}

// add adds the next part to those that are hashed together, and reports whether
// there was one that is. The bytes are those of all.
func (s *sums) add(bytes *int) bool {
	if len(s.frames) == 0 {
		return false
	}
	size := s.parts[s.part].Bytes
	if *bytes += size; len(s.plain) > 0 && (size > smallPart || *bytes > hashedTogether) {
		return false
	}
	from := 0
	for _, p := range s.parts[:s.part] {
		from += p.Bytes
	}
	s.plain = append(s.plain, s.frames[0].Bytes()[from:][:size])
	if s.part++; s.part == len(s.parts) {
		s.frames, s.part = s.frames[1:], 0
	}
	return true
}
