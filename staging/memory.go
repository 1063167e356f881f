package staging

// Allocator provides the memory of extents: pinned host memory where a device
// copies into it, anonymous memory otherwise. It is safe for concurrent use.
type Allocator interface {
	// Allocate returns zeroed memory of exactly the given length, ready to
	// be touched without page faults, or an error that wraps ErrOutOfMemory.
	Allocate(bytes int) ([]byte, error)
	// Free gives back what Allocate returned, whole.
	Free(mem []byte) error
}
