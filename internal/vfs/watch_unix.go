//go:build linux || darwin || freebsd

package vfs

import (
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// osWord is a word of a file and the mapping that it is loaded from.
type osWord struct {
	Word
	page []byte // nil: not mapped
}

func (f *osFile) Watch(off int64) (*Word, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, failure("watch", f.name, unix.EBADF)
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return nil, failure("watch", f.name, err)
	}
	if off < 0 || off%8 != 0 || st.Size-off < 8 {
		return nil, failure("watch", f.name, unix.EINVAL)
	}
	w := &osWord{}
	w.read = func() (uint64, bool) { return f.readWord(off) }
	inPage := off % int64(os.Getpagesize())
	if page, err := unix.Mmap(f.fd, off-inPage, int(inPage)+8, unix.PROT_READ, unix.MAP_SHARED); err == nil {
		w.page = page
		w.at.Store(wordAt(page[inPage:]))
	}
	f.words = append(f.words, w)
	return &w.Word, nil
}

// readWord reads the word at off, which a direct file gives in whole blocks
// only.
func (f *osFile) readWord(off int64) (uint64, bool) {
	var small [8]byte
	b, from := small[:], off
	if f.direct {
		b = Buffer(BlockBytes)
		defer FreeBuffer(b)
		from -= off % BlockBytes
	}
	n, _ := f.ReadAt(b, from) // what matters is whether the word was read
	at := int(off - from)
	if n < at+8 {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[at:]), true
}

func (w *osWord) unmap() {
	w.at.Store(nil)
	if w.page != nil {
		_ = unix.Munmap(w.page) // it is whole: this cannot fail
	}
}
