//go:build cuda

package cuda

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// preferNode is MPOL_PREFERRED: a node that is full lends from others. A hard
// binding would let the system kill the process instead.
const preferNode = 1

// placeOnNode wants memory that nobody touched yet on a NUMA node. Where the
// process may not, as in many containers, or the system has no nodes, the memory
// is as good, only farther away.
func placeOnNode(mem []byte, node int) {
	var mask [16]uint64
	if node >= len(mask)*64 {
		return
	}
	mask[node/64] = 1 << (node % 64)
	_, _, _ = unix.Syscall6(unix.SYS_MBIND, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)),
		preferNode, uintptr(unsafe.Pointer(&mask)), uintptr(len(mask)*64), 0)
}

// touchBytes is what one processor touches at a time.
const touchBytes = 16 << 20

// touch makes the system back memory before it is pinned: the driver would do it
// page by page, on one processor.
func touch(mem []byte, workers int) {
	pieces := (len(mem) + touchBytes - 1) / touchBytes
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, pieces) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < pieces; i = int(next.Add(1)) - 1 {
				touchPages(mem[i*touchBytes : min((i+1)*touchBytes, len(mem))])
			}
		})
	}
	wg.Wait()
}

func touchPages(mem []byte) {
	for i, step := 0, os.Getpagesize(); i < len(mem); i += step {
		mem[i] = 0
	}
}
