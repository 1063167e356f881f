//go:build !linux

package capture_test

// withoutHugePages does nothing: these systems choose page sizes themselves.
func withoutHugePages() {}
