//go:build unix

package synthetic

import (
	"fmt"
	"syscall"

	"github.com/kvferry/kvferry"
)

// mapMemory takes zeroed memory that the garbage collector does not count: a
// cache of gigabytes on the heap would let as much garbage pile up.
func mapMemory(n int) ([]byte, error) {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("synthetic: map %d bytes: %w (%w)", n, kvferry.ErrOutOfMemory, err)
	}
	return b, nil
}

func unmapMemory(b []byte) error { return syscall.Munmap(b) }
