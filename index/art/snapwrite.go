package art

import (
	"errors"

	"github.com/klauspost/compress/s2"

	"github.com/kvferry/kvferry/internal/vfs"
)

// snapWriteBytes are written at a time.
const snapWriteBytes = 1 << 20

// writeSnapshot writes and publishes a snapshot, beside writers.
func (x *Index) writeSnapshot(j *job) {
	bytes, err := x.writeJob(j)
	x.mu.Lock()
	x.state.thaw()
	x.mu.Unlock()
	if err != nil {
		_ = x.fs.Remove(snapshotName(j.head.generation) + tempName) // opening does it otherwise
		x.compact.end(err, 0, 0, x.o.CompactBytes)
		return
	}
	x.compact.mu.Lock()
	before := x.compact.base
	x.compact.mu.Unlock()
	x.compact.end(nil, bytes, j.head.generation, 0)
	x.discard(before)
}

// discard removes what is older than the snapshot before the newest.
func (x *Index) discard(base uint64) {
	have, err := list(x.fs)
	if err != nil {
		return // the next snapshot does it
	}
	for _, g := range have.logs {
		if g < base {
			_ = x.fs.Remove(logName(g))
		}
	}
	for _, g := range have.snapshots {
		if g < base {
			_ = x.fs.Remove(snapshotName(g))
		}
	}
}

func (x *Index) writeJob(j *job) (bytes int64, err error) {
	name := snapshotName(j.head.generation)
	f, err := x.fs.Open(name+tempName, vfs.Create)
	if err != nil {
		return 0, err
	}
	w := &snapWriter{x: x, f: f, generation: j.head.generation, err: f.Truncate(0)}
	w.buf = append(w.buf, j.head.encode()...)
	w.frames(j)
	w.flush()
	if w.err == nil {
		w.err = f.Sync()
	}
	if err := errors.Join(w.err, f.Close()); err != nil {
		return 0, err
	}
	if err := x.fs.Rename(name+tempName, name); err != nil {
		return 0, err
	}
	return w.off, x.fs.SyncDir(".")
}

// snapWriter writes the frames of a snapshot; after an error it does nothing.
type snapWriter struct {
	x          *Index
	f          vfs.File
	generation uint64
	place      uint64 // of the next frame
	off        int64
	buf        []byte
	err        error
}

func (w *snapWriter) frames(j *job) {
	for _, b := range j.names {
		w.buf = append(w.buf, b...)
		w.place++
		w.flushLong()
	}
	var c chunk
	packed := make([]byte, s2.MaxEncodedLen(chunkBytes))
	for i := range int(j.head.chunks) {
		var data []byte
		if !j.idle[i] {
			w.x.mu.RLock()
			w.x.state.chunkAt(i, &c)
			w.x.mu.RUnlock()
			data = s2.Encode(packed, c[:])
		}
		from := len(w.buf)
		w.buf = append(append(w.buf, make([]byte, snapFrameHead)...), data...)
		endSnapFrame(w.buf[from:], w.generation, w.place)
		w.place++
		if w.flushLong(); w.err != nil {
			return
		}
	}
}

func (w *snapWriter) flushLong() {
	if len(w.buf) >= snapWriteBytes {
		w.flush()
	}
}

func (w *snapWriter) flush() {
	if w.err == nil {
		_, w.err = w.f.WriteAt(w.buf, w.off)
		w.x.metrics.written.Add(uint64(len(w.buf)))
	}
	w.off += int64(len(w.buf))
	w.buf = w.buf[:0]
}
