//go:build !linux

package anon

// adviseHuge does nothing: these systems choose page sizes themselves.
func adviseHuge([]byte) {}
