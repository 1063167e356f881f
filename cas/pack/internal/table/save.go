package table

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Save writes the blobs whose slot slots knows, with the number that it gives
// for the slot, and returns how many bytes that were. Others may use the table
// meanwhile; whether what they do is saved is open.
func (t *Table) Save(w io.Writer, slots func(slot uint32) (packRef uint32, ok bool)) (n int64, err error) {
	b := make([]byte, 4, 1<<20)
	t.All(func(d digest.Digest, p Place, _ uint8) bool {
		if ref, ok := slots(p.Slot()); ok {
			sum := d.Sum()
			b = append(b, sum[:]...)
			p = p&^flagMask&(1<<slotShift-1) | Place(ref)<<slotShift | Place(d.Algorithm())<<algorithmShift
			b = binary.LittleEndian.AppendUint64(b, uint64(p))
		}
		return true
	})
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
	k, err := w.Write(b)
	return int64(k), err
}

// Load reads what Save wrote at off, size bytes, on so many goroutines. slots
// has the slots for the numbers that Save was given. Entries in damaged blocks
// are lost, and counted. The caller closes the table.
func Load(r io.ReaderAt, off, size int64, slots []uint32, threads int) (t *Table, lost int64, err error) {
	_ = threads
	if t, err = New(); err != nil {
		return nil, 0, err
	}
	b := make([]byte, max(size, 0))
	if n, err := r.ReadAt(b, off); n < len(b) || len(b) < 4 {
		return nil, 0, fmt.Errorf("table: load (%w): %w", err, kvferry.ErrCorrupt)
	}
	if crc32.Checksum(b[4:], castagnoli) != binary.LittleEndian.Uint32(b) {
		return t, size / 40, nil
	}
	for b = b[4:]; len(b) >= 40; b = b[40:] {
		p := Place(binary.LittleEndian.Uint64(b[32:]))
		d := digest.New(digest.Algorithm(p&algorithmMask>>algorithmShift), [32]byte(b[:32]))
		if p.Slot() >= uint32(len(slots)) {
			lost++
			continue
		}
		p = p&(1<<slotShift-1)&^algorithmMask | Place(slots[p.Slot()])<<slotShift
		if _, _, err := t.Put(d, p); err != nil {
			lost++
		}
	}
	return t, lost, nil
}
