//go:build cuda

package kernels

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
)

// digests are the areas that hashing writes to.
type digests struct {
	sums, scratch *area
	h             Hash
}

const digestCanary = 64

// hashing returns what to hash with, exactly as large as it has to be between
// canaries.
func (l *lab) hashing(parts []Part, count int, key *[32]byte, blocks int) *digests {
	l.t.Helper()
	need := ScratchBytes(parts, count)
	d := &digests{
		sums:    l.random(int64(count*len(parts)*DigestBytes) + 2*digestCanary),
		scratch: l.random(need + 2*digestCanary),
	}
	d.h = Hash{
		Parts: parts, Count: count, Key: key, Blocks: blocks, Digests: d.sums.at(digestCanary),
		Scratch: d.scratch.at(digestCanary), ScratchBytes: need,
	}
	return d
}

// checkDigests compares what was written with what ought to be, and frees it.
func (l *lab) checkDigests(d *digests, want []byte, what string) {
	l.t.Helper()
	copy(d.sums.host[digestCanary:], want)
	got := l.content(d.sums)
	if i := differs(got, d.sums.host); i >= 0 {
		at := (i - digestCanary) / DigestBytes
		l.t.Fatalf("digest %d (page %d, part %d) differs: %s", at, at/max(len(d.h.Parts), 1), at%max(len(d.h.Parts), 1), what)
	}
	scratch := l.content(d.scratch)
	require.Equal(l.t, d.scratch.host[:digestCanary], scratch[:digestCanary], "before the scratch: %s", what)
	require.Equal(l.t, d.scratch.host[len(scratch)-digestCanary:], scratch[len(scratch)-digestCanary:], "behind the scratch: %s", what)
	require.NoError(l.t, d.sums.memory.Free())
	require.NoError(l.t, d.scratch.memory.Free())
}

// hashes hashes count canonical pages, stride apart, and compares.
func (l *lab) hashes(parts []Part, count int, lead, gap int64, key *[32]byte, blocks int) {
	l.t.Helper()
	what := fmt.Sprintf("%d pages of %+v, %d bytes before and %d between, keyed %v, %d blocks", count, parts, lead, gap, key != nil, blocks)
	page := int64(0)
	for _, p := range parts {
		page = max(page, p.Offset+p.Bytes)
	}
	stride := page + gap
	pages := l.random(max(lead+int64(count-1)*stride+page, 1)) // not a byte more
	var want []byte
	for i := range int64(count) {
		want = append(want, hashReference(pages.host[lead+i*stride:], parts, key)...)
	}
	for _, way := range []Hash{{}, {Tile: true}, {Multiply: true}} {
		d := l.hashing(parts, count, key, blocks)
		d.h.Tile, d.h.Multiply = way.Tile, way.Multiply
		require.NoError(l.t, l.set.HashPages(&l.q, pages.at(lead), stride, d.h), what)
		l.run()
		l.checkDigests(d, want, what+fmt.Sprintf(", tile %v, multiply %v", way.Tile, way.Multiply))
	}
	l.check([]*area{pages}, "%s", what)
}

// hashLengths are around every block, chunk, level of four and tree.
func hashLengths() []int64 {
	ns := []int64{0, 1, 3, 4, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 960, 1023, 1024, 1025, 1087, 1088, 1089, 2047, 2048, 2049}
	for chunks := int64(3); chunks <= 17; chunks++ {
		ns = append(ns, chunks*1024-1, chunks*1024, chunks*1024+1)
	}
	for _, chunks := range []int64{31, 32, 33, 44, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1024, 1025} {
		ns = append(ns, chunks*1024-7, chunks*1024)
	}
	return ns
}

func (l *lab) key() *[32]byte {
	if l.rng.IntN(2) == 0 {
		return nil
	}
	var k [32]byte
	for i := range k {
		k[i] = byte(l.rng.Uint32())
	}
	return &k
}

// TestHashLengths hashes one part of every length.
func TestHashLengths(t *testing.T) {
	l := newLab(t)
	for _, n := range hashLengths() {
		count := 1
		if n <= 40<<10 {
			count = 1 + l.rng.IntN(9)
		}
		l.hashes([]Part{{0, n}}, count, 16*l.rng.Int64N(3), (16-n%16)%16+16*l.rng.Int64N(2), nil, 0)
		l.hashes([]Part{{0, n}}, min(count, 3), l.rng.Int64N(20), l.rng.Int64N(20), l.key(), l.rng.IntN(4))
	}
	l.hashes([]Part{{0, 1 << 20}}, 1, 0, 0, nil, 0)
	l.hashes([]Part{{0, 1<<20 + 1}}, 1, 0, 0, l.key(), 3)
}

// TestHashAlignments hashes chunks at every address modulo 16.
func TestHashAlignments(t *testing.T) {
	l := newLab(t)
	for lead := range int64(16) {
		l.hashes([]Part{{0, 1100}}, 3, lead, 0, nil, 0)
		l.hashes([]Part{{0, 2048}, {2048, 64}}, 2, 0, lead, l.key(), 0)
		l.hashes([]Part{{lead, 3000}}, 2, 0, 8, nil, 0)
	}
}

