package art

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/internal/vfs"
)

// logReadBytes are read at a time, if no frame is longer.
const logReadBytes = 1 << 20

// logReader makes the changes of a log.
type logReader struct {
	x    *Index
	ctx  context.Context
	name string
	last bool   // no other log follows
	seq  uint64 // of the newest change

	changes uint64 // that were made
	closed  bool   // the last frame says that the index was closed

	f    vfs.File
	size int64
	salt uint32
	told int64 // marks say that it is durable up to here

	off int64  // of buf in the file
	buf []byte // what was read
	at  int    // what was used of it
}

// read makes the changes of a log, of which the one before ended at endBefore; -1
// if that is not known. It returns where this one ends.
func (r *logReader) read(generation uint64, endBefore int64) (end int64, err error) {
	mode := vfs.ReadOnly
	if r.last {
		mode = vfs.ReadWrite
	}
	if r.f, err = r.x.fs.Open(r.name, mode); err != nil {
		return 0, err
	}
	defer func() {
		if !r.last || err != nil {
			err = errors.Join(err, r.f.Close())
		}
	}()
	info, err := r.f.Stat()
	if err != nil {
		return 0, err
	}
	r.size = info.Size
	h, err := r.head(generation, endBefore)
	if err != nil {
		return 0, err
	}
	if err := r.frames(); err != nil {
		return 0, err
	}
	end = r.off + int64(r.at)
	if end < r.size {
		if err := r.cut(end); err != nil {
			return 0, err
		}
	}
	if r.last {
		r.x.log = &log{logHead: h, f: r.f, salt: r.salt, end: end, told: max(r.told, logHeadBytes), synced: max(r.told, logHeadBytes)}
	}
	return end, nil
}

func (r *logReader) head(generation uint64, endBefore int64) (logHead, error) {
	b, err := r.need(logHeadBytes)
	if err != nil {
		return logHead{}, err
	}
	h, version, ok := parseLogHead(b)
	switch {
	case !ok || h.generation != generation:
		return h, damage(r.name, 0, "no head of a log")
	case version != formatVersion:
		return h, fmt.Errorf("art: %s: version %d of the format: %w", r.name, version, kvferry.ErrUnsupported)
	case h.rules != uint32(r.x.o.Rules):
		return h, otherRules(r.name, index.Rules(h.rules))
	case h.base != r.seq:
		return h, damage(r.name, 24, fmt.Sprintf("change %d where %d is the newest", h.base, r.seq))
	case endBefore >= 0 && h.endBefore != endBefore:
		return h, damage(logName(generation-1), min(endBefore, h.endBefore), fmt.Sprintf("not the end, which is %d", h.endBefore))
	}
	r.salt = h.salt()
	r.at = logHeadBytes
	return h, nil
}

// need returns at least n bytes from the place that is read, or those that
// there are.
func (r *logReader) need(n int) ([]byte, error) {
	if rest := r.buf[r.at:]; len(rest) >= n || r.off+int64(len(r.buf)) >= r.size {
		return rest, nil
	}
	r.off += int64(r.at)
	want := int(min(int64(max(n, logReadBytes)), r.size-r.off))
	kept := copy(r.buf, r.buf[r.at:])
	if cap(r.buf) < want {
		r.buf = append(make([]byte, 0, want), r.buf[:kept]...)
	}
	r.buf, r.at = r.buf[:want], 0
	got, err := readFull(r.f, r.buf[kept:], r.off+int64(kept))
	r.buf = r.buf[:kept+got]
	if err == nil && kept+got < want {
		r.size = r.off + int64(kept+got)
	}
	return r.buf, err
}

// frames makes the changes of all frames that hold, up to the first that does
// not.
func (r *logReader) frames() error {
	for n := 0; ; n++ {
		if n%1024 == 0 && r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		b, err := r.need(frameHead)
		if err != nil || len(b) < frameHead {
			return err
		}
		size := int64(frameHead) + int64(binary.LittleEndian.Uint32(b[4:]))
		if size == frameHead || size > frameHead+maxEntries+recordBytes || size > r.size-r.off-int64(r.at) {
			return nil
		}
		if b, err = r.need(int(size)); err != nil || int64(len(b)) < size {
			return err
		}
		b = b[:size]
		if crc32.Update(r.salt, castagnoli, b[4:]) != binary.LittleEndian.Uint32(b) {
			return nil
		}
		if err := r.frame(b); err != nil {
			return err
		}
		r.at += int(size)
	}
}

// frame makes the changes of one that holds.
func (r *logReader) frame(b []byte) error {
	at := r.off + int64(r.at)
	if durable, ok := parseMark(b, r.salt); ok {
		if durable > at {
			return damage(r.name, at, "a mark of what is behind it")
		}
		r.told = max(r.told, durable)
		return nil
	}
	if ok, err := r.life(b); ok {
		return err
	}
	if binary.LittleEndian.Uint32(b[8:]) != uint32(r.seq+1) {
		return damage(r.name, at, fmt.Sprintf("not change %d", r.seq+1))
	}
	if err := r.x.state.replay(b[frameHead:]); err != nil {
		return damage(r.name, at, err.Error())
	}
	r.seq++
	r.changes++
	return nil
}

// cut takes away what is behind the last frame that holds, if that can be what a
// crash leaves. Zeros are room that a log had in advance.
func (r *logReader) cut(end int64) error {
	durable, zeros, err := r.rest(end)
	switch {
	case err != nil:
		return err
	case !r.last && zeros:
		return nil // the next log tells whether this is its end
	case !r.last:
		return damage(r.name, end, "a change that does not hold")
	case durable > end:
		return damage(r.name, end, fmt.Sprintf("a change that does not hold, in what is durable up to %d,", durable))
	}
	if err := r.f.Truncate(end); err != nil {
		return err
	}
	if err := r.f.Sync(); err != nil {
		return err
	}
	if !zeros {
		r.x.opened.TornAt, r.x.opened.TornBytes = end, r.size-end
	}
	return nil
}

// rest looks for marks behind an offset, wherever they may be, and tells whether
// there is anything at all.
func (r *logReader) rest(from int64) (durable int64, zeros bool, err error) {
	b := make([]byte, logReadBytes)
	zeros = true
	for at := from; at < r.size; at += int64(logReadBytes - markBytes) {
		n, err := readFull(r.f, b[:min(logReadBytes, r.size-at)], at)
		if err != nil {
			return 0, false, err
		}
		durable = max(durable, laterMarks(b[:n], at, r.salt))
		zeros = zeros && allZero(b[:n])
	}
	return durable, zeros, nil
}

// trust makes the end of the log durable that no mark says is: the process
// before may have failed to sync it, and then the system shows what is not on the
// disk, and would not write it any more.
func (x *Index) trust() error {
	l := x.log
	marked := l.told > logHeadBytes && l.told+int64(markBytes) >= l.end // the last frame is a mark
	if marked || l.told == l.end {
		l.synced = l.end
		return nil
	}
	b := make([]byte, min(snapReadBytes, l.end-l.told))
	for at := l.told; at < l.end; at += int64(len(b)) {
		p := b[:min(int64(len(b)), l.end-at)]
		if n, err := readFull(l.f, p, at); err != nil || n < len(p) {
			return errors.Join(err, damage(logName(l.generation), at+int64(n), "the file ends"))
		}
		if _, err := l.f.WriteAt(p, at); err != nil {
			return err
		}
		x.metrics.written.Add(uint64(len(p)))
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	l.synced = l.end
	return nil
}
