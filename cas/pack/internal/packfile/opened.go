package packfile

import (
	"fmt"
	"sync/atomic"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

// openPack is a pack that a reader has open. Reader.mu guards users, used and
// stale.
type openPack struct {
	id     uint64
	done   atomic.Bool   // file or err is there
	opened chan struct{} // closed then
	file   vfs.File
	err    error
	bytes  atomic.Int64 // the file was at least so long once

	users int
	used  uint64 // when it was used last, in uses
	stale bool   // no longer in the reader's map: its last user closes it
}

// acquire returns the pack, open. The caller releases it.
func (r *Reader) acquire(pack uint64) (*openPack, error) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return nil, kvferry.ErrClosed
	}
	p := r.open[pack]
	mine := p == nil
	var spare *openPack
	if mine {
		spare = r.evictLocked()
		p = &openPack{id: pack, opened: make(chan struct{})}
		r.open[pack] = p
	}
	p.users++
	r.uses++
	p.used = r.uses
	r.mu.Unlock()
	if spare != nil {
		_ = spare.file.Close() // nothing was written
	}
	if mine {
		p.file, p.err = r.o.FS.Open(Path(pack), r.mode)
		p.done.Store(true)
		close(p.opened)
	} else if !p.done.Load() {
		<-p.opened
	}
	if p.err != nil {
		r.mu.Lock()
		r.forgetLocked(p)
		r.mu.Unlock()
		r.release(p)
		return nil, p.err
	}
	return p, nil
}

// release ends one use of the pack.
func (r *Reader) release(p *openPack) {
	r.mu.Lock()
	p.users--
	last := p.users == 0 && p.stale
	r.mu.Unlock()
	if last && p.file != nil {
		_ = p.file.Close() // nothing was written
	}
}

// forgetLocked takes the pack out of the map and tells whether the caller has to
// close it.
func (r *Reader) forgetLocked(p *openPack) bool {
	if p == nil || p.stale {
		return false
	}
	p.stale = true
	delete(r.open, p.id)
	return p.users == 0
}

// evictLocked makes room for another pack and returns what the caller has to
// close, if anything. Packs in use stay, though there are too many then.
func (r *Reader) evictLocked() *openPack {
	if len(r.open) < r.o.OpenFiles {
		return nil
	}
	var oldest *openPack
	for _, p := range r.open {
		if p.users == 0 && (oldest == nil || p.used < oldest.used) {
			oldest = p
		}
	}
	r.forgetLocked(oldest)
	return oldest
}

// reach makes sure that the file is at least so long.
func (p *openPack) reach(end int64) error {
	if end <= p.bytes.Load() {
		return nil
	}
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	p.bytes.Store(info.Size)
	if end > info.Size {
		return fmt.Errorf("the pack has %d bytes: %w", info.Size, kvferry.ErrCorrupt)
	}
	return nil
}

// around returns the range to read for [off, end): whole blocks if the file
// needs that.
func (p *openPack) around(off, end int64) (from, to int64) {
	if p.file.Direct() {
		return off &^ (blockBytes - 1), roundUp(end)
	}
	return off, end
}
