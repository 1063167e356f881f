//go:build unix

package planes

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// atEnd returns a function that copies b, of at most 128 KiB, to where memory ends:
// what is read or written behind it faults.
func atEnd(t *testing.T) func(b []byte) []byte {
	const room = 128 << 10
	page := os.Getpagesize()
	inside := (room + page - 1) / page * page
	all, err := unix.Mmap(-1, 0, inside+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(all)) })
	require.NoError(t, unix.Mprotect(all[inside:], unix.PROT_NONE))
	return func(b []byte) []byte {
		at := all[inside-len(b) : inside : inside]
		copy(at, b)
		return at
	}
}

// TestReadsAndWritesInside codes pages that lie where memory ends, to where it
// ends, and back.
func TestReadsAndWritesInside(t *testing.T) {
	place, other := atEnd(t), atEnd(t)
	eachKernels(t, func(t *testing.T, k *kernels) {
		e, d := Encoder{k: k}, Decoder{k: k}
		for _, s := range shapes {
			for c := range contents {
				page := place(makePage(s, c%3, c))
				params, err := Tune(s, page)
				require.NoError(t, err)
				to := other(make([]byte, MaxBytes(s, len(page))))
				coded, err := e.Append(to[:0], page, s, params)
				require.NoError(t, err)
				require.Same(t, &to[0], &coded[0])
				e.Estimate(page[:s.segmentBytes()], s, params[0])
				plain := bytes.Clone(page)
				coded = other(bytes.Clone(coded))
				clear(page)
				require.NoError(t, d.Decode(page, coded))
				require.True(t, bytes.Equal(plain, page), "%v %s", s, contents[c].name)
			}
		}
	})
}

// TestSmallReadsAndWritesInside does so at the level small.
func TestSmallReadsAndWritesInside(t *testing.T) {
	place, other := atEnd(t), atEnd(t)
	eachKernels(t, func(t *testing.T, k *kernels) {
		e, d := Encoder{k: k}, Decoder{k: k}
		for _, el := range elements {
			for _, s := range append(shapes, Shape{3, 5, 129}, Shape{1, 2, 191}) {
				for c := range contents {
					page := place(smallPage(s, el, c%3, c))
					coded, err := e.AppendSmall(nil, page, s, el)
					require.NoError(t, err)
					plain := bytes.Clone(page)
					coded = other(coded)
					clear(page)
					require.NoError(t, d.Decode(page, coded))
					require.True(t, bytes.Equal(plain, page), "%v %s", s, contents[c].name)
				}
			}
		}
	})
}
