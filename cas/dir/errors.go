//go:build unix

package dir

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
)

// failed wraps an error of reading.
func failed(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("dir: %s %s: %w", op, path, err)
}

// unwritten wraps an error of writing: a full disk is ErrNoSpace, a lack of
// permission ErrReadOnly, and the cause stays.
func unwritten(op, path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("dir: %s %s: %w: %w", op, path, kvferry.ErrNoSpace, err)
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("dir: %s %s: %w: %w", op, path, kvferry.ErrReadOnly, err)
	}
	return failed(op, path, err)
}

func missing(err error) bool { return errors.Is(err, unix.ENOENT) }

// misplaced tells the errors of opening something that is no regular file or
// whose way leads through something that is no directory.
func misplaced(err error) bool {
	return errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENXIO) ||
		errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK)
}
