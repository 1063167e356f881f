package art

import "unsafe"

// ahead is how many positions of a prompt are looked up at once: as many as a
// processor can wait for at a time, and more.
const ahead = 32

// look is what a hint says of a position.
type look struct {
	tag  uint32
	b    ref // 0: nothing
	more ref
	size uint32 // of the room for several holders
}

// ahead reads the hints of n positions, then the blocks that they lead to, then
// the holders of those: of each all before any is needed, so that the processor
// waits for many lines of memory at a time and not for one after the other.
func (m *matching) ahead(from, n int) {
	ls := m.looks[:n]
	for i := range ls {
		ls[i].tag = m.hints.tag(m.sid, m.parent(from+i))
	}
	for i := range ls {
		ls[i].b = m.hints.find(ls[i].tag)
	}
	touch := uint32(0)
	for i := range ls {
		if l := &ls[i]; l.b != 0 {
			b := m.state.block(l.b)
			l.more, l.size = b.more, b.one.refs
			touch += m.line(l.b&^leafBit, 1) // its key
		} else {
			l.more = 0
		}
	}
	for i := range ls {
		if l := &ls[i]; l.more != 0 {
			touch += *(*uint32)(unsafe.Add(m.arena.at(l.more), int(l.size)*holderBytes))
		}
	}
	m.touch = touch
}

// line reads of the line of memory that is so many behind that where a block begins:
// every block is longer than one.
func (a *arena) line(r ref, n uintptr) uint32 { return *(*uint32)(unsafe.Add(a.at(r), 64*n)) }

// same tells whether summaries are equal.
func same(a, b []uint32) bool { return string(raw(a)) == string(raw(b)) }

func raw(s []uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), 4*len(s))
}
