package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	pinMagic       = "KVFRSES\n"
	pinHeaderBytes = 128
	pinUntilOff    = 16
	pinOwnerOff    = 32
	pinOwnerBytes  = pinHeaderBytes - pinOwnerOff
)

// streams is this process's part of the directory streams/: one locked file
// that says that it lives, and one file for each of its sessions.
type streams struct {
	s *Store

	mu   sync.Mutex
	id   uint64
	file vfs.File
}

func (st *streams) name() string              { return fmt.Sprintf("%s/%016x", streamsDir, st.id) }
func (st *streams) pins(number uint64) string { return fmt.Sprintf("%s.%d", st.name(), number) }

// ensure makes the process known. The lock is held as long as the file is open.
func (st *streams) ensure() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.file != nil {
		return nil
	}
	f, _, err := st.s.createLocked(context.Background(), func() string {
		st.id = randomID()
		return st.name()
	})
	st.file = f
	return err
}

// createLocked makes a file of a name that is free, and locks it.
func (s *Store) createLocked(ctx context.Context, name func() string) (vfs.File, string, error) {
	for {
		path := name()
		f, err := s.fs.Open(path, vfs.Create|vfs.Exclusive)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, "", unwritten("create", path, err)
		}
		ours, err := s.claim(ctx, f, path)
		if ours {
			return f, path, nil
		}
		if err != nil {
			_ = s.fs.Remove(path) // the first error counts
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, "", err
		}
	}
}

// claim locks a new file. It is not ours if somebody who cleans up took it for a
// dead process's and removed it before it was locked.
func (s *Store) claim(ctx context.Context, f vfs.File, path string) (bool, error) {
	if err := f.Lock(ctx); err != nil {
		return false, failed("lock", path, err)
	}
	mine, err := f.Stat()
	if err != nil {
		return false, failed("stat", path, err)
	}
	now, err := s.fs.Stat(path)
	if missing(err) {
		return false, nil
	}
	return err == nil && now.ID == mine.ID, failed("stat", path, err)
}

// close ends the process's stream.
func (st *streams) close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.file == nil {
		return nil
	}
	err := st.s.fs.Remove(st.name())
	if missing(err) {
		err = nil
	}
	err = errors.Join(unwritten("remove", st.name(), err), failed("close", st.name(), st.file.Close()))
	st.file = nil
	return err
}

// pinFile tells other processes what a session holds and until when.
type pinFile struct {
	s    *Store
	file vfs.File
	name string
	mu   sync.Mutex
	off  int64
	till time.Time
	buf  []byte
}

func (st *streams) createPins(x *session, owner string) (*pinFile, error) {
	if err := st.ensure(); err != nil {
		return nil, err
	}
	p := &pinFile{s: st.s, name: st.pins(x.number), off: pinHeaderBytes}
	f, err := st.s.fs.Open(p.name, vfs.Create|vfs.Exclusive)
	if err != nil {
		return nil, unwritten("create", p.name, err)
	}
	p.file = f
	var head [pinHeaderBytes]byte
	copy(head[:], pinMagic)
	binary.LittleEndian.PutUint32(head[8:], 1)
	binary.LittleEndian.PutUint32(head[12:], uint32(x.class))
	copy(head[pinOwnerOff:], owner)
	if _, err := f.WriteAt(head[:], 0); err != nil {
		return nil, errors.Join(unwritten("write", p.name, err), p.remove())
	}
	if err := p.renew(x.lease); err != nil {
		return nil, errors.Join(err, p.remove())
	}
	return p, nil
}

// renew makes sure that the file says that the session lives for the lease.
// It says half a lease more, so that it need not be written with every call.
func (p *pinFile) renew(lease time.Duration) error {
	now := p.s.o.Clock().Round(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if left := p.till.Sub(now); left >= lease && left <= 2*lease {
		return nil
	}
	till := now.Add(lease + lease/2)
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(till.UnixNano()))
	if _, err := p.file.WriteAt(b[:], pinUntilOff); err != nil {
		return unwritten("write", p.name, err)
	}
	p.till = till
	return nil
}

