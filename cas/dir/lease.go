//go:build unix

package dir

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

const (
	leaseMagic  = "kvfses1\n"
	leaseHeader = 128 // magic, owner padded with zeros
	leaseRecord = 40
	recordTime  = 'T'
)

// leaseFile is the file of a live session, which other processes read to learn
// what the session protects. See the package comment for its bytes.
type leaseFile struct {
	fs  *files
	fd  int
	rel string
	buf [leaseRecord]byte
	// until is the time until which the session is recorded to live.
	until time.Time
}

// createLease makes the file of the session id and locks it. The caller is
// inside the gate, so no collector sees the file without its lock.
func createLease(ctx context.Context, f *files, id, owner string) (*leaseFile, error) {
	rel := sessionsDir + "/" + id
	fd, err := f.open(rel, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND)
	if err != nil {
		return nil, unwritten("create", rel, err)
	}
	l := &leaseFile{fs: f, fd: fd, rel: rel}
	var head [leaseHeader]byte
	copy(head[:], leaseMagic)
	copy(head[len(leaseMagic):], owner)
	if err = f.lock(ctx, fd, rel, unix.LOCK_EX); err == nil {
		err = f.write(fd, rel, head[:])
	}
	if err != nil {
		return nil, errors.Join(unwritten("begin", rel, err), l.remove())
	}
	return l, nil
}

// record appends one record in one write.
func (l *leaseFile) record(kind byte, data []byte) error {
	l.buf = [leaseRecord]byte{}
	l.buf[0] = kind
	copy(l.buf[1:], data)
	binary.LittleEndian.PutUint32(l.buf[36:], crc32.Checksum(l.buf[:36], castagnoli))
	return unwritten("write", l.rel, l.fs.write(l.fd, l.rel, l.buf[:]))
}

// protect records that the session needs d.
func (l *leaseFile) protect(d digest.Digest) error {
	sum := d.Sum()
	return l.record(byte(d.Algorithm()), sum[:])
}

// renew records that the session lives until t.
func (l *leaseFile) renew(t time.Time) error {
	if err := l.record(recordTime, binary.LittleEndian.AppendUint64(nil, uint64(t.UnixNano()))); err != nil {
		return err
	}
	l.until = t
	return nil
}

// alive is ErrExpired if a collector took the session for dead, which it does
// by removing the file.
func (l *leaseFile) alive() error {
	if err := l.fs.hit("stat", l.rel); err != nil {
		return failed("stat", l.rel, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(l.fd, &st); err != nil {
		return failed("stat", l.rel, err)
	}
	if st.Nlink == 0 {
		return fmt.Errorf("dir: %s was taken for dead: %w", l.rel, kvferry.ErrExpired)
	}
	return nil
}

// remove ends the session for other processes. Closing gives up the lock, so
// a file that cannot be removed is that of a dead session.
func (l *leaseFile) remove() error {
	err := l.fs.unlink(l.rel)
	if missing(err) {
		err = nil // a collector was here
	}
	return errors.Join(unwritten("remove", l.rel, err), failed("close", l.rel, unix.Close(l.fd)))
}

// leaseReader reads what a live session of any process protects.
type leaseReader struct {
	fd    int
	rel   string
	off   int64
	until time.Time
}

// more reads the records that were appended since the last call. The caller
// keeps sessions from appending meanwhile. An incomplete record at the end is
// one whose write failed, so nobody relies on it.
func (r *leaseReader) more(f *files, visit func(digest.Digest)) error {
	bad := func(why string) error {
		return fmt.Errorf("dir: %s: %s at %d: %w", r.rel, why, r.off, kvferry.ErrCorrupt)
	}
	if r.off == 0 {
		var head [leaseHeader]byte
		n, err := f.read(r.fd, r.rel, 0, head[:])
		if err != nil {
			return failed("read", r.rel, err)
		}
		if n < leaseHeader {
			return nil // it protects nothing yet
		}
		if !bytes.HasPrefix(head[:], []byte(leaseMagic)) {
			return bad("no session")
		}
		r.off = leaseHeader
	}
	buf := make([]byte, 1024*leaseRecord)
	for {
		n, err := f.read(r.fd, r.rel, r.off, buf)
		if err != nil {
			return failed("read", r.rel, err)
		}
		for b := buf[:n]; len(b) >= leaseRecord; b = b[leaseRecord:] {
			if binary.LittleEndian.Uint32(b[36:]) != crc32.Checksum(b[:36], castagnoli) {
				return bad("record checksum")
			}
			switch a := digest.Algorithm(b[0]); {
			case a.Valid():
				visit(digest.New(a, [digest.Size]byte(b[1:33])))
			case b[0] == recordTime:
				r.until = time.Unix(0, int64(binary.LittleEndian.Uint64(b[1:])))
			default:
				return bad("unknown record")
			}
			r.off += leaseRecord
		}
		if n < len(buf) {
			return nil
		}
	}
}

// closeReader ends the reading; nothing was written, so its error tells
// nothing.
func closeReader(r *leaseReader) error { return unix.Close(r.fd) }
