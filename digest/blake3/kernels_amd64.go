package blake3

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// schedule says for each round which words of a message meet the columns, first
// and second halves, and the diagonals, in the order that chunk1 has them in.
var schedule = makeSchedule() //nolint:unused // assembly reads it

func makeSchedule() (t [7][16]uint32) { //nolint:unused // see schedule
	order := [16]uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	for r := range t {
		for lane := range 4 {
			diagonal := (lane + 3) % 4
			t[r][lane], t[r][4+lane] = order[2*lane], order[2*lane+1]
			t[r][8+lane], t[r][12+lane] = order[8+2*diagonal], order[9+2*diagonal]
		}
		var next [16]uint32
		for i, from := range [16]int{2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8} {
			next[i] = order[from]
		}
		order = next
	}
	return t
}

// pairs are the same of two blocks, for the 2 lanes of chunks2: words of columns
// and of diagonals, first halves of both blocks, then second ones. Behind them
// is for each word of the state which lane it belongs to.
var pairs = makePairs() //nolint:unused // assembly reads it

func makePairs() (t [15][16]uint32) { //nolint:unused // see pairs
	for r, words := range makeSchedule() {
		for i := range 16 {
			half, block, lane := i/8, i/4%2, i%4
			t[2*r][i] = words[4*half+lane] + uint32(16*block)
			t[2*r+1][i] = words[8+4*half+lane] + uint32(16*block)
		}
	}
	for i := range 16 {
		t[14][i] = uint32(i / 4)
	}
	return t
}

//go:noescape
func chunks16(in *[16]unsafe.Pointer, l *lanes, key *[8]uint32, blocks int, flags, start uint32, out *[8]uint32)

//go:noescape
func chunks8(in *[16]unsafe.Pointer, l *lanes, key *[8]uint32, blocks int, flags, start uint32, out *[8]uint32)

//go:noescape
func chunks2(in *[16]unsafe.Pointer, l *lanes, key *[8]uint32, blocks int, flags, start uint32, out *[8]uint32)

//go:noescape
func parents16(in, out, key *[8]uint32, flags uint32)

//go:noescape
func parents8(in, out, key *[8]uint32, flags uint32)

//go:noescape
func parents2(in, out, key *[8]uint32, flags uint32)

//go:noescape
func chunk1(in *byte, n int, key *[8]uint32, counter uint64, flags, start, end uint32, out *[8]uint32)

// available are the kernels that this processor can run, the fastest first.
func available() []kernel {
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasBMI2 {
		return []kernel{avx512, library}
	}
	return []kernel{library}
}
