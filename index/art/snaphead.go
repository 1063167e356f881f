package art

import (
	"encoding/binary"
	"hash/crc32"
)

// A snapshot, the numbers of its head and frames little-endian:
//
//	0     head, 4096 bytes, see snapHead
//	4096  frames: CRC32C of generation, place of the frame, length and data (4
//	      bytes); length of the data (4 bytes); data
//
// The first frames hold names: entries as in the log, and two kinds more. The
// others hold the chunks of the arena, in order, each compressed by S2, or nothing
// if the chunk is idle. Numbers in the arena are in the machine's order, which
// the head tells.
const (
	snapMagic      = "KVFARTSN"
	snapHeadBytes  = 4096
	snapFrameHead  = 8
	nativeOrder    = 0x01020304
	namesBytes     = 64 << 10 // in a frame of names, and what the last one needs
	entryScopeUse  = 11       // number, blocks
	entryWorkerUse = 12       // number, first block, and four counts
)

// snapHead is the head: "KVFARTSN", then these in 8 bytes each, then the lists of
// free objects in 4 each, zeros, and the CRC32C of it all in the last 4.
type snapHead struct {
	version, rules, order         uint64
	generation, seq               uint64
	frames, chunks                uint64
	next, end                     uint64
	blocks, hashes                uint64 // roots
	countBlocks, countBytes, last uint64
	idle                          uint64
	free                          [classes]ref
}

func (h *snapHead) words() []*uint64 {
	return []*uint64{
		&h.version, &h.rules, &h.order, &h.generation, &h.seq, &h.frames, &h.chunks, &h.next, &h.end,
		&h.blocks, &h.hashes, &h.countBlocks, &h.countBytes, &h.last, &h.idle,
	}
}

// order is nativeOrder as this machine's memory has it.
func order() uint64 {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], nativeOrder)
	return uint64(binary.LittleEndian.Uint32(b[:]))
}

func (h *snapHead) encode() []byte {
	b := make([]byte, snapHeadBytes)
	at := copy(b, snapMagic)
	for _, w := range h.words() {
		binary.LittleEndian.PutUint64(b[at:], *w)
		at += 8
	}
	for _, r := range h.free {
		binary.LittleEndian.PutUint32(b[at:], uint32(r))
		at += 4
	}
	binary.LittleEndian.PutUint32(b[snapHeadBytes-4:], crc32.Checksum(b[:snapHeadBytes-4], castagnoli))
	return b
}

func parseSnapHead(b []byte) (h snapHead, ok bool) {
	if len(b) < snapHeadBytes || string(b[:len(snapMagic)]) != snapMagic ||
		crc32.Checksum(b[:snapHeadBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[snapHeadBytes-4:]) {
		return h, false
	}
	at := len(snapMagic)
	for _, w := range h.words() {
		*w = binary.LittleEndian.Uint64(b[at:])
		at += 8
	}
	for i := range h.free {
		h.free[i] = ref(binary.LittleEndian.Uint32(b[at:]))
		at += 4
	}
	return h, h.possible()
}

// possible tells whether the numbers name what is in the arena.
func (h *snapHead) possible() bool {
	size := h.chunks * chunkBytes
	if h.chunks > maxChunks || h.frames < h.chunks || h.frames-h.chunks > 1<<32 || h.next > size || h.end > size || h.next > h.end {
		return false
	}
	for _, r := range append(h.free[:], ref(h.blocks)&^leafBit, ref(h.hashes)&^leafBit) {
		if uint64(r)*unitBytes >= size && r != 0 {
			return false
		}
	}
	return h.blocks>>32 == 0 && h.hashes>>32 == 0
}

// snapSum is the checksum of a frame, whose length and data b is.
func snapSum(generation, place uint64, b []byte) uint32 {
	var p [8]byte
	binary.LittleEndian.PutUint64(p[:], place)
	return crc32.Update(crc32.Update(saltOf(generation), castagnoli, p[:]), castagnoli, b)
}

// endSnapFrame fills in the head of a frame whose data begins behind it in f.
func endSnapFrame(f []byte, generation, place uint64) {
	binary.LittleEndian.PutUint32(f[4:], uint32(len(f)-snapFrameHead))
	binary.LittleEndian.PutUint32(f, snapSum(generation, place, f[4:]))
}
