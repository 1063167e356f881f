//go:build unix

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"syscall"

	"github.com/kvferry/kvferry"
)

// MapFile maps the first size bytes of the file at path; 0 stands for all of
// them. Symbolic links, files that are not regular, empty ones and ones shorter
// than size are ErrInvalid, a missing one is ErrNotFound. The caller closes
// the File.
func MapFile(path string, size int64, access Access) (*File, error) {
	flag, prot := os.O_RDONLY, syscall.PROT_READ
	switch access {
	case ReadOnly:
	case ReadWrite:
		flag, prot = os.O_RDWR, syscall.PROT_READ|syscall.PROT_WRITE
	default:
		return nil, fmt.Errorf("host: map %s: access %d: %w", path, access, kvferry.ErrInvalid)
	}
	// O_NONBLOCK: opening a pipe that stands there must not hang.
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("host: map: %w (%w)", kvferry.ErrNotFound, err)
	case errors.Is(err, syscall.ELOOP):
		return nil, fmt.Errorf("host: map %s: a symbolic link: %w", path, kvferry.ErrInvalid)
	case err != nil:
		return nil, fmt.Errorf("host: map: %w", err)
	}
	defer f.Close() //nolint:errcheck // the mapping lives on without the descriptor, which wrote nothing
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("host: map: %w", err)
	}
	if size == 0 {
		size = info.Size()
	}
	if !info.Mode().IsRegular() || size <= 0 || size > info.Size() || size > math.MaxInt {
		return nil, fmt.Errorf("host: map %d bytes of %s, a file (%v) of %d: %w", size, path, info.Mode(), info.Size(), kvferry.ErrInvalid)
	}
	data, err := syscall.Mmap(int(f.Fd()), 0, int(size), prot, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("host: map %d bytes of %s: %w (%w)", size, path, kvferry.ErrOutOfMemory, err)
	}
	return &File{name: path, access: access, data: data}, nil
}

func unmap(data []byte) error { return syscall.Munmap(data) }
