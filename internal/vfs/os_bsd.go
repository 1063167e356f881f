//go:build darwin || freebsd

package vfs

import "golang.org/x/sys/unix"

func openBeneath(root int, name string, flags int, mode uint32) (int, error) {
	return openWalking(root, name, flags, mode)
}

func syncData(fd int) error { return syncWhole(fd) }

func reserve(int, int64) error { return unix.EOPNOTSUPP }

func goDirect(int) bool { return false }

func freeBytes(st *unix.Statfs_t) int64 { return int64(st.Bavail) * int64(st.Bsize) }
