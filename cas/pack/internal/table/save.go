package table

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/kvferry/kvferry"
)

// Save writes the blobs whose slot slots knows, with the number below MaxSlots
// that it gives for the slot, and returns how many bytes that were. Others may
// use the table meanwhile; of what they do, each blob's part is saved or not.
func (t *Table) Save(w io.Writer, slots func(slot uint32) (packRef uint32, ok bool)) (n int64, err error) {
	s := saver{w: w, id: rand.Uint64(), buf: make([]byte, 0, saveBytes)}
	s.buf = frame{version, frameFront, s.id, 0, 0}.append(s.buf)
	s.flush()
	t.walk(func(shard uint64, e *entry) bool {
		p := e.stored() &^ flagMask
		ref, ok := slots(p.Slot())
		if !ok {
			return true
		}
		if ref >= MaxSlots {
			s.err = fmt.Errorf("table: save: pack number %d: %w", ref, kvferry.ErrInvalid)
			return false
		}
		sum := t.seed.digest(shard, e).Sum()
		s.add(&sum, p&(1<<slotShift-1)|Place(ref)<<slotShift)
		return s.err == nil
	})
	if s.inBlock > 0 {
		s.seal()
	}
	s.buf = frame{version, frameEnd, s.id, s.entries, s.blocks}.append(s.buf)
	s.flush()
	return s.n, s.err
}

// saveBytes is how much is written at a time: some blocks.
const saveBytes = 16 * blockBytes

// saver collects entries in blocks, and blocks in writes. After an error it
// does nothing.
type saver struct {
	w       io.Writer
	id      uint64
	buf     []byte // blocks, of which the last one lacks its header while inBlock > 0
	inBlock int    // entries of the last block in buf
	entries uint64
	blocks  uint64
	n       int64
	err     error
}

func (s *saver) add(sum *[32]byte, p Place) {
	if s.inBlock == 0 {
		s.buf = append(s.buf, make([]byte, blockHead)...)
	}
	s.buf = append(s.buf, sum[:]...)
	s.buf = binary.LittleEndian.AppendUint64(s.buf, uint64(p))
	s.entries++
	if s.inBlock++; s.inBlock < blockEntries {
		return
	}
	s.seal()
	s.buf = append(s.buf, make([]byte, blockBytes-blockHead-blockEntries*entryBytes)...)
	if len(s.buf) == cap(s.buf) {
		s.flush()
	}
}

// seal ends the last block.
func (s *saver) seal() {
	from := len(s.buf) - s.inBlock*entryBytes - blockHead
	sealBlock(s.buf[from:], s.id, s.blocks, s.inBlock)
	s.blocks++
	s.inBlock = 0
}

func (s *saver) flush() {
	if s.err != nil {
		return
	}
	n, err := s.w.Write(s.buf)
	s.n += int64(n)
	if err != nil {
		s.err = fmt.Errorf("table: save: %w", err)
	}
	s.buf = s.buf[:0]
}
