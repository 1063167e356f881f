//go:build linux || darwin || freebsd || netbsd || openbsd

package mem

import "golang.org/x/sys/unix"

// mapMemory returns n zero bytes outside the Go heap, aligned to pages.
func mapMemory(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, err
	}
	adviseHuge(b)
	return b, nil
}

func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic("mem: unmap of a mapping of ours: " + err.Error())
	}
}
