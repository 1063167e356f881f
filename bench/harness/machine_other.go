//go:build !linux

package harness

// machine knows nothing of other systems.
func machine(string) hardware {
	return hardware{"unknown processor", "unknown", "unknown file system", "unknown"}
}