// add appends prefixes.
func (p *pinFile) add(prefixes ...uint64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.buf = p.buf[:0]
	for _, prefix := range prefixes {
		p.buf = binary.LittleEndian.AppendUint64(p.buf, prefix)
	}
	if _, err := p.file.WriteAt(p.buf, p.off); err != nil {
		return unwritten("write", p.name, err)
	}
	p.off += int64(len(p.buf))
	return nil
}

// remove ends the session for other processes.
func (p *pinFile) remove() error {
	err := p.s.fs.Remove(p.name)
	if missing(err) {
		err = nil
	}
	return errors.Join(unwritten("remove", p.name, err), failed("close", p.name, p.file.Close()))
}

// otherStream is what another process left in streams/.
type otherStream struct {
	name string   // of its own file
	pins []string // of its sessions
	dead bool
}

// others lists the streams of other processes.
func (st *streams) others() ([]otherStream, error) {
	list, err := st.s.fs.List(streamsDir)
	if missing(err) {
		return nil, nil // who writes makes it
	}
	if err != nil {
		return nil, failed("list", streamsDir, err)
	}
	by := map[string]*otherStream{}
	for _, e := range list {
		id, number, isPins := strings.Cut(e.Name, ".")
		if !hexName(id) || !e.Regular || isPins && strings.Trim(number, "0123456789") != "" || st.mine(id) {
			continue // foreign, or this process's
		}
		o := by[id]
		if o == nil {
			o = &otherStream{name: streamsDir + "/" + id}
			by[id] = o
		}
		if isPins {
			o.pins = append(o.pins, streamsDir+"/"+e.Name)
		}
	}
	var out []otherStream
	for _, o := range by {
		if o.dead, err = st.s.abandoned(o.name); err != nil {
			return nil, err
		}
		out = append(out, *o)
	}
	return out, nil
}

func (st *streams) mine(id string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.file != nil && fmt.Sprintf("%016x", st.id) == id
}

// abandoned reports whether nobody holds the lock of a file, or it is gone.
func (s *Store) abandoned(name string) (bool, error) {
	f, err := s.fs.Open(name, vfs.ReadOnly)
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return false, failed("open", name, err)
	}
	defer func() { _ = f.Close() }() // closing unlocks
	free, err := f.TryLock()
	return free, failed("lock", name, err)
}

// readPins adds what a session of another process holds to the set, and
// reports whether its lease has not run out.
func (s *Store) readPins(name string, now time.Time, into *holdSet) (live bool, err error) {
	f, err := s.fs.Open(name, vfs.ReadOnly)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, failed("open", name, err)
	}
	defer func() { _ = f.Close() }() // it was only read
	var head [pinHeaderBytes]byte
	if n, err := f.ReadAt(head[:], 0); n < len(head) {
		if err != nil && !endOfFile(err) {
			return false, failed("read", name, err)
		}
		return true, nil // it is being made, and holds nothing yet
	}
	damaged := string(head[:8]) != pinMagic // then all of it is held, for as long as its process lives
	if v := binary.LittleEndian.Uint32(head[8:]); v > 1 && !damaged {
		return false, fmt.Errorf("pack: %s is of version %d, this build knows 1: update kvferry, or wait for the process that wrote it: %w", name, v, kvferry.ErrUnsupported)
	}
	till := time.Unix(0, int64(binary.LittleEndian.Uint64(head[pinUntilOff:])))
	if till.UnixNano() != 0 && now.After(till) && !damaged {
		return false, nil
	}
	buf := make([]byte, 64<<10)
	for off := int64(pinHeaderBytes); ; {
		n, err := f.ReadAt(buf, off)
		for b := buf[:n&^7]; len(b) > 0; b = b[8:] {
			if prefix := binary.LittleEndian.Uint64(b); prefix != 0 {
				into.add(prefix)
			}
		}
		off += int64(n &^ 7)
		if err != nil || n < len(buf) {
			if err != nil && !endOfFile(err) {
				return true, failed("read", name, err)
			}
			return true, nil
		}
	}
}
