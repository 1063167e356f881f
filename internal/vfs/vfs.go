// Package vfs is the seam between a store and the file system below it: the
// few operations that a store of packs needs, on the real file system, on one
// in memory that can crash, and with errors injected into either.
//
// All implementations agree on what a test can see of them; where the system
// is vague, about what a power failure leaves, the one in memory is hostile.
package vfs

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// BlockBytes is what offsets, lengths and addresses are multiples of when a
// file is read and written past the page cache.
const BlockBytes = 4096

// Mode says how a file is opened. Modes are combined with |.
type Mode uint8

// The modes of opening a file.
const (
	// ReadOnly opens a file that is there for reading.
	ReadOnly Mode = 0
	// ReadWrite opens a file for reading and writing.
	ReadWrite Mode = 1
	// Create makes the file if it is missing, and implies ReadWrite.
	Create Mode = 2
	// Exclusive, with Create, makes a name that is taken fs.ErrExist.
	Exclusive Mode = 4
	// Direct moves data past the page cache where the file system can do that,
	// and is silently buffered where it cannot: File.Direct tells.
	Direct Mode = 8
)

// Info describes a file or directory.
type Info struct {
	// Name is the last element of its path.
	Name string
	// Size is the length of a file.
	Size int64
	// Dir and Regular tell directories and files; what is neither, as a link,
	// a fifo or a device, is never opened.
	Dir, Regular bool
	// ID tells one file from another while both exist.
	ID uint64
	// Modified is when the content was last changed.
	Modified time.Time
	// AllocatedBytes is the room that a file takes: less than Size if it has
	// holes, more if room was reserved.
	AllocatedBytes int64
}

// FS is a directory and everything below it. Names are slash-separated paths
// below the root, as fs.ValidPath wants them; "." is the root. No symbolic link
// is followed.
//
// An error is an *fs.PathError around a syscall.Errno, so that errors.Is works
// with fs.ErrNotExist and with syscall.ENOSPC alike. Operations that a signal
// interrupts are repeated. An FS is safe for concurrent use; after Close every
// operation is EBADF, while files that are open go on.
type FS interface {
	// Open opens a regular file. It never waits; what is no regular file is
	// EISDIR, ELOOP or ENXIO.
	Open(name string, how Mode) (File, error)
	// Mkdir makes a directory, whose parent is there.
	Mkdir(name string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Rename gives a file or directory another name, in one step; what had the
	// name before is replaced.
	Rename(from, to string) error
	// List returns what is in a directory, in no order. What is removed
	// meanwhile may be missing.
	List(name string) ([]Info, error)
	// Stat describes what has the name, a link itself if it is one.
	Stat(name string) (Info, error)
	// SyncDir makes the entries of a directory durable: what was made in,
	// renamed into or removed from it before.
	SyncDir(name string) error
	// FreeBytes is what an unprivileged user may still write.
	FreeBytes() (int64, error)
	// Close gives the directory back.
	Close() error
}

// File is an open regular file. It is safe for concurrent use; Close waits for
// operations in progress, and after it every operation is EBADF.
type File interface {
	// ReadAt is short at the end of the file: n < len(p) and io.EOF.
	io.ReaderAt
	// WriteAt writes everything or fails. Of a failed write any part may have
	// been written.
	io.WriterAt
	// Sync makes data and length durable. After an error nobody knows what of
	// the data written before is durable, and calling again does not tell: the
	// system has forgotten that the data was not.
	Sync() error
	// Truncate sets the length. What is added are zeros.
	Truncate(size int64) error
	// Allocate reserves room for the first size bytes and makes the file at
	// least that long; what is added are zeros. It is errors.ErrUnsupported if
	// the file system cannot.
	Allocate(size int64) error
	// Stat describes the file, by the name that it was opened with.
	Stat() (Info, error)
	// Lock waits until this open file alone has the file's lock, or until ctx
	// ends. The lock belongs to the open file: another one of the same process
	// is as locked out as one of another process. It ends with Unlock, Close or
	// the process.
	Lock(ctx context.Context) error
	// TryLock takes the lock if nobody else has it.
	TryLock() (bool, error)
	// Unlock gives the lock back; it is no error if it was not held.
	Unlock() error
	// Watch returns the little-endian word at off, a multiple of 8, which lies
	// within the file. It is valid until the file is closed.
	Watch(off int64) (*Word, error)
	// Direct tells whether the file was opened with Direct and the file system
	// can do it. Then an offset, length or address that is no multiple of
	// BlockBytes is EINVAL.
	Direct() bool
	// Close releases the lock and the file.
	Close() error
}

func failure(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}
