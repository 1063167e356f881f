package sqlitehost

// #include <stdlib.h>
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pagecache"
)

// Malloc returns an allocator of C's memory, which sanitizers and valgrind watch.
func Malloc() pagecache.Allocator { return malloc{} }

type malloc struct{}

func (malloc) Allocate(bytes int) ([]byte, error) {
	p := C.calloc(1, C.size_t(bytes))
	if p == nil {
		return nil, fmt.Errorf("sqlitehost: %d bytes: %w", bytes, kvferry.ErrOutOfMemory)
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

func (malloc) Free(mem []byte) error {
	C.free(unsafe.Pointer(unsafe.SliceData(mem)))
	return nil
}
