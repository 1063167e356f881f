//go:build !(linux || darwin || freebsd || netbsd || openbsd)

package mem

// mapMemory returns n zero bytes of the Go heap.
func mapMemory(n int) ([]byte, error) { return make([]byte, n), nil }

func unmapMemory([]byte) {}
