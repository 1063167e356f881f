package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/kvferry/kvferry"
)

const (
	version     = 1
	headerBytes = 64
	headerCopy  = 2048 // where the header lies once more
	firstTx     = 8192
	txHeader    = 40
	magicTx     = 'K' | 'T'<<8 | 'X'<<16 | '1'<<24 // the bytes of txMagic
	magicLog    = "KVFRLOG\n"

	// void marks a transaction that stands for lost or dropped ones.
	void Flags = 4

	// maxOffset is more than offsets, generations and sequence numbers ever
	// come to.
	maxOffset = 1<<47 - 1
)

// formatError says why bytes are not the next transaction.
type formatError string

func (e formatError) Error() string { return string(e) }

const (
	errEnd      formatError = "the log ends"
	errMagic    formatError = "no transaction begins here"
	errChecksum formatError = "a checksum does not hold"
	errLength   formatError = "a length is impossible"
	errOrder    formatError = "it does not follow the transaction before"
	errFlags    formatError = "it has unknown flags"
	errEmptied  formatError = "it was emptied"
)

var txMagic = []byte("KTX1")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(seed uint32, b []byte) uint32 { return crc32.Update(seed, castagnoli, b) }

// header is what block 0 says.
type header struct {
	generation, base, first uint64
	id                      [16]byte
}

// salt tells the transactions of this log from those of any other.
func (h header) salt() uint32 {
	var b [24]byte
	copy(b[:], h.id[:])
	binary.LittleEndian.PutUint64(b[16:], h.generation)
	return crc(0, b[:])
}

// start is the place before the first transaction.
func (h header) start() cursor {
	return cursor{off: firstTx, seq: h.first - 1, link: h.salt()}
}

func (h header) encode(b []byte) {
	copy(b, magicLog)
	le := binary.LittleEndian
	le.PutUint32(b[8:], version)
	le.PutUint64(b[16:], h.generation)
	le.PutUint64(b[24:], h.base)
	le.PutUint64(b[32:], h.first)
	copy(b[40:56], h.id[:])
	le.PutUint32(b[60:], crc(0, b[:60]))
}

// decodeHeader checks one copy of a header.
func decodeHeader(b []byte) (header, error) {
	le := binary.LittleEndian
	switch {
	case len(b) < headerBytes || string(b[:8]) != magicLog:
		return header{}, fmt.Errorf("%w: no log header", kvferry.ErrCorrupt)
	case crc(0, b[:60]) != le.Uint32(b[60:]):
		return header{}, fmt.Errorf("%w: checksum of a log header", kvferry.ErrCorrupt)
	case le.Uint32(b[8:]) != version:
		return header{}, fmt.Errorf("%w: log version %d", kvferry.ErrUnsupported, le.Uint32(b[8:]))
	}
	h := header{generation: le.Uint64(b[16:]), base: le.Uint64(b[24:]), first: le.Uint64(b[32:])}
	copy(h.id[:], b[40:56])
	if h.base > h.generation || h.generation > maxOffset || h.first == 0 || h.first > maxOffset {
		return header{}, fmt.Errorf("%w: contents of a log header", kvferry.ErrCorrupt)
	}
	return h, nil
}

// txHead is the header of a transaction.
type txHead struct {
	link    uint32
	seq     uint64
	durable int64
	bytes   int64 // of the payload
	sum     uint32
	flags   Flags
}

func (t txHead) encode(b []byte, salt uint32) {
	le := binary.LittleEndian
	le.PutUint32(b, magicTx)
	le.PutUint32(b[4:], t.link)
	le.PutUint64(b[8:], t.seq)
	le.PutUint64(b[16:], uint64(t.durable))
	le.PutUint32(b[24:], uint32(t.bytes))
	le.PutUint32(b[28:], t.sum)
	le.PutUint32(b[32:], uint32(t.flags))
	le.PutUint32(b[36:], crc(salt, b[:36]))
}

// decodeTx checks a transaction's header alone.
func decodeTx(b []byte, salt uint32) (txHead, error) {
	le := binary.LittleEndian
	if le.Uint64(b) == 0 {
		return txHead{}, errEnd
	}
	if le.Uint32(b) != magicTx {
		return txHead{}, errMagic
	}
	if crc(salt, b[:36]) != le.Uint32(b[36:]) {
		return txHead{}, errChecksum
	}
	t := txHead{link: le.Uint32(b[4:]), seq: le.Uint64(b[8:]), bytes: int64(le.Uint32(b[24:])),
		sum: le.Uint32(b[28:]), flags: Flags(le.Uint32(b[32:]))}
	durable := le.Uint64(b[16:])
	t.durable = int64(durable & maxOffset)
	switch {
	case t.flags&^(Durable|Unordered|void) != 0 || t.flags&void != 0 && t.bytes != 0:
		return txHead{}, errFlags
	case t.bytes > MaxPayloadBytes || t.seq > maxOffset || durable > maxOffset:
		return txHead{}, errLength
	}
	return t, nil
}

// linkOf is what the next transaction carries of the one whose header b is.
func linkOf(b []byte, salt uint32) uint32 { return crc(salt, b[:32]) }

// follows tells whether t is the transaction after c.
func (t txHead) follows(c cursor) bool {
	if t.link != c.link {
		return false
	}
	return t.seq == c.seq+1 || t.flags&void != 0 && t.seq > c.seq
}

// span is what a payload of n bytes takes with its header and padding.
func span(n int64) int64 { return (txHeader + n + 7) &^ 7 }

// cursor is a place between two transactions.
type cursor struct {
	off  int64
	seq  uint64 // of the one before
	link uint32 // what the next one carries
}
