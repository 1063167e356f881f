package lsm

import (
	"cmp"
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

// The files of marks.
const (
	flushedName  = "flushed"
	manifestName = "manifest"
	placeBytes   = 24
)

// mark is a file with two numbers that only grow, the first before the second. A
// crash leaves the old ones or the new ones.
type mark struct {
	mu   sync.Mutex
	a, b uint64
	next int // the place that is written next
	file vfs.File
}

// openMark opens the file and makes it if it is missing.
func openMark(w *watchedFS, dir, name string) (*mark, error) {
	name = w.PathJoin(dir, name)
	m := &mark{}
	// OpenReadWrite would make it, without content.
	if _, err := w.Stat(name); errors.Is(err, fs.ErrNotExist) {
		if err := createMark(w, dir, name); err != nil {
			return nil, err
		}
	}
	var err error
	if m.file, err = w.OpenReadWrite(name, vfs.WriteCategoryUnspecified); err != nil {
		return nil, err
	}
	var b [2 * placeBytes]byte
	n, err := m.file.ReadAt(b[:], 0)
	if err == nil || errors.Is(err, io.EOF) {
		err = m.read(b[:n])
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Join(err, m.file.Close()))
	}
	return m, nil
}

// createMark makes the file in one step, so that a crash leaves none or a whole
// one.
func createMark(w *watchedFS, dir, name string) error {
	f, err := w.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(append(place(0, 0), place(0, 0)...)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = w.Rename(name+".new", name)
	}
	if err != nil {
		return err
	}
	d, err := w.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// place returns the bytes of a place.
func place(a, b uint64) []byte {
	p := make([]byte, placeBytes)
	binary.LittleEndian.PutUint64(p, a)
	binary.LittleEndian.PutUint64(p[8:], b)
	binary.LittleEndian.PutUint32(p[16:], crc32.Checksum(p[:16], castagnoli()))
	return p
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// read takes the newer of the two places. One of them may be torn.
func (m *mark) read(file []byte) error {
	if len(file) != 2*placeBytes {
		return fmt.Errorf("has %d bytes: %w", len(file), kvferry.ErrCorrupt)
	}
	found := false
	for i := range 2 {
		p := file[i*placeBytes : (i+1)*placeBytes]
		a, b := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		if string(place(a, b)) == string(p) && (!found || m.before(a, b)) {
			found, m.a, m.b, m.next = true, a, b, 1-i
		}
	}
	if !found {
		return fmt.Errorf("has no valid place: %w", kvferry.ErrCorrupt)
	}
	return nil
}

// before reports whether the mark is behind some numbers.
func (m *mark) before(a, b uint64) bool { return cmp.Or(cmp.Compare(m.a, a), cmp.Compare(m.b, b)) < 0 }

// get returns the numbers.
func (m *mark) get() (a, b uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.a, m.b
}

// set sets the numbers, durably, if they are greater.
func (m *mark) set(a, b uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.before(a, b) {
		return nil
	}
	if _, err := m.file.WriteAt(place(a, b), int64(m.next)*placeBytes); err != nil {
		return err
	}
	if err := m.file.SyncData(); err != nil {
		return err
	}
	m.a, m.b, m.next = a, b, 1-m.next
	return nil
}

func (m *mark) close() error {
	if m == nil {
		return nil
	}
	return m.file.Close()
}
