package table

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// FuzzLoad: whatever bytes there are, Load gives an error or a table that is
// in order and can be saved and loaded again.
func FuzzLoad(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal {
			sealAll(b)
		}
		tab, lost, err := Load(bytes.NewReader(b), 0, int64(len(b)), []uint32{5, MaxSlots, 7}, 2)
		if err != nil {
			return
		}
		defer tab.Close()
		tab.check(t)
		if room := int64(len(b)) / entryBytes; tab.Len() > room || lost < 0 {
			t.Fatalf("%d entries and %d lost in %d bytes", tab.Len(), lost, len(b))
		}
		saved := tab.saved(t)
		again, lost, err := Load(bytes.NewReader(saved), 0, int64(len(saved)), sameSlots(8), 1)
		if err != nil || lost != 0 || again.Len() != tab.Len() {
			t.Fatalf("%d entries and %d lost, want %d: %v", again.Len(), lost, tab.Len(), err)
		}
		again.Close()
	})
}

// sealAll makes the checksums right, so that what they cover is looked at.
func sealAll(b []byte) {
	le := binary.LittleEndian
	if len(b) < 2*frameBytes {
		return
	}
	for _, at := range []int{0, len(b) - frameBytes} {
		fr := b[at:][:frameBytes]
		copy(fr, frameMagic)
		le.PutUint32(fr[60:], crc32.Checksum(fr[:60], castagnoli))
	}
	for body := b[frameBytes : len(b)-frameBytes]; len(body) >= blockHead; body = body[min(blockBytes, len(body)):] {
		le.PutUint32(body, blockMagic)
		end := blockHead + uint64(le.Uint32(body[24:]))*entryBytes
		if end <= uint64(len(body)) {
			le.PutUint32(body[4:], crc32.Checksum(body[8:end], castagnoli))
		}
	}
}