// TestHashParts hashes pages of several parts, some of them empty, with gaps
// between and overlapping: up to three launches' worth.
func TestHashParts(t *testing.T) {
	l := newLab(t)
	for n := 1; n <= 20; n++ {
		for range 3 {
			var parts []Part
			at := int64(0)
			for range n {
				p := Part{Offset: at, Bytes: l.rng.Int64N(1 << l.rng.IntN(14))}
				switch l.rng.IntN(4) {
				case 0:
					p.Bytes &^= 1023
				case 1:
					p.Bytes &^= 15
				}
				parts = append(parts, p)
				at += p.Bytes + l.rng.Int64N(2)*l.rng.Int64N(32)
			}
			l.rng.Shuffle(n, func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
			l.hashes(parts, 1+l.rng.IntN(4), 0, l.rng.Int64N(32), l.key(), l.rng.IntN(6))
		}
	}
	l.hashes([]Part{{0, 5000}, {0, 5000}, {100, 2000}}, 2, 0, 0, nil, 0)
	l.hashes([]Part{{0, 0}, {0, 0}}, 3, 0, 16, nil, 0)
}

// TestHashManyPages: thousands of digests take as many launches as one.
func TestHashManyPages(t *testing.T) {
	l := newLab(t)
	l.hashes([]Part{{0, 1024}, {1024, 100}}, 3001, 0, 4, nil, 0)
	parts := []Part{{0, 2100}, {2112, 5 << 10}}
	l.hashes(parts, 500, 0, 0, l.key(), 7)
	d := l.hashing(parts, 500, nil, 0)
	l.run()
	require.NoError(t, l.set.HashPages(&l.q, 4096, 1<<20, d.h))
	require.Equal(t, 1+2, l.q.Len()) // chunks, 3 and 5 values, of which 2 are left
	l.q.Reset()
	require.NoError(t, d.sums.memory.Free())
	require.NoError(t, d.scratch.memory.Free())
}

// inPlace hashes pages where they are, and compares with their canonical form.
func (l *lab) inPlace(areas []*area, runs []Run, pageBytes int64, numbers []uint32, parts []Part, key *[32]byte, blocks int) {
	l.t.Helper()
	what := fmt.Sprintf("%d pages of %d bytes, %+v, runs %+v", len(numbers), pageBytes, parts, runs)
	r, err := l.set.NewRuns(runs, pageBytes)
	require.NoError(l.t, err, what)
	defer func() { require.NoError(l.t, r.Close()) }()
	require.True(l.t, r.InPlace(parts), what)
	ns := l.holding(words(numbers))
	d := l.hashing(parts, len(numbers), key, blocks)
	require.NoError(l.t, r.HashInPlace(&l.q, ns.at(0), d.h), what)
	l.run()
	pages := make([]byte, max(int64(len(numbers))*pageBytes, 1))
	gatherReference(addresses(areas), runs, numbers, pages, pageBytes)
	var want []byte
	for i := range numbers {
		want = append(want, hashReference(pages[int64(i)*pageBytes:], parts, key)...)
	}
	l.checkDigests(d, want, what)
	l.check([]*area{ns}, "%s", what)
}

// TestHashInPlace hashes pages of several areas, with fragments of whole chunks
// in any order and parts that end within a chunk.
func TestHashInPlace(t *testing.T) {
	l := newLab(t)
	for range 40 {
		const pages = 4
		lead := 16 * l.rng.Int64N(4)
		var runs []Run
		var parts []Part
		page, place := int64(0), lead
		for range 1 + l.rng.IntN(4) { // parts
			from := page
			for range l.rng.IntN(3) {
				n := 1 + l.rng.Int64N(4)
				bytes := 1024 * (1 + l.rng.Int64N(5))
				gap := 16 * l.rng.Int64N(2) * l.rng.Int64N(5)
				runs = append(runs, Run{
					Address: cuda.Ptr(place), LocalStride: bytes + gap, Canonical: page, CanonicalStride: bytes, Bytes: bytes, Count: n,
				})
				place += n * (bytes + gap)
				page += n * bytes
			}
			if last := l.rng.Int64N(1024); l.rng.IntN(2) == 0 && last > 0 {
				runs = append(runs, Run{Address: cuda.Ptr(place), Canonical: page, Bytes: last, Count: 1})
				place, page = (place+last+15)&^15, page+last
			}
			parts = append(parts, Part{from, page - from})
		}
		place = (place + 15) &^ 15
		a := l.random(pages*place + 64)
		for i := range runs {
			runs[i].Address += a.at(0)
			runs[i].PageStride = place
		}
		l.rng.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
		l.inPlace([]*area{a}, runs, page, l.some(1+l.rng.IntN(pages), pages), parts, l.key(), l.rng.IntN(5))
		require.NoError(t, a.memory.Free())
	}
}
