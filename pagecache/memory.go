package pagecache

import (
	"fmt"

	"github.com/kvferry/kvferry/internal/anon"
)

// Allocator provides the memory that arenas cut buffers from: pinned host
// memory where a device copies into it, anonymous memory otherwise. It has the
// methods of staging.Allocator, so that one value serves both. It is safe for
// concurrent use.
type Allocator interface {
	// Allocate returns zeroed memory of exactly the given length, ready to
	// be touched without page faults, or an error that wraps ErrOutOfMemory.
	Allocate(bytes int) ([]byte, error)
	// Free gives back what Allocate returned, whole.
	Free(mem []byte) error
}

// Anonymous returns the allocator for hosts without a device: memory outside
// the Go heap, in huge pages where the kernel has them, touched once.
func Anonymous() Allocator { return anonymous{} }

type anonymous struct{}

func (anonymous) Allocate(bytes int) ([]byte, error) {
	mem, err := anon.Map(bytes)
	if err != nil {
		return nil, fmt.Errorf("pagecache: %w", err)
	}
	anon.Touch(mem)
	return mem, nil
}

func (anonymous) Free(mem []byte) error {
	if err := anon.Unmap(mem); err != nil {
		return fmt.Errorf("pagecache: %w", err)
	}
	return nil
}
