package vfs

import "golang.org/x/sys/unix"

// syncWhole makes everything about fd durable.
func syncWhole(fd int) error {
	_, err := uninterrupted(func() (int, error) { return 0, unix.Fsync(fd) })
	return err
}
