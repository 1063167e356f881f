//go:build unix

package staging

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Anonymous returns the allocator for hosts without a device: private
// anonymous mappings outside the Go heap, in huge pages where the kernel has
// them, touched once so that no page fault falls into a copy.
func Anonymous() Allocator { return anonymous{} }

type anonymous struct{}

func (anonymous) Allocate(bytes int) ([]byte, error) {
	if bytes == 0 {
		return []byte{}, nil
	}
	mem, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("staging: map %d bytes: %w: %w", bytes, errNoMemory, err)
	}
	adviseHuge(mem)
	for i, step := 0, os.Getpagesize(); i < len(mem); i += step {
		mem[i] = 0
	}
	return mem, nil
}

func (anonymous) Free(mem []byte) error {
	if len(mem) == 0 {
		return nil
	}
	if err := unix.Munmap(mem); err != nil {
		return fmt.Errorf("staging: unmap %d bytes: %w", len(mem), err)
	}
	return nil
}
