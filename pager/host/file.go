package host

import (
	"fmt"
	"sync"

	"github.com/kvferry/kvferry"
)

// Access says what a mapping may be used for.
type Access int

// The accesses. Writing to the bytes of a ReadOnly mapping would end the
// process with a fault, so a Pager over one refuses WritePage.
const (
	ReadOnly  Access = 1
	ReadWrite Access = 2
)

// File is a file mapped into memory, shared with every process that maps it:
// the way to an engine that keeps its pages under /dev/shm.
//
// When somebody else truncates a file while it is mapped, an access behind its
// new end faults. A Pager that has the File in Config.Files reports that as
// ErrClosed; whoever touches Bytes directly would crash.
type File struct {
	name   string
	access Access

	// mu is held for reading while a copy runs, for writing by Close.
	mu     sync.RWMutex
	data   []byte
	closed bool
}

// Bytes returns the mapped memory. It is valid until Close and must not be
// touched afterwards: give the File to Config.Files, then the Pager does not.
func (f *File) Bytes() []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.data
}

// Close waits for the copies under way and unmaps the memory. A second Close
// is ErrClosed. The file itself stays.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("host: close %s: %w", f.name, kvferry.ErrClosed)
	}
	f.closed = true
	data := f.data
	f.data = nil
	if err := unmap(data); err != nil {
		return fmt.Errorf("host: unmap %s: %w", f.name, err)
	}
	return nil
}

// hold keeps the mapping in place until let. It never waits: Close alone takes
// the lock for writing, and to wait behind it while other files are held, or
// this one a second time, could be for ever.
func (f *File) hold() error {
	if !f.mu.TryRLock() {
		return fmt.Errorf("mapping of %s: %w", f.name, kvferry.ErrClosed)
	}
	if f.closed {
		f.mu.RUnlock()
		return fmt.Errorf("mapping of %s: %w", f.name, kvferry.ErrClosed)
	}
	return nil
}

func (f *File) let() { f.mu.RUnlock() }
