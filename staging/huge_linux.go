package staging

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. A kernel without them is no reason to fail:
// the memory works, only slower.
func adviseHuge(mem []byte) { _ = unix.Madvise(mem, unix.MADV_HUGEPAGE) }
