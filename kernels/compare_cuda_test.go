//go:build cuda

package kernels

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompare compares around every warp, block and round, with none, some and
// all pages changed, in any byte of any part.
func TestCompare(t *testing.T) {
	l := newLab(t)
	for _, count := range []int{1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 8191, 8192, 8193, 8224, 16385} {
		for _, parts := range []int{1, 2, 3} {
			for _, percent := range []int{0, 1, 30, 99, 100} {
				if count > 2000 && parts > 1 && percent != 30 {
					continue
				}
				l.compares(count, parts, percent)
			}
		}
	}
}

func (l *lab) compares(count, parts, percent int) {
	const canary = 32
	n := parts * DigestBytes
	got, want := l.random(int64(count*n)), make([]byte, count*n)
	copy(want, got.host)
	for i := range count {
		if l.rng.IntN(100) >= percent {
			continue
		}
		if w := want[i*n:][:n]; l.rng.IntN(8) == 0 {
			clear(w) // unknown
		} else {
			w[l.rng.IntN(n)] ^= 1 << l.rng.IntN(8)
		}
	}
	wanted := l.holding(want)
	changed := l.random(int64(4*count) + 2*canary)
	number := l.random(4 + 2*canary)
	l.run()
	require.NoError(l.t, l.set.Compare(&l.q, got.at(0), wanted.at(0), count, parts, changed.at(canary), number.at(canary)))
	require.LessOrEqual(l.t, l.q.Len(), 2)
	l.run()
	indices := compareReference(got.host, want, count, parts)
	copy(number.host[canary:], words([]uint32{uint32(len(indices))}))
	copy(changed.host[canary:], words(indices))
	have := l.content(changed) // what is behind the indices does not matter
	copy(changed.host[canary+4*len(indices):canary+4*count], have[canary+4*len(indices):])
	l.check([]*area{got, wanted, changed, number}, "count %d, %d parts, %d %%", count, parts, percent)
}

// TestCompareUnknown: digests that are not known count as changed, even if
// those of the pages are zero bytes, too; one unknown part of several does not,
// and one byte makes a digest known.
func TestCompareUnknown(t *testing.T) {
	l := newLab(t)
	const page, known = 2 * DigestBytes, 2 * DigestBytes
	got := make([]byte, (known+4)*page)
	for i := range known { // page i has byte i alone
		got[i*page+i] = 1
	}
	copy(got[(known+1)*page:], "its second digest stays 0")
	want := bytes.Clone(got)
	copy(got[(known+2)*page:], "unknown")
	a, b := l.holding(got), l.holding(want)
	changed, number := l.random(4*(known+4)), l.random(4)
	require.NoError(t, l.set.Compare(&l.q, a.at(0), b.at(0), known+4, 2, changed.at(0), number.at(0)))
	l.run()
	require.Equal(t, words([]uint32{3}), l.content(number))
	require.Equal(t, words([]uint32{known, known + 2, known + 3}), l.content(changed)[:12])
	require.NoError(t, l.set.Compare(&l.q, 0, 0, 0, 2, 0, number.at(0)))
	l.run()
	require.Equal(t, words([]uint32{0}), l.content(number))
	for _, x := range []*area{a, b, changed, number} {
		require.NoError(t, x.memory.Free())
	}
}
