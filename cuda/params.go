package cuda

import "encoding/binary"

// Params are the parameters of a launch, of any size, in their order. The zero
// value is empty; Reset keeps the memory.
type Params struct {
	bytes []byte
	slots []uint32
}

// Reset removes all parameters.
func (p *Params) Reset() { p.bytes, p.slots = p.bytes[:0], p.slots[:0] }

// Ptr adds a device address.
func (p *Params) Ptr(v Ptr) { p.Uint64(uint64(v)) }

// Uint64 adds 8 bytes.
func (p *Params) Uint64(v uint64) {
	p.align(8)
	p.bytes = binary.LittleEndian.AppendUint64(p.bytes, v)
}

// Int64 adds 8 bytes.
func (p *Params) Int64(v int64) { p.Uint64(uint64(v)) }

// Uint32 adds 4 bytes.
func (p *Params) Uint32(v uint32) {
	p.align(4)
	p.bytes = binary.LittleEndian.AppendUint32(p.bytes, v)
}

// Int32 adds 4 bytes.
func (p *Params) Int32(v int32) { p.Uint32(uint32(v)) }

// Struct adds a structure by value, as C lays it out; align is its alignment.
func (p *Params) Struct(v []byte, align int) {
	p.align(align)
	p.bytes = append(p.bytes, v...)
}

func (p *Params) align(n int) {
	for len(p.bytes)%n != 0 {
		p.bytes = append(p.bytes, 0)
	}
	p.slots = append(p.slots, uint32(len(p.bytes)))
}
