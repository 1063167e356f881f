package dir

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// openBeneath opens rel below the directory root without following a symbolic
// link anywhere on the way. Kernels before 5.6, and sandboxes that refuse the
// call, are served by the walk.
func openBeneath(root int, rel string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC | unix.O_NOFOLLOW),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	if flags&unix.O_CREAT != 0 {
		how.Mode = uint64(mode)
	}
	fd, err := uninterrupted(func() (int, error) { return unix.Openat2(root, rel, &how) })
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		return openWalking(root, rel, flags, mode)
	}
	return fd, err
}

// startWriteback asks the kernel to begin writing what was written to fd, so
// that the synchronisation at the end finds little left to do. It is advice:
// its outcome is of no interest.
func startWriteback(fd int) {
	_ = unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
}

// syncWhole makes everything on fd's file system durable with few journal
// commits. An error of writing back is reported once for each descriptor,
// from the time that it was opened.
func syncWhole(fd int) error {
	_, err := uninterrupted(func() (int, error) { return 0, unix.Syncfs(fd) })
	return err
}

// syncWholeReports tells whether syncfs reports errors of writing back, which
// it does since Linux 5.8. Before, files are synchronised one by one.
func syncWholeReports() bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	major, rest := leadingInt(u.Release[:])
	if len(rest) == 0 {
		return false
	}
	minor, _ := leadingInt(rest[1:])
	return major > 5 || major == 5 && minor >= 8
}

// syncWholeKnown tells whether fd lies on a file system whose syncfs makes files
// durable and reports that it could not. Of others, as network file systems and
// those that lie over another one, that is not known.
func syncWholeKnown(fd int) bool {
	var st unix.Statfs_t
	if _, err := uninterrupted(func() (int, error) { return 0, unix.Fstatfs(fd, &st) }); err != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}

func leadingInt(b []byte) (int, []byte) {
	n := 0
	for len(b) > 0 && b[0] >= '0' && b[0] <= '9' {
		n = 10*n + int(b[0]-'0')
		b = b[1:]
	}
	return n, b
}

// lockHolders returns the ids of the processes that have a flock of the file,
// as far as this process may know them.
func lockHolders(st *unix.Stat_t) []string {
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	var pids []string
	for _, line := range strings.Split(string(text), "\n") {
		// 1: FLOCK ADVISORY READ 1234 fd:01:567 0 EOF
		f := strings.Fields(line)
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == file {
			pids = append(pids, f[4])
		}
	}
	return pids
}
