package vfs

import (
	"context"
	"io"
	"path"
	"syscall"
)

var (
	_ File     = (*diskFile)(nil)
	_ unsynced = (*diskFile)(nil)
)

// diskFile is an open file of a Disk.
type diskFile struct {
	p      *Process
	d      *Disk
	n      *node
	name   string
	write  bool
	direct bool

	closed bool // guarded by the disk's mutex, as what follows
	words  []*Word
}

// do runs f with the disk locked.
func (f *diskFile) do(op string, do func() error) error {
	f.d.ask(op, f.name)
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return failure(op, f.name, syscall.EBADF)
	}
	return failure(op, f.name, do())
}

func (f *diskFile) ReadAt(p []byte, off int64) (n int, err error) {
	end := false
	err = f.do("read", func() error {
		if off < 0 || f.direct && !fits(p, off) {
			return syscall.EINVAL
		}
		n = f.content().readAt(p, off)
		end = n < len(p)
		return nil
	})
	if end {
		err = io.EOF
	}
	return n, err
}

// content is what reads see. Those past the page cache see the disk, which may
// not have what an fsync failed to write.
func (f *diskFile) content() *content {
	if !f.direct || !f.n.forgot {
		return &f.n.now
	}
	c := f.n.kept.clone()
	for _, x := range f.n.dirty {
		c.apply(x)
	}
	c.truncate(f.n.now.size)
	return &c
}

func (f *diskFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.do("write", func() (err error) {
		switch {
		case !f.write:
			return syscall.EBADF
		case off < 0 || f.direct && !fits(p, off):
			return syscall.EINVAL
		case off > longest-int64(len(p)):
			return syscall.EFBIG
		}
		n, err = f.d.writeLocked(f.n, p, off)
		return err
	})
	return n, err
}

// writeLocked writes what there is room for.
func (d *Disk) writeLocked(n *node, p []byte, off int64) (int, error) {
	fit := d.fitLocked(n, off, int64(len(p)))
	if fit > 0 {
		d.makeRoomLocked(n, off, off+fit)
		n.do(change{kind: write, off: off, data: copyOf(p[:fit]), reserved: n.reserved})
	}
	if fit < int64(len(p)) {
		return int(fit), syscall.ENOSPC
	}
	return len(p), nil
}

// fitLocked returns how many of the bytes from off on there is room for.
func (d *Disk) fitLocked(n *node, off, count int64) int64 {
	spare := max(0, d.capacity-d.used) / BlockBytes
	if n.room.missing(blocksOf(off, off+count)) <= spare {
		return count
	}
	end := off
	for next := off; next < off+count; end = next {
		next = min(off+count, (next/BlockBytes+1)*BlockBytes)
		if spare -= n.room.missing(blocksOf(end, next)); spare < 0 {
			break
		}
	}
	return end - off
}

// blocksOf returns the blocks that the bytes from and up to before to touch.
func blocksOf(from, to int64) (first, end int64) {
	return from / BlockBytes, (to + BlockBytes - 1) / BlockBytes
}

func (d *Disk) makeRoomLocked(n *node, from, to int64) {
	first, end := blocksOf(from, to)
	d.used += n.room.missing(first, end) * BlockBytes
	n.room.add(first, end)
}

func (f *diskFile) Sync() error {
	return f.do("fsync", func() error {
		f.n.sync()
		return nil
	})
}

// dropDirty is what a failed fsync does: what was written is no longer taken
// for something that is not durable, although it is not.
func (f *diskFile) dropDirty() {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.n.forgot = f.n.forgot || len(f.n.dirty) > 0
	f.n.dirty = nil
}

func (f *diskFile) Truncate(size int64) error {
	return f.do("truncate", func() error {
		switch {
		case size < 0 || !f.write:
			return syscall.EINVAL
		case size > longest:
			return syscall.EFBIG
		}
		if size < f.n.now.size || f.n.reserved > size {
			before := f.n.room.count()
			_, end := blocksOf(0, size)
			f.n.room.cut(end)
			f.d.used -= (before - f.n.room.count()) * BlockBytes
			f.n.reserved = min(f.n.reserved, size)
		}
		f.n.do(change{kind: resize, off: size})
		return nil
	})
}

func (f *diskFile) Allocate(size int64) error {
	return f.do("allocate", func() error {
		switch {
		case !f.write:
			return syscall.EBADF
		case size <= 0:
			return syscall.EINVAL
		case size > longest:
			return syscall.EFBIG
		case f.d.fitLocked(f.n, 0, size) < size:
			return syscall.ENOSPC
		}
		f.d.makeRoomLocked(f.n, 0, size)
		f.n.reserved = max(f.n.reserved, size)
		f.n.do(change{kind: extend, off: size})
		return nil
	})
}

func (f *diskFile) Stat() (info Info, err error) {
	err = f.do("stat", func() error {
		info = f.n.info(path.Base(f.name))
		return nil
	})
	return info, err
}

func (f *diskFile) Lock(ctx context.Context) error {
	f.d.ask("flock", f.name)
	for {
		wait, err := f.lockOrWait()
		if wait == nil {
			return failure("flock", f.name, err)
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return failure("flock", f.name, ctx.Err())
		}
	}
}

// lockOrWait takes the lock, or returns what is closed when it is worth trying
// again.
func (f *diskFile) lockOrWait() (<-chan struct{}, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return nil, syscall.EBADF
	}
	if f.n.locked == nil || f.n.locked == f {
		f.n.locked = f
		return nil, nil
	}
	if f.n.freed == nil {
		f.n.freed = make(chan struct{})
	}
	return f.n.freed, nil
}

func (f *diskFile) TryLock() (ok bool, err error) {
	f.d.ask("flock", f.name)
	wait, err := f.lockOrWait()
	return wait == nil && err == nil, failure("flock", f.name, err)
}

func (f *diskFile) Unlock() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return failure("unlock", f.name, syscall.EBADF)
	}
	f.unlockLocked()
	return nil
}

func (f *diskFile) unlockLocked() {
	if f.n.locked == f {
		f.n.locked = nil
		f.n.wake()
	}
}

func (f *diskFile) Watch(off int64) (w *Word, err error) {
	err = f.do("watch", func() error {
		if off < 0 || off%8 != 0 || f.n.now.size-off < 8 {
			return syscall.EINVAL
		}
		if f.n.words == nil {
			f.n.words = map[int64]*uint64{}
		}
		if f.n.words[off] == nil {
			f.n.words[off] = new(uint64)
			f.n.publish()
		}
		w = new(Word)
		w.at.Store(f.n.words[off])
		f.words = append(f.words, w)
		return nil
	})
	return w, err
}

func (f *diskFile) Direct() bool { return f.direct }

func (f *diskFile) Close() error {
	return f.do("close", func() error {
		f.closeLocked()
		return nil
	})
}

func (f *diskFile) closeLocked() {
	f.closed = true
	f.unlockLocked()
	f.n.wake() // f itself may wait
	for _, w := range f.words {
		w.at.Store(nil)
	}
	delete(f.p.files, f)
	f.n.open--
	f.d.releaseLocked(f.n)
}
