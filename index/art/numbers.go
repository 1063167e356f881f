package art

import (
	"encoding/binary"
	"fmt"
)

// The number of a change is given once, so that whoever watched until then is
// told if it missed something. When the power fails changes are lost with their
// numbers, and nothing tells how many. So an index that was not closed goes on
// with the next number that lifeChanges divides, and whoever uses such numbers
// makes it durable before the first change has one: the log says so in a frame
// "numbers". One that was closed ends with a frame "closed", and numbers go on;
// before its first change "numbers" says, durably, that it is not closed any more.
const (
	lifeChanges  = 1 << 32
	maxSeq       = 1 << 61
	numbersBytes = frameHead + 1 + 8
	closedBytes  = frameHead + 1
)

// nextLife returns behind which number changes go on if some may be lost.
func nextLife(seq uint64) uint64 { return (seq/lifeChanges + 1) * lifeChanges }

// crosses tells whether the next frames could have numbers of the next life,
// which is to be durable then.
func crosses(seq uint64) bool { return (seq+maxGroup)/lifeChanges != seq/lifeChanges }

// appendNumbers appends a frame that says behind which number changes go on.
func appendNumbers(dst []byte, salt uint32, seq uint64) []byte {
	from := len(dst)
	dst = append(beginFrame(dst), entryNumbers)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	endFrame(dst, from, salt, seq)
	return dst
}

// appendClosed appends a frame that says that the index was closed.
func appendClosed(dst []byte, salt uint32, seq uint64) []byte {
	from := len(dst)
	dst = append(beginFrame(dst), entryClosed)
	endFrame(dst, from, salt, seq)
	return dst
}

// life reads a frame that is about numbers, and tells whether it is one.
func (r *logReader) life(b []byte) (bool, error) {
	switch b[frameHead] {
	case entryClosed:
		if len(b) != closedBytes {
			return true, damage(r.name, r.off+int64(r.at), "more than that the index was closed")
		}
		r.closed = true
		return true, nil
	case entryNumbers:
		if len(b) != numbersBytes {
			return true, damage(r.name, r.off+int64(r.at), "a number of another length")
		}
		seq := binary.LittleEndian.Uint64(b[frameHead+1:])
		if seq < r.seq || seq > maxSeq {
			return true, damage(r.name, r.off+int64(r.at), fmt.Sprintf("changes go on behind %d, where %d is the newest", seq, r.seq))
		}
		r.seq, r.closed = seq, false
		return true, nil
	}
	r.closed = false
	return false, nil
}

// begun makes durable where the numbers of this life begin. If there is no room
// for that the next frames do it.
func (x *Index) begun() error {
	x.unsaid = true
	return x.tell()
}

// ended says in the log that the index was closed, if there is room.
func (x *Index) ended() error {
	if x.unsaid {
		x.unsaid = false // nothing was changed: the log is as it was found
		return nil
	}
	err := x.write("close", appendClosed(x.buf[:0], x.log.salt, x.feed.Seq()))
	if err != nil && x.stopped != nil {
		return err
	}
	return nil
}
