package vfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// openBeneath opens name below the directory root without following a symbolic
// link. Kernels before 5.6, and sandboxes that refuse the call, are served by
// the walk.
func openBeneath(root int, name string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	fd, err := uninterrupted(func() (int, error) { return unix.Openat2(root, name, &how) })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openWalking(root, name, flags, mode)
	}
	return fd, err
}

// syncData makes the data of fd durable, and what is needed to find it.
func syncData(fd int) error {
	_, err := uninterrupted(func() (int, error) { return 0, unix.Fdatasync(fd) })
	return err
}

// syncWhole makes everything about fd durable.
func syncWhole(fd int) error {
	_, err := uninterrupted(func() (int, error) { return 0, unix.Fsync(fd) })
	return err
}

// reserve makes fd at least size bytes long, with room for all of them.
func reserve(fd int, size int64) error {
	_, err := uninterrupted(func() (int, error) { return 0, unix.Fallocate(fd, 0, 0, size) })
	return err
}

// goDirect makes what is read and written through fd pass the page cache by and
// tells whether the file system does it with blocks of BlockBytes. It is asked
// of an open file, because open itself leaves a new file behind when it fails
// for that reason.
func goDirect(fd int) bool {
	var sx unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &sx) == nil && sx.Mask&unix.STATX_DIOALIGN != 0 {
		o, m := sx.Dio_offset_align, sx.Dio_mem_align
		if o == 0 || m == 0 || BlockBytes%o != 0 || BlockBytes%m != 0 {
			return false
		}
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return false
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_DIRECT)
	return err == nil
}

func freeBytes(st *unix.Statfs_t) int64 {
	unit := st.Frsize
	if unit == 0 {
		unit = st.Bsize
	}
	return int64(st.Bavail * uint64(unit))
}
