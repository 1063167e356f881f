package anon

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages: fewer faults and TLB misses. A kernel
// without them is no reason to fail: the memory works, only slower.
func adviseHuge(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }
