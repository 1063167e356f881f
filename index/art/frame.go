package art

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A log, all numbers little-endian:
//
//	0   "KVFARTLG"
//	8   version, 4 bytes; 12 rules, 4 bytes
//	16  generation, 8 bytes
//	24  number of the newest change before, 8 bytes
//	32  where the log of the generation before ends, 8 bytes; 0: there is none
//	40  8 random bytes, which all checksums of frames begin with: whoever chooses
//	    what is in frames cannot make one within another
//	48  zeros
//	60  CRC32C of what is before, 4 bytes
//	64  frames
const (
	logMagic      = "KVFARTLG"
	formatVersion = 1
	logHeadBytes  = 64
)

// A frame is a change:
//
//	0   CRC32C of the log's generation (8 bytes), its random bytes unless they are
//	    zeros, and of the rest of the frame
//	4   length of the entries
//	8   number of the change, its lower 4 bytes; of what is none (marks, numbers,
//	    closed), the newest before
//	12  entries
//
// A mark has one entry, and says up to where the log was durable when it was
// written: what does not hold before is damage, and no trace of a crash.
const (
	frameHead  = 12
	markBytes  = frameHead + 1 + len(markMagic) + 8
	markMagic  = "\xc3durable"
	maxEntries = 1 << 30 // bytes in a frame
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// saltOf begins the checksums of a generation's frames.
func saltOf(generation uint64) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], generation)
	return crc32.Checksum(b[:], castagnoli)
}

// logHead is what a log begins with.
type logHead struct {
	random     uint64
	rules      uint32
	generation uint64
	base       uint64
	endBefore  int64
}

// salt begins the checksums of the log's frames.
func (h *logHead) salt() uint32 {
	s := saltOf(h.generation)
	if h.random == 0 {
		return s // a log from before there was one
	}
	return crc32.Update(s, castagnoli, binary.LittleEndian.AppendUint64(nil, h.random))
}

func (h *logHead) encode() []byte {
	b := make([]byte, logHeadBytes)
	copy(b, logMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint32(b[12:], h.rules)
	binary.LittleEndian.PutUint64(b[16:], h.generation)
	binary.LittleEndian.PutUint64(b[24:], h.base)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.endBefore))
	binary.LittleEndian.PutUint64(b[40:], h.random)
	binary.LittleEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// parseLogHead reads a head; version is what it says of itself.
func parseLogHead(b []byte) (h logHead, version uint32, ok bool) {
	if len(b) < logHeadBytes || string(b[:8]) != logMagic || crc32.Checksum(b[:60], castagnoli) != binary.LittleEndian.Uint32(b[60:]) {
		return h, 0, false
	}
	end := binary.LittleEndian.Uint64(b[32:])
	if end > math.MaxInt64 || !allZero(b[48:60]) {
		return h, 0, false
	}
	h = logHead{
		rules: binary.LittleEndian.Uint32(b[12:]), generation: binary.LittleEndian.Uint64(b[16:]),
		base: binary.LittleEndian.Uint64(b[24:]), endBefore: int64(end), random: binary.LittleEndian.Uint64(b[40:]),
	}
	return h, binary.LittleEndian.Uint32(b[8:]), true
}

var zeros [4096]byte

func allZero(b []byte) bool {
	for len(b) > 0 {
		n := min(len(b), len(zeros))
		if !bytes.Equal(b[:n], zeros[:n]) {
			return false
		}
		b = b[n:]
	}
	return true
}

// beginFrame appends room for the head of a frame.
func beginFrame(dst []byte) []byte { return append(dst, make([]byte, frameHead)...) }

// endFrame fills in the head of the frame that begins at from and ends with b.
func endFrame(b []byte, from int, salt uint32, seq uint64) {
	f := b[from:]
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-frameHead))
	binary.LittleEndian.PutUint32(f[8:], uint32(seq))
	binary.LittleEndian.PutUint32(f, crc32.Update(salt, castagnoli, f[4:]))
}

// appendMark appends a frame that says that the log is durable up to an offset.
func appendMark(dst []byte, salt uint32, seq uint64, durable int64) []byte {
	from := len(dst)
	dst = append(beginFrame(dst), entryMark)
	dst = append(dst, markMagic...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(durable))
	endFrame(dst, from, salt, seq)
	return dst
}

// parseMark reads a mark's frame, whatever its place.
func parseMark(b []byte, salt uint32) (durable int64, ok bool) {
	if len(b) < markBytes || b[frameHead] != entryMark || string(b[frameHead+1:][:len(markMagic)]) != markMagic {
		return 0, false
	}
	b = b[:markBytes]
	if int(binary.LittleEndian.Uint32(b[4:])) != markBytes-frameHead || crc32.Update(salt, castagnoli, b[4:]) != binary.LittleEndian.Uint32(b) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(b[markBytes-8:]) & math.MaxInt64), true
}

// laterMarks returns the greatest offset up to which marks anywhere in b, which is
// at an offset itself, say that the log was durable. A mark of what is behind it is
// none.
func laterMarks(b []byte, off int64, salt uint32) (durable int64) {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(markMagic))
		if i < 0 {
			return durable
		}
		at += i
		if from := at - frameHead - 1; from >= 0 {
			if d, ok := parseMark(b[from:], salt); ok && d <= off+int64(from) {
				durable = max(durable, d)
			}
		}
		at++
	}
}
