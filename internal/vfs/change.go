package vfs

import (
	"encoding/binary"
	"sync/atomic"
	"time"
)

type changeKind uint8

const (
	write  changeKind = iota // data at off
	resize                   // to off
	extend                   // to at least off
)

// change is something that was done to a file.
type change struct {
	kind     changeKind
	off      int64
	data     []byte // never changed
	reserved int64  // the bytes from the file's start that room was reserved for
}

// length returns the length of a file that had size bytes.
func (c change) length(size int64) int64 {
	switch c.kind {
	case resize:
		return c.off
	case extend:
		return max(size, c.off)
	}
	return max(size, c.off+int64(len(c.data)))
}

func (c *content) apply(x change) {
	if x.kind == write {
		c.writeAt(x.data, x.off)
		return
	}
	c.truncate(x.length(c.size))
}

// do changes the file for the processes to see. It is not durable yet.
func (n *node) do(x change) {
	n.now.apply(x)
	n.dirty = append(n.dirty, x)
	n.modified = time.Now()
	n.publish()
}

// sync makes durable what was done since the last time. It does not take what
// the processes see for it: of that, a part may have been lost in an fsync that
// failed.
func (n *node) sync() {
	for _, x := range n.dirty {
		n.kept.apply(x)
	}
	n.dirty = nil
}

// publish brings the words that are watched up to date. As in a mapping, those
// past the end are zero while their page is there.
func (n *node) publish() {
	for off, at := range n.words {
		v := Unreadable
		if off-off%BlockBytes < n.now.size {
			var b [8]byte
			n.now.readAt(b[:], off)
			v = binary.LittleEndian.Uint64(b[:])
		}
		atomic.StoreUint64(at, little(v))
	}
}
