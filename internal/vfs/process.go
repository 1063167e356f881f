package vfs

import (
	"io/fs"
	"slices"
	"strings"
	"syscall"
)

var (
	_ FS          = (*Process)(nil)
	_ unsyncedDir = (*Process)(nil)
)

// Process is a process that uses a Disk. As an FS, its root is the disk's.
type Process struct {
	d *Disk

	files  map[*diskFile]struct{} // open; guarded by the disk's mutex, as what follows
	closed bool
}

// Kill ends the process as SIGKILL does: its files are closed and its locks
// free. What it wrote is there for others, but not durable. Every later
// operation of it and of its files is EBADF.
func (p *Process) Kill() {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	p.closed = true
	for f := range p.files {
		f.closeLocked()
	}
}

// do runs f with the disk locked.
func (p *Process) do(op, name string, f func() error) error {
	if !fs.ValidPath(name) {
		return failure(op, name, syscall.EINVAL)
	}
	p.d.ask(op, name)
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if p.closed {
		return failure(op, name, syscall.EBADF)
	}
	return failure(op, name, f())
}

// Open opens a file.
func (p *Process) Open(name string, how Mode) (File, error) {
	op := "open"
	if how&Create != 0 {
		op = "create"
	}
	f := &diskFile{p: p, d: p.d, name: name, write: how&(ReadWrite|Create) != 0, direct: how&Direct != 0}
	err := p.do(op, name, func() (err error) {
		f.n, err = p.d.openLocked(name, how)
		if err != nil {
			return err
		}
		f.n.open++
		p.files[f] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (d *Disk) openLocked(name string, how Mode) (*node, error) {
	n, err := d.findLocked(name)
	switch {
	case err == nil && how&Create != 0 && how&Exclusive != 0:
		return nil, syscall.EEXIST
	case err == nil && n.dir:
		return nil, syscall.EISDIR
	case err == nil || how&Create == 0:
		return n, err
	}
	at, err := d.slotLocked(name)
	if err != nil {
		return nil, err
	}
	n = d.newNode(false)
	d.changeLocked(&dirOp{node: n, to: at})
	return n, nil
}

// Mkdir makes a directory.
func (p *Process) Mkdir(name string) error {
	return p.do("mkdir", name, func() error {
		at, err := p.d.slotLocked(name)
		if err != nil {
			return err
		}
		if at.dir.entries[at.base] != nil {
			return syscall.EEXIST
		}
		p.d.changeLocked(&dirOp{node: p.d.newNode(true), to: at})
		return nil
	})
}

// Remove removes a file or an empty directory.
func (p *Process) Remove(name string) error {
	return p.do("unlink", name, func() error {
		at, n, err := p.d.takenLocked(name)
		if err != nil {
			return err
		}
		if len(n.entries) > 0 {
			return syscall.ENOTEMPTY
		}
		p.d.changeLocked(&dirOp{node: n, from: at})
		return nil
	})
}

// takenLocked returns the place of a name and what has it.
func (d *Disk) takenLocked(name string) (slot, *node, error) {
	at, err := d.slotLocked(name)
	if err != nil {
		return slot{}, nil, err
	}
	n := at.dir.entries[at.base]
	if n == nil {
		return slot{}, nil, syscall.ENOENT
	}
	return at, n, nil
}

// Rename gives a file or directory another name.
func (p *Process) Rename(from, to string) error {
	if !fs.ValidPath(from) {
		return failure("rename", from, syscall.EINVAL)
	}
	return p.do("rename", to, func() error {
		a, n, err := p.d.takenLocked(from)
		if err != nil {
			return err
		}
		b, err := p.d.slotLocked(to)
		if err != nil {
			return err
		}
		if n.dir && strings.HasPrefix(to, from+"/") {
			return syscall.EINVAL
		}
		switch old := b.dir.entries[b.base]; {
		case old == nil:
		case old == n:
			return nil
		case old.dir && !n.dir:
			return syscall.EISDIR
		case !old.dir && n.dir:
			return syscall.ENOTDIR
		case len(old.entries) > 0:
			return syscall.ENOTEMPTY
		}
		p.d.changeLocked(&dirOp{node: n, from: a, to: b})
		return nil
	})
}

// List returns what is in a directory.
func (p *Process) List(name string) (all []Info, err error) {
	err = p.do("readdir", name, func() error {
		n, err := p.d.dirLocked(name)
		if err != nil {
			return err
		}
		for base, e := range n.entries {
			all = append(all, e.info(base))
		}
		// Always the same order, so that a test does the same again.
		slices.SortFunc(all, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
		return nil
	})
	return all, err
}

func (d *Disk) dirLocked(name string) (*node, error) {
	n, err := d.findLocked(name)
	if err == nil && !n.dir {
		err = syscall.ENOTDIR
	}
	return n, err
}

// Stat describes what has the name.
func (p *Process) Stat(name string) (info Info, err error) {
	err = p.do("stat", name, func() error {
		n, err := p.d.findLocked(name)
		if err == nil {
			info = n.info(name[strings.LastIndexByte(name, '/')+1:])
		}
		return err
	})
	return info, err
}

// SyncDir makes the entries of a directory durable.
func (p *Process) SyncDir(name string) error {
	return p.do("fsyncdir", name, func() error {
		n, err := p.d.dirLocked(name)
		if err == nil {
			p.d.syncDirLocked(n)
		}
		return err
	})
}

// dropDir is what a failed fsync of a directory does: what happened to its
// entries never becomes durable.
func (p *Process) dropDir(name string) {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	if n, err := p.d.findLocked(name); err == nil {
		p.d.dropDirLocked(n)
	}
}

// FreeBytes is what may still be written.
func (p *Process) FreeBytes() (free int64, err error) {
	err = p.do("statfs", ".", func() error {
		free = max(0, p.d.capacity-p.d.used)
		return nil
	})
	return free, err
}

// Close ends the use of the disk as an FS. Open files go on.
func (p *Process) Close() error {
	return p.do("close", ".", func() error {
		p.closed = true
		return nil
	})
}
