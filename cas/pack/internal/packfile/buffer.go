package packfile

import (
	"context"
	"slices"

	"github.com/kvferry/kvferry/internal/vfs"
)

// slackBytes is what a buffer has beyond its nominal length: room for the
// headers of the records that would fill it exactly without them, and for the
// header of a pack.
const slackBytes = 128 << 10

// hugeBytes is what the length of long buffers is a multiple of, so that the
// system backs them with huge pages: then a write is few segments for the disk,
// which is twice as fast.
const hugeBytes = 2 << 20

// buffer is memory of a lane on its way from Append to the file.
type buffer struct {
	mem    []byte
	p      *pack
	base   int64 // offset of mem in the pack, a multiple of blockBytes
	used   int   // reserved
	fills  int   // places that are being filled
	users  int   // calls of ReadBuffered that copy from it
	seq    uint64
	closed bool // takes no more records

	written bool // or given up; then it is free as soon as nobody uses it
}

// end is the offset in the pack at which the next record of the buffer lies.
func (b *buffer) end() int64 { return b.base + int64(b.used) }

// holds tells whether the buffer has room for that many bytes more.
func (b *buffer) holds(bytes int64) bool { return bytes <= int64(len(b.mem)-b.used) }

func roundUp(off int64) int64 { return (off + blockBytes - 1) &^ (blockBytes - 1) }

// turnBuffer sends the open buffer off and opens one that holds a record of the
// given size. The turn is held and there is an active pack.
func (l *Lane) turnBuffer(ctx context.Context, bytes int64) error {
	l.mu.Lock()
	l.closeBufferLocked()
	l.mu.Unlock()
	var b *buffer
	select {
	case b = <-l.free:
	default:
		select {
		case b = <-l.free:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.fit(max(roundUp(bytes), int64(l.o.BufferBytes))+slackBytes, l.o.BufferBytes)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	p := l.active
	*b = buffer{mem: b.mem, p: p, base: p.end, seq: l.seq}
	if p.end == 0 {
		p.header.put(b.mem)
		b.used = firstOff
	}
	l.open = b
	l.live = append(l.live, b)
	return nil
}

// fit gives the buffer memory of at least so many bytes; much more, left over
// from a long record, is given back.
func (b *buffer) fit(bytes int64, usual int) {
	if int64(len(b.mem)) >= bytes && len(b.mem) <= 4*(usual+slackBytes) {
		return
	}
	b.free()
	bytes = roundUp(bytes)
	if bytes >= hugeBytes {
		bytes = (bytes + hugeBytes - 1) &^ (hugeBytes - 1)
	}
	b.mem = vfs.Buffer(int(bytes))
}

func (b *buffer) free() {
	if b.mem != nil {
		vfs.FreeBuffer(b.mem)
		b.mem = nil
	}
}

// closeBufferLocked ends the open buffer: the next record begins at a block of
// its own. It is written as soon as it is filled.
func (l *Lane) closeBufferLocked() {
	if b := l.endBufferLocked(); b != nil {
		l.jobs.Go(func() { l.write(b) })
	}
}

// endBufferLocked is closeBufferLocked for who writes the buffer on its own, if
// it is returned.
func (l *Lane) endBufferLocked() *buffer {
	b := l.open
	if b == nil {
		return nil
	}
	l.open = nil
	b.closed = true
	b.p.end = roundUp(b.end())
	if b.fills > 0 {
		return nil // whoever fills it last writes it
	}
	return b
}

// filled ends the filling of one place. It is an error if the record is lost
// already.
func (l *Lane) filled(b *buffer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := b.p.err
	b.fills--
	if b.closed && b.fills == 0 {
		l.jobs.Go(func() { l.write(b) })
	}
	return err
}

// write brings a closed buffer to the file, unless its pack is lost.
func (l *Lane) write(b *buffer) {
	l.mu.Lock()
	p, n := b.p, roundUp(int64(b.used))
	if l.dropped && p.err == nil {
		p.partial, l.gaveUp = true, true
	}
	skip := n == 0 || p.partial || p.err != nil
	l.mu.Unlock()
	if !skip {
		clear(b.mem[b.used:n])
		if _, err := p.file.WriteAt(b.mem[:n], b.base); err != nil {
			l.poison(p, "write", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.written = true
	l.signalLocked()
	l.recycleLocked(b)
}

// recycleLocked frees the buffer if nobody needs it any more.
func (l *Lane) recycleLocked(b *buffer) {
	if !b.written || b.users > 0 {
		return
	}
	if i := slices.Index(l.live, b); i >= 0 {
		l.live = slices.Delete(l.live, i, i+1)
		l.free <- b // has room for all there are
		l.signalLocked()
	}
}

// writtenLocked tells whether everything is written that was appended to
// buffers up to seq; and, if p is not nil, to this pack.
func (l *Lane) writtenLocked(seq uint64, p *pack) bool {
	for _, b := range l.live {
		if !b.written && b.seq <= seq && (p == nil || b.p == p) {
			return false
		}
	}
	return true
}

// ReadBuffered copies the record at s to dst, which is at least as long, and
// returns true, if the record still lies in a buffer. If not, it is in its pack,
// or lost.
func (l *Lane) ReadBuffered(s Spot, dst []byte) bool {
	b := l.borrow(s)
	if b == nil {
		return false
	}
	at := s.Off - b.base
	copy(dst[:s.Bytes], b.mem[at:])
	l.mu.Lock()
	defer l.mu.Unlock()
	b.users--
	l.recycleLocked(b)
	return true
}

func (l *Lane) borrow(s Spot) *buffer {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.live {
		if b.p.id == s.Pack && b.p.err == nil && s.Off >= b.base && s.Bytes > 0 && s.Bytes <= b.end()-s.Off {
			b.users++
			return b
		}
	}
	return nil
}
