package vfs

import "golang.org/x/sys/unix"

// syncWhole makes everything about fd durable. On this system fsync leaves it
// in the cache of the disk.
func syncWhole(fd int) error {
	_, err := uninterrupted(func() (int, error) { return unix.FcntlInt(uintptr(fd), unix.F_FULLFSYNC, 0) })
	return err
}
