//go:build unix

package dir

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// openWalking opens rel below the directory root component by component, so
// that no symbolic link is followed.
func openWalking(root int, rel string, flags int, mode uint32) (int, error) {
	at := root
	for {
		name, rest, more := strings.Cut(rel, "/")
		f, m := unix.O_RDONLY|unix.O_DIRECTORY, uint32(0)
		if !more {
			f, m = flags, mode
		}
		fd, err := uninterrupted(func() (int, error) {
			return unix.Openat(at, name, f|unix.O_NOFOLLOW|unix.O_CLOEXEC, m)
		})
		if at != root {
			_ = unix.Close(at) // a directory that was only looked at
		}
		if err != nil || !more {
			return fd, err
		}
		at, rel = fd, rest
	}
}

// uninterrupted repeats a system call that a signal interrupted.
func uninterrupted(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
