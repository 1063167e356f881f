package kernels

import (
	"encoding/binary"
	"slices"

	"github.com/kvferry/kvferry/digest"
)

// image is the content of device memory from an address on, as the references
// see it.
type image struct {
	at    uint64
	bytes []byte
}

// images are several, none of which overlap.
type images []image

// from returns n bytes at an address, or panics if they lie in no image.
func (is images) from(address uint64, n int64) []byte {
	for _, m := range is {
		if address >= m.at && address-m.at <= uint64(len(m.bytes)) && uint64(n) <= uint64(len(m.bytes))-(address-m.at) {
			return m.bytes[address-m.at:][:n]
		}
	}
	panic("address in no image")
}

// eachFragment calls f with every fragment of a page: its bytes in memory, and
// where they are in the canonical page.
func eachFragment(is images, runs []Run, number uint32, f func(memory []byte, canonical int64)) {
	for _, r := range runs {
		for i := range r.Count {
			address := uint64(r.Address) + uint64(number)*uint64(r.PageStride) + uint64(i)*uint64(r.LocalStride)
			f(is.from(address, r.Bytes), r.Canonical+i*r.CanonicalStride)
		}
	}
}

// gatherReference is what gather does.
func gatherReference(is images, runs []Run, numbers []uint32, staging []byte, stride int64) {
	for slot, number := range numbers {
		eachFragment(is, runs, number, func(memory []byte, canonical int64) {
			copy(staging[int64(slot)*stride+canonical:], memory)
		})
	}
}

// scatterReference is what scatter does.
func scatterReference(is images, runs []Run, numbers []uint32, staging []byte, stride int64) {
	for slot, number := range numbers {
		eachFragment(is, runs, number, func(memory []byte, canonical int64) {
			copy(memory, staging[int64(slot)*stride+canonical:])
		})
	}
}

// hashReference returns the digests of a page's parts: what blake3_chunks,
// blake3_in_place and blake3_merge make together.
func hashReference(page []byte, parts []Part, key *[32]byte) []byte {
	algorithm := digest.BLAKE3
	if key != nil {
		algorithm = digest.KeyedBLAKE3
	}
	h, err := digest.NewHasher(algorithm, (*digest.Key)(key))
	if err != nil {
		panic(err)
	}
	var sums []byte
	for _, p := range parts {
		d := h.Sum(page[p.Offset:][:p.Bytes])
		sum := d.Sum()
		sums = append(sums, sum[:]...)
	}
	return sums
}

// compareReference is what compare_flags and compare_list do together.
func compareReference(got, want []byte, count, parts int) []uint32 {
	var changed []uint32
	n := parts * DigestBytes
	for i := range count {
		g, w := got[i*n:][:n], want[i*n:][:n]
		if !slices.Equal(g, w) || !slices.ContainsFunc(w, func(b byte) bool { return b != 0 }) {
			changed = append(changed, uint32(i))
		}
	}
	return changed
}

// words returns numbers as they lie in device memory.
func words(ns []uint32) []byte {
	var b []byte
	for _, n := range ns {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}
