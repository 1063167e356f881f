package kernels

import (
	"encoding/binary"
	"math"

	"github.com/kvferry/kvferry/cuda"
)

const (
	hashThreads = 128 // KF_HASH_THREADS in blake3.h
	perLaunch   = 8   // KF_PARTS
	fanIn       = 4   // values that blake3_merge makes one of
	unused      = math.MaxUint32
	keyedHash   = 16 // BLAKE3's flag
)

// initial is BLAKE3's initial value, which stands where a key would.
var initial = [8]uint32{0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19}

// level is the trees of a page's parts, perLaunch of them, on their way from
// chunks to roots.
type level struct {
	parts int
	n     [perLaunch]int64 // values of each tree; 1 once it has its root
	first [perLaunch]int64 // the first of them in a page's values
	in    int64            // values of a page
}

// begin sets l to the chunks of parts.
func (l *level) begin(parts []Part) {
	*l = level{parts: len(parts)}
	for k, p := range parts {
		l.first[k], l.n[k] = l.in, p.chunks()
		l.in += l.n[k]
	}
}

// trees returns how many trees are not roots yet.
func (l *level) trees() int {
	trees := 0
	for _, n := range l.n[:l.parts] {
		if n > 1 {
			trees++
		}
	}
	return trees
}

// out returns how many values a page has after the next merge.
func (l *level) out() int64 {
	out := int64(0)
	for _, n := range l.n[:l.parts] {
		if n > 1 {
			out += (n + fanIn - 1) / fanIn
		}
	}
	return out
}

// up sets l to what a merge leaves. Roots have a place among the values, too,
// which nothing is written to.
func (l *level) up() {
	at := int64(0)
	for k, n := range l.n[:l.parts] {
		if n > 1 {
			l.first[k], l.n[k] = at, (n+fanIn-1)/fanIn
			at += l.n[k]
		}
	}
	l.in = at
}

// hash adds the launches for all parts, perLaunch parts at a time: one for their
// chunks, whose source the function source names, and one for every level of
// the longest tree. The levels go to and fro between two places in scratch.
func (s *Set) hash(q *cuda.Submission, h *Hash, source func(*cuda.Params) *cuda.Function) {
	for at := 0; at < len(h.Parts); at += perLaunch {
		parts := h.Parts[at:min(at+perLaunch, len(h.Parts))]
		var l level
		l.begin(parts)
		from, to := h.Scratch, h.Scratch+cuda.Ptr(l.in*int64(h.Count)*DigestBytes)
		s.params.Reset()
		s.params.Ptr(from)
		s.params.Ptr(h.Digests)
		f := source(&s.params)
		s.table = appendChunks(s.table[:0], h, parts, at, &l)
		s.params.Struct(s.table, 8)
		q.Launch(f, h.grid(l.in), cuda.Dim{X: hashThreads}, 0, &s.params)
		for l.trees() > 0 {
			s.params.Reset()
			s.params.Ptr(to)
			s.params.Ptr(h.Digests)
			s.params.Ptr(from)
			s.table = appendLevel(s.table[:0], h, at, &l)
			s.params.Struct(s.table, 4)
			q.Launch(s.merge, h.grid(l.out()), cuda.Dim{X: hashThreads}, 0, &s.params)
			l.up()
			from, to = to, from
		}
	}
}

// grid returns the blocks for perPage threads for each page.
func (h *Hash) grid(perPage int64) cuda.Dim {
	blocks := (perPage*int64(h.Count) + hashThreads - 1) / hashThreads
	if h.Blocks > 0 {
		blocks = min(blocks, int64(h.Blocks))
	}
	return cuda.Dim{X: uint32(blocks)}
}

// appendChunks appends KfChunks of blake3.h.
func appendChunks(b []byte, h *Hash, parts []Part, digest int, l *level) []byte {
	for k := range perLaunch {
		offset := uint64(0)
		if k < len(parts) {
			offset = uint64(parts[k].Offset)
		}
		b = binary.LittleEndian.AppendUint64(b, offset)
	}
	for k := range perLaunch {
		bytes := uint32(0)
		if k < len(parts) {
			bytes = uint32(parts[k].Bytes)
		}
		b = binary.LittleEndian.AppendUint32(b, bytes)
	}
	for k := range perLaunch {
		first := uint32(unused)
		if k < len(parts) {
			first = uint32(l.first[k])
		}
		b = binary.LittleEndian.AppendUint32(b, first)
	}
	longest := int64(0)
	for _, p := range parts {
		longest = max(longest, p.Bytes)
	}
	b, flags := h.appendKey(b)
	return appendWords(b, uint32(l.in), uint32(h.Count), flags, uint32(digest), uint32(len(h.Parts)), blocksOf(longest), 1, 0)
}

// blocksOf returns how many of BLAKE3's 64-byte blocks the longest chunk of n
// bytes has.
func blocksOf(n int64) uint32 { return uint32(min(max((n+63)/64, 1), chunkBytes/64)) }

// appendLevel appends KfLevel of blake3.h: the trees that are not roots yet.
func appendLevel(b []byte, h *Hash, digest int, l *level) []byte {
	next := *l
	next.up()
	var n, firstIn, firstOut, root [perLaunch]uint32
	for k := range firstOut {
		firstOut[k] = unused
	}
	trees := 0
	for k := range l.parts {
		if l.n[k] > 1 {
			n[trees], firstIn[trees], firstOut[trees] = uint32(l.n[k]), uint32(l.first[k]), uint32(next.first[k])
			root[trees] = uint32(digest + k)
			trees++
		}
	}
	b = appendWords(b, n[:]...)
	b = appendWords(b, firstIn[:]...)
	b = appendWords(b, firstOut[:]...)
	b = appendWords(b, root[:]...)
	b, flags := h.appendKey(b)
	return appendWords(b, uint32(l.in), uint32(next.in), uint32(h.Count), flags, uint32(len(h.Parts)))
}

// appendKey appends the words that every compression begins with, and returns
// its flags.
func (h *Hash) appendKey(b []byte) ([]byte, uint32) {
	if h.Key == nil {
		return appendWords(b, initial[:]...), 0
	}
	return append(b, h.Key[:]...), keyedHash
}

func appendWords(b []byte, ws ...uint32) []byte {
	for _, w := range ws {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}
