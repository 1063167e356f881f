//go:build !unix

package staging

// Anonymous returns the allocator for systems without mmap: Go heap memory.
func Anonymous() Allocator { return heap{} }

type heap struct{}

func (heap) Allocate(bytes int) ([]byte, error) {
	if bytes < 0 {
		return nil, errNoMemory
	}
	return make([]byte, bytes), nil
}

func (heap) Free([]byte) error { return nil }
