package lsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/kvferry/kvferry"
)

const (
	markName  = "flushed"
	markPlace = 24
)

// mark is the file that says which change was flushed.
type mark struct {
	mu   sync.Mutex
	seq  uint64
	next int // the place that is written next
	file vfs.File
}

// openMark opens the file and makes it if it is missing.
func openMark(w *watchedFS, name string) (*mark, error) {
	m := &mark{}
	// OpenReadWrite would make it, without content.
	if _, err := w.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return m, m.create(w, name)
	}
	f, err := w.FS.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if m.file, err = w.file(name, f, err); err != nil {
		return nil, err
	}
	var b [2 * markPlace]byte
	n, err := m.file.ReadAt(b[:], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(err, m.file.Close())
	}
	if err := m.read(b[:n]); err != nil {
		return nil, errors.Join(err, m.file.Close())
	}
	return m, nil
}

// create makes the file in one step, so that a crash leaves none or a whole one.
func (m *mark) create(w *watchedFS, name string) error {
	f, err := w.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(append(place(0), place(0)...)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = w.Rename(name+".new", name)
	}
	if err == nil {
		var dir vfs.File
		if dir, err = w.OpenDir(w.PathDir(name)); err == nil {
			err = errors.Join(dir.Sync(), dir.Close())
		}
	}
	if err != nil {
		return err
	}
	m.file, err = w.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	return err
}

// place returns the bytes of a place.
func place(seq uint64) []byte {
	b := make([]byte, markPlace)
	binary.LittleEndian.PutUint64(b, seq)
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[:12], castagnoli()))
	return b
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// read takes the newer of the two places. One of them may be torn.
func (m *mark) read(b []byte) error {
	found := false
	for i := range 2 {
		if len(b) != 2*markPlace {
			break
		}
		p := b[i*markPlace : (i+1)*markPlace]
		seq := binary.LittleEndian.Uint64(p)
		if string(place(seq)) == string(p) && (!found || seq > m.seq) {
			found, m.seq, m.next = true, seq, 1-i
		}
	}
	if !found {
		return fmt.Errorf("lsm: the file %q has no valid place: %w", markName, kvferry.ErrCorrupt)
	}
	return nil
}

// synced returns the number of the newest change that is known to be durable.
func (m *mark) synced() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq
}

// set says that the changes up to seq are durable, durably.
func (m *mark) set(seq uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq <= m.seq {
		return nil
	}
	if _, err := m.file.WriteAt(place(seq), int64(m.next)*markPlace); err != nil {
		return err
	}
	if err := m.file.SyncData(); err != nil {
		return err
	}
	m.seq, m.next = seq, 1-m.next
	return nil
}

func (m *mark) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
