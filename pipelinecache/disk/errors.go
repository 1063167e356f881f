package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/kvferry/kvferry"
)

// sentinels are the outcomes that errors of the file system stand for, the
// first that fits.
var sentinels = []struct {
	cause, is error
}{
	{fs.ErrNotExist, kvferry.ErrNotFound},
	{syscall.ENOSPC, kvferry.ErrNoSpace},
	{syscall.EDQUOT, kvferry.ErrNoSpace},
	{syscall.EROFS, kvferry.ErrReadOnly},
	{syscall.EBADF, kvferry.ErrClosed},
	{fs.ErrClosed, kvferry.ErrClosed},
}

// typed names an operation of the package and what its failure means.
func typed(op string, err error) error {
	for _, s := range sentinels {
		if errors.Is(err, s.cause) {
			return fmt.Errorf("disk: %s: %w: %w", op, s.is, err)
		}
	}
	return fmt.Errorf("disk: %s: %w", op, err)
}

// unopenable tells whether an open failed because of what has the name: a link,
// a directory, a device.
func unopenable(err error) bool {
	for _, is := range []error{syscall.ELOOP, syscall.EMLINK, syscall.EISDIR, syscall.ENXIO} { // EMLINK: a link on FreeBSD
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}
