//go:build linux || darwin || freebsd

package vfs

import (
	"strings"

	"golang.org/x/sys/unix"
)

// openWalking opens name below the directory root, one element after the other,
// so that no symbolic link is followed.
func openWalking(root int, name string, flags int, mode uint32) (int, error) {
	at := root
	for {
		base, rest, more := strings.Cut(name, "/")
		f, m := unix.O_RDONLY|unix.O_DIRECTORY, uint32(0)
		if !more {
			f, m = flags, mode
		}
		fd, err := uninterrupted(func() (int, error) {
			return unix.Openat(at, base, f|unix.O_NOFOLLOW|unix.O_CLOEXEC, m)
		})
		if at != root {
			_ = unix.Close(at) // a directory that was only looked at
		}
		if err != nil || !more {
			return fd, err
		}
		at, name = fd, rest
	}
}
