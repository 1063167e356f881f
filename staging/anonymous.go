package staging

import (
	"fmt"

	"github.com/kvferry/kvferry/internal/anon"
)

// Anonymous returns the allocator for hosts without a device: memory outside
// the Go heap, in huge pages where the kernel has them, touched once so that
// no page fault falls into a copy. What is smaller than heapBytes comes from
// the heap, because a mapping costs more than a small transfer takes.
func Anonymous() Allocator { return anonymous{} }

const heapBytes = 256 << 10

type anonymous struct{}

func (anonymous) Allocate(bytes int) ([]byte, error) {
	if bytes < heapBytes {
		return make([]byte, bytes), nil
	}
	mem, err := anon.Map(bytes)
	if err != nil {
		return nil, fmt.Errorf("staging: %w", err)
	}
	anon.Touch(mem)
	return mem, nil
}

func (anonymous) Free(mem []byte) error {
	if len(mem) < heapBytes {
		return nil
	}
	if err := anon.Unmap(mem); err != nil {
		return fmt.Errorf("staging: %w", err)
	}
	return nil
}
