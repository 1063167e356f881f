//go:build linux || darwin

package doctor

import (
	"math"

	"golang.org/x/sys/unix"
)

// memlock returns the soft limit of locked memory.
func memlock() int64 {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &l); err != nil {
		return 0
	}
	if l.Cur > math.MaxInt64 || l.Cur == unix.RLIM_INFINITY {
		return Unlimited
	}
	return int64(l.Cur)
}

// space returns the free bytes (for this user) and all bytes of the file
// system that holds path.
func space(path string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	block := int64(st.Bsize) //nolint:unconvert // it has 32 bits on darwin
	return int64(st.Bavail) * block, int64(st.Blocks) * block, nil
}
