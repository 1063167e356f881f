package journal

import (
	"encoding/binary"
	"runtime"

	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	wordsAt    = 4096
	wordsBytes = 32
	wordBits   = 48
	// A word is half written for nanoseconds: seen so often, it is damaged.
	wordTries = 64
)

// words are the hints of block 1.
type words struct {
	committed, durable int64
	successor          uint64
	suspect            bool
}

// seal adds the check to a number.
func seal(v uint64) uint64 {
	var b [6]byte
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	c := crc(0, b[:])
	return v | uint64(c>>16^c&0xffff)<<wordBits
}

// unseal returns the number of a word, if its check holds. A word that was
// never written, zero, does not.
func unseal(w uint64) (uint64, bool) {
	v := w & (1<<wordBits - 1)
	return v, seal(v) == w
}

func (w words) encode() []byte {
	b := make([]byte, 0, wordsBytes)
	le := binary.LittleEndian
	b = le.AppendUint64(b, w.first())
	b = le.AppendUint64(b, seal(uint64(w.durable)))
	b = le.AppendUint64(b, seal(w.successor))
	var suspect uint64
	if w.suspect {
		suspect = 1
	}
	return le.AppendUint64(b, seal(suspect))
}

// first is the word that everybody watches: it tells of a successor, too.
func (w words) first() uint64 {
	v := uint64(w.committed)
	if w.successor != 0 {
		v |= 1
	}
	return seal(v)
}

// decodeWords returns what is readable of b; whole tells that all is, and that
// the words are of one time.
func decodeWords(b []byte) (w words, whole bool) {
	le := binary.LittleEndian
	committed, a := unseal(le.Uint64(b))
	durable, d := unseal(le.Uint64(b[8:]))
	successor, s := unseal(le.Uint64(b[16:]))
	suspect, f := unseal(le.Uint64(b[24:]))
	if a {
		w.committed = int64(committed &^ 1)
	}
	if d {
		w.durable = int64(durable)
	}
	if s {
		w.successor = successor
	}
	w.suspect = suspect != 0 || !f
	return w, a && d && s && f && (committed&1 != 0) == (successor != 0)
}

// readWords reads the hints, again while another process is writing them.
func readWords(f vfs.File) (w words, whole bool, err error) {
	var b [wordsBytes]byte
	for range wordTries {
		if err = readFull(f, b[:], wordsAt); err != nil {
			return words{}, false, err
		}
		if w, whole = decodeWords(b[:]); whole {
			return w, true, nil
		}
		runtime.Gosched()
	}
	return w, false, nil
}
