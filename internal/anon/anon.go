// Package anon maps anonymous memory: zeroed, outside the Go heap, so that the
// garbage collector neither scans nor counts it, and in huge pages where the
// kernel has them. On systems without mmap it is memory of the Go heap.
package anon

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/kvferry/kvferry"
)

// Map returns zeroed memory of exactly the given length, aligned to pages. The
// system backs it when it is first touched. What cannot be had is
// ErrOutOfMemory. The caller gives it back with Unmap; no bytes need not be.
func Map(bytes int) ([]byte, error) {
	if bytes == 0 {
		return []byte{}, nil
	}
	if bytes < 0 {
		return nil, fmt.Errorf("anon: map %d bytes: %w", bytes, kvferry.ErrOutOfMemory)
	}
	mem, err := mapMemory(bytes)
	if err != nil {
		return nil, fmt.Errorf("anon: map %d bytes: %w: %w", bytes, kvferry.ErrOutOfMemory, err)
	}
	adviseHuge(mem)
	return mem, nil
}

// Huge asks the system to back memory that Map did not return, as that of the Go
// heap, with huge pages where whole ones lie in it. Only what nobody touched yet
// changes at once.
func Huge(words []uint64) {
	page := os.Getpagesize()
	mem := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words)) //nolint:gosec // the same memory as bytes
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(words)))) & (page - 1)         //nolint:gosec // an address is only a number here
	if whole := (len(mem) - skip) &^ (page - 1); skip < len(mem) && whole > 0 {
		adviseHuge(mem[skip : skip+whole])
	}
}

// Unmap gives back what Map returned, whole. Nobody may touch it any more.
func Unmap(mem []byte) error {
	if len(mem) == 0 {
		return nil
	}
	if err := unmapMemory(mem); err != nil {
		return fmt.Errorf("anon: unmap %d bytes: %w", len(mem), err)
	}
	return nil
}

// touchBytes is what one processor touches at a time.
const touchBytes = 64 << 20

// Touch makes the system back mem, which Map returned and nobody has written
// to yet, so that no later use waits for memory to be found and cleared. Long
// memory is touched on all processors.
func Touch(mem []byte) {
	pieces := int64((len(mem) + touchBytes - 1) / touchBytes)
	if pieces <= 1 {
		touch(mem)
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(int64(runtime.GOMAXPROCS(0)), pieces) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < pieces; i = next.Add(1) - 1 {
				from := int(i) * touchBytes
				touch(mem[from:min(from+touchBytes, len(mem))])
			}
		})
	}
	wg.Wait()
}

func touch(mem []byte) {
	for i, step := 0, os.Getpagesize(); i < len(mem); i += step {
		mem[i] = 0
	}
}
