package memory

import "unsafe"

// arena cuts strings from few buffers, so that a long result allocates seldom.
type arena struct {
	buf  []byte
	size int
}

const maxArena = 4 << 10

// text returns the string that words mean, see appendWords.
func (a *arena) text(meta uint64, c cell, at uint32) string {
	need := metaWords(meta) * 8 // while it is written
	switch meta >> kindShift {
	case hexText:
		need *= 2
	case decText:
		need = maxDec
	}
	if cap(a.buf)-len(a.buf) < need {
		a.size = min(max(2*a.size, need), maxArena)
		a.buf = make([]byte, 0, max(a.size, need))
	}
	from := len(a.buf)
	a.buf = appendWords(a.buf, meta, c, at)
	return unsafe.String(unsafe.SliceData(a.buf[from:]), len(a.buf)-from)
}
