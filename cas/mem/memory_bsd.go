//go:build darwin || freebsd || netbsd || openbsd

package mem

// adviseHuge does nothing: these systems choose page sizes themselves.
func adviseHuge([]byte) {}
