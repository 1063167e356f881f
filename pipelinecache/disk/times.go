package disk

import (
	"os"
	"time"
)

// times are the access times of files, which say what was used least recently
// to those who open the directory later.
type times interface {
	// used returns when a file was last read, or the zero time if it is not
	// known.
	used(name string) time.Time
	// setUsed says when a file was last read.
	setUsed(name string, at time.Time)
	Close() error
}

// fileTimes are those of the system. They are advice: a file whose times cannot
// be read or set is one that was used when it was written.
type fileTimes struct{ root *os.Root }

func (t fileTimes) used(name string) time.Time {
	info, err := t.root.Lstat(name)
	if err != nil {
		return time.Time{}
	}
	return accessed(info)
}

// setUsed leaves the time of the last change as it is. On a file system that is
// not asked to keep access times this is all that sets them.
func (t fileTimes) setUsed(name string, at time.Time) {
	info, err := t.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	_ = t.root.Chtimes(name, at, time.Time{}) // it may be somebody else's
}

func (t fileTimes) Close() error { return t.root.Close() }
