//go:build unix

package blake3_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	library "github.com/zeebo/blake3"
	"golang.org/x/sys/unix"
)

// TestReadsInside hashes inputs, and parts of them together, that begin or end
// where memory does.
func TestReadsInside(t *testing.T) {
	page := os.Getpagesize()
	const room = 20 << 10
	inside := (room + page - 1) / page * page
	all, err := unix.Mmap(-1, 0, inside+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(all)) }()
	copy(all[page:], noise(inside))
	require.NoError(t, unix.Mprotect(all[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(all[page+inside:], unix.PROT_NONE))
	memory := all[page : page+inside]
	eachKernel(t, func(t *testing.T, h hashers) {
		for n := 0; n <= room; n += 1 + n/97 {
			for _, p := range [][]byte{memory[:n], memory[len(memory)-n:]} {
				require.Equal(t, library.Sum256(p), h.plain.Sum(p), "%d bytes", n)
				sums := make([][32]byte, 3)
				h.plain.SumMany(sums, [][]byte{p[:n/3], p[n/3:], p})
				require.Equal(t, [][32]byte{library.Sum256(p[:n/3]), library.Sum256(p[n/3:]), library.Sum256(p)}, sums, "%d bytes in parts", n)
			}
		}
	})
}
