package pack

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/kvferry/kvferry"
)

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// odd tells that something else lies where a file or directory is expected.
func odd(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.EISDIR) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO)
}

func endOfFile(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// failed says what could not be done with which file.
func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("pack: %s %s: %w", op, name, err)
}

// unwritten is failed for writes, which can fail for want of room or because
// nothing may be written.
func unwritten(op, name string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("pack: %s %s: %w: %w", op, name, err, kvferry.ErrNoSpace)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("pack: %s %s: %w: %w", op, name, err, kvferry.ErrReadOnly)
	}
	return failed(op, name, err)
}

// hexName reports whether name is 16 lower-case hexadecimal digits.
func hexName(name string) bool {
	return len(name) == 16 && strings.Trim(name, "0123456789abcdef") == ""
}

// randomID returns a number that no other process chose.
func randomID() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}
