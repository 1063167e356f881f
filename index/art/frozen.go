package art

// frozen is an arena as it was at a moment, while writers go on: a chunk that
// one of them is about to change is copied before.
type frozen struct {
	saved  []bool         // the chunk was taken, or is in copies
	copies map[int]*chunk // of chunks that were changed since
}

// freeze begins: the caller has the arena alone.
func (a *arena) freeze() {
	a.frozen = &frozen{saved: make([]bool, len(a.chunks)), copies: map[int]*chunk{}}
}

// thaw ends what freeze began: the caller has the arena alone.
func (a *arena) thaw() { a.frozen = nil }

// save copies the chunks that an object of n bytes lies in, if they are frozen.
func (a *arena) save(r ref, n int) {
	first := int(r >> chunkShift)
	last := int((uint64(r)*unitBytes + uint64(max(n, 1)) - 1) / chunkBytes)
	for i := first; i <= last && i < len(a.frozen.saved); i++ {
		if !a.frozen.saved[i] {
			a.frozen.saved[i] = true
			c := *a.chunks[i]
			a.frozen.copies[i] = &c
		}
	}
}

// chunkAt copies chunk i, as it was when freeze was called, into dst. Writers are
// kept out by the caller.
func (a *arena) chunkAt(i int, dst *chunk) {
	if c := a.frozen.copies[i]; c != nil {
		*dst = *c
		a.frozen.copies[i] = nil
		return
	}
	*dst = *a.chunks[i]
	a.frozen.saved[i] = true
}
