package cas

import (
	"slices"

	"github.com/kvferry/kvferry/digest"
)

// smallBlob is the greatest length of blobs that take less time when several of
// them are hashed together.
const smallBlob = 15 << 10

// small are the digests of the small blobs of a batch, hashed together.
type small struct {
	which   []int // of the batch, in order
	plain   [][]byte
	digests []digest.Digest
	next    int // of which, when sound is asked for all in order
}

// hash hashes what the store returned for small blobs, with h's own algorithm.
func (s *small) hash(h *digest.Hasher, reqs []Request) {
	s.forget()
	s.which, s.plain = slices.Grow(s.which, len(reqs)), slices.Grow(s.plain, len(reqs))
	for i := range reqs {
		if q := &reqs[i]; q.Err == nil && q.N <= smallBlob && q.Digest.Algorithm() == h.Algorithm() {
			s.which, s.plain = append(s.which, i), append(s.plain, q.Dst[:q.N])
		}
	}
	s.digests = slices.Grow(s.digests[:0], len(reqs))[:len(s.plain)]
	h.SumMany(s.digests, s.plain)
}

// sound reports whether blob i was hashed and is d. It is asked for each blob
// once, in their order. What is not sound is yet to be judged.
func (s *small) sound(i int, d digest.Digest) bool {
	if s.next == len(s.which) || s.which[s.next] != i {
		return false
	}
	s.next++
	return s.digests[s.next-1] == d
}

// forget lets go of the blobs' bytes.
func (s *small) forget() {
	clear(s.plain)
	s.which, s.plain, s.next = s.which[:0], s.plain[:0], 0
}
