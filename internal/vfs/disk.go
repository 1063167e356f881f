package vfs

import (
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// unbounded is the capacity of a disk that was given none.
const unbounded = 1 << 40

// Disk is a file system in memory for tests: several processes use it, each of
// which can be killed, and the power can fail. Nothing of it is durable before
// it was synchronised, and Crash says what is then left. It is safe for
// concurrent use.
//
// Each operation happens at once: none is half done when another one, a kill or
// a crash comes between; WithFaults leaves writes half done.
type Disk struct {
	before atomic.Pointer[func(op, path string)]

	mu       sync.Mutex
	root     *node
	ids      uint64
	journal  []*dirOp // operations on directories that are not durable, in order
	capacity int64
	used     int64
}

// node is a file or directory, with a state that processes see and one that
// is durable. The Disk's mutex guards it.
type node struct {
	id       uint64
	dir      bool
	modified time.Time

	entries map[string]*node // of a directory
	durable map[string]*node

	now      content  // of a file
	kept     content  // what is durable
	dirty    []change // what was done since, in order
	forgot   bool     // an fsync failed: the disk lacks some of what processes see
	room     blocks   // what takes room
	reserved int64    // the bytes from the start that Allocate reserved

	place  slot // where it durably is
	linked bool // it has a name
	open   int  // the open files of it
	locked *diskFile
	freed  chan struct{} // closed when somebody who waits for the lock should look
	words  map[int64]*uint64
}

// NewDisk returns an empty disk.
func NewDisk() *Disk {
	d := &Disk{capacity: unbounded}
	d.root = d.newNode(true)
	d.root.linked = true
	return d
}

func (d *Disk) newNode(dir bool) *node {
	d.ids++
	n := &node{id: d.ids, dir: dir, modified: time.Now()}
	if dir {
		n.entries, n.durable = map[string]*node{}, map[string]*node{}
	}
	return n
}

// Before makes f be called before every operation of a process, with the names
// and paths that WithFaults gives its hook; nil ends it. f may take a Snapshot
// or Crash, kill processes and use other ones, even the one that called.
func (d *Disk) Before(f func(op, path string)) {
	if f == nil {
		d.before.Store(nil)
		return
	}
	d.before.Store(&f)
}

func (d *Disk) ask(op, name string) {
	if f := d.before.Load(); f != nil {
		(*f)(op, name)
	}
}

// SetCapacity bounds the room that files take, in blocks of BlockBytes; what
// does not fit is ENOSPC. Of a write so much is written as fits.
func (d *Disk) SetCapacity(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = bytes
}

// Process returns a process that uses the disk.
func (d *Disk) Process() *Process { return &Process{d: d, files: map[*diskFile]struct{}{}} }

// Files returns the sizes of all files by their paths.
func (d *Disk) Files() map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string]int64{}
	var walk func(n *node, prefix string)
	walk = func(n *node, prefix string) {
		for base, e := range n.entries {
			if e.dir {
				walk(e, prefix+base+"/")
			} else {
				all[prefix+base] = e.now.size
			}
		}
	}
	walk(d.root, "")
	return all
}

// Snapshot returns a disk with the same files, the same of them durable, which
// no process uses. It costs little: the two share what neither changes.
func (d *Disk) Snapshot() *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &Disk{ids: d.ids, capacity: d.capacity}
	copies := map[*node]*node{}
	s.root = d.root.copy(copies)
	for _, op := range d.journal {
		c := *op
		c.node, c.from.dir, c.to.dir = c.node.copy(copies), c.from.dir.copy(copies), c.to.dir.copy(copies)
		s.journal = append(s.journal, &c)
	}
	s.used = s.root.take()
	return s
}

// copy returns the copy of n and of all below it, made at most once.
func (n *node) copy(copies map[*node]*node) *node {
	if n == nil || copies[n] != nil {
		return copies[n]
	}
	c := &node{id: n.id, dir: n.dir, modified: n.modified, linked: n.linked, reserved: n.reserved, forgot: n.forgot}
	copies[n] = c
	c.place = slot{n.place.dir.copy(copies), n.place.base}
	if !n.dir {
		c.now, c.kept = n.now.clone(), n.kept.clone()
		c.dirty = append([]change(nil), n.dirty...)
		c.room = append(blocks(nil), n.room...)
		return c
	}
	c.entries, c.durable = map[string]*node{}, map[string]*node{}
	for base, e := range n.entries {
		c.entries[base] = e.copy(copies)
	}
	for base, e := range n.durable {
		c.durable[base] = e.copy(copies)
	}
	return c
}

// take returns the room that n and all below it take.
func (n *node) take() int64 {
	bytes := n.room.count() * BlockBytes
	for _, e := range n.entries {
		bytes += e.take()
	}
	return bytes
}

// findLocked returns what has the name.
func (d *Disk) findLocked(name string) (*node, error) {
	at := d.root
	if name == "." {
		return at, nil
	}
	for base := range strings.SplitSeq(name, "/") {
		if !at.dir {
			return nil, syscall.ENOTDIR
		}
		next := at.entries[base]
		if next == nil {
			return nil, syscall.ENOENT
		}
		at = next
	}
	return at, nil
}

// slotLocked returns the place of a name in its directory.
func (d *Disk) slotLocked(name string) (slot, error) {
	if name == "." {
		return slot{}, syscall.EBUSY
	}
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	n, err := d.findLocked(dir)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	return slot{n, base}, err
}

func (n *node) info(base string) Info {
	return Info{
		Name: base, Size: n.now.size, Dir: n.dir, Regular: !n.dir, ID: n.id,
		Modified: n.modified, AllocatedBytes: n.room.count() * BlockBytes,
	}
}

// releaseLocked gives the room of n back once it has neither name nor user.
func (d *Disk) releaseLocked(n *node) {
	if !n.linked && n.open == 0 {
		d.used -= n.room.count() * BlockBytes // a crash may bring the name back
	}
}

// wake makes those look again who wait for the lock of n.
func (n *node) wake() {
	if n.freed != nil {
		close(n.freed)
		n.freed = nil
	}
}
