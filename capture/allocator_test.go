package capture_test

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry/staging"
)

// countingAllocator counts staging memory. What comes back is unmapped, so that a
// late access to it does not stay unseen.
type countingAllocator struct {
	live, peak atomic.Int64
}

var _ staging.Allocator = (*countingAllocator)(nil)

func (a *countingAllocator) Allocate(bytes int) ([]byte, error) {
	mem := []byte{}
	var err error
	if bytes > 0 { // untouched, which staging.Anonymous is not: rings are larger than what the tests move
		mem, err = unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	}
	if err == nil {
		n := a.live.Add(int64(bytes))
		for {
			p := a.peak.Load()
			if n <= p || a.peak.CompareAndSwap(p, n) {
				break
			}
		}
	}
	return mem, err
}

func (a *countingAllocator) Free(mem []byte) error {
	a.live.Add(-int64(len(mem)))
	if len(mem) == 0 {
		return nil
	}
	return unix.Munmap(mem)
}
