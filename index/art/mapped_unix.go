//go:build unix

package art

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry/internal/vfs"
)

// Of a mapped log so much is mapped at a time, more of a long one.
const (
	minWindowBytes = 1 << 20
	maxWindowBytes = 8 << 20
)

// mapping is the part of a log behind its end, mapped: a copy into it is in the
// page cache as a write is, and survives the process as that does, at a tenth
// of the price.
type mapping struct {
	file *os.File
	mem  []byte
	from int64 // where mem begins in the file
}

// mapLog returns a mapping of a file that nobody else writes.
func mapLog(path string) (*mapping, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &mapping{file: f}, nil
}

// covers tells whether n bytes at off lie in the window.
func (m *mapping) covers(off int64, n int) bool {
	return off >= m.from && off+int64(n) <= m.from+int64(len(m.mem))
}

// move maps a window for n bytes at off. The file has all blocks of it before, so
// that no store into it is without room.
func (m *mapping) move(f vfs.File, off int64, n int) error {
	if err := m.drop(); err != nil {
		return err
	}
	page := int64(os.Getpagesize())
	from := off - off%page
	size := off - from + int64(n) + min(max(minWindowBytes, off/4), maxWindowBytes)
	size += page - size%page
	if err := f.Allocate(from + size); err != nil {
		return err
	}
	mem, err := unix.Mmap(int(m.file.Fd()), from, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map a log: %w", err)
	}
	m.mem, m.from = mem, from
	return nil
}

// put copies into the window. A page that the disk cannot have is an error.
func (m *mapping) put(b []byte, off int64) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if err != nil && recover() != nil {
			return // the fault
		}
	}()
	err = errFault
	copy(m.mem[off-m.from:], b)
	return nil
}

var errFault = errors.New("a page of the log cannot be written")

// drop ends the window.
func (m *mapping) drop() error {
	if m.mem == nil {
		return nil
	}
	mem := m.mem
	m.mem, m.from = nil, 0
	return unix.Munmap(mem)
}

func (m *mapping) close() error { return errors.Join(m.drop(), m.file.Close()) }
