package table

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/kvferry/kvferry/digest"
)

// See the package comment.
const (
	frameMagic   = "KVFTABLE"
	frameBytes   = 64
	frameFront   = 1
	frameEnd     = 2
	version      = 1
	blockMagic   = 0x6b6c6274
	blockBytes   = 64 << 10
	blockHead    = 32
	entryBytes   = digest.Size + 8
	blockEntries = (blockBytes - blockHead) / entryBytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is what surrounds the blocks.
type frame struct {
	version uint32
	kind    uint32
	id      uint64
	entries uint64
	blocks  uint64
}

func (f frame) append(b []byte) []byte {
	le, from := binary.LittleEndian, len(b)
	b = append(b, frameMagic...)
	b = le.AppendUint32(b, f.version)
	b = le.AppendUint32(b, f.kind)
	b = le.AppendUint64(b, f.id)
	b = le.AppendUint64(b, f.entries)
	b = le.AppendUint64(b, f.blocks)
	b = append(b, make([]byte, 20)...)
	return le.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
}

// parseFrame reads a frame of the given kind.
func parseFrame(b []byte, kind uint32) (frame, bool) {
	le := binary.LittleEndian
	if len(b) != frameBytes || string(b[:8]) != frameMagic || crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]) {
		return frame{}, false
	}
	f := frame{le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint64(b[16:]), le.Uint64(b[24:]), le.Uint64(b[32:])}
	return f, f.kind == kind
}

// bodyBytes is how long the blocks of so many entries are.
func bodyBytes(entries uint64) uint64 {
	n := entries / blockEntries * blockBytes
	if rest := entries % blockEntries; rest > 0 {
		n += blockHead + rest*entryBytes
	}
	return n
}

// sealBlock completes a block that has its entries.
func sealBlock(b []byte, id, number uint64, entries int) {
	le := binary.LittleEndian
	le.PutUint32(b, blockMagic)
	le.PutUint64(b[8:], id)
	le.PutUint64(b[16:], number)
	le.PutUint32(b[24:], uint32(entries))
	le.PutUint32(b[28:], 0)
	le.PutUint32(b[4:], crc32.Checksum(b[8:blockHead+entries*entryBytes], castagnoli))
}

// openBlock returns the entries in a block, or false if it is damaged.
func openBlock(b []byte, id, number uint64) ([]byte, bool) {
	le := binary.LittleEndian
	if len(b) < blockHead || le.Uint32(b) != blockMagic || le.Uint64(b[8:]) != id || le.Uint64(b[16:]) != number {
		return nil, false
	}
	entries := le.Uint32(b[24:])
	if uint64(entries)*entryBytes > uint64(len(b)-blockHead) || le.Uint32(b[28:]) != 0 {
		return nil, false
	}
	end := blockHead + int(entries)*entryBytes
	return b[blockHead:end], crc32.Checksum(b[8:end], castagnoli) == le.Uint32(b[4:])
}
