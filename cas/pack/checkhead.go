package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	checkpointMagic   = "KVFRIDX\n"
	checkpointVersion = 1
	headBytes         = 64
	headCopy          = 2048 // where the header lies once more
)

// checkpointHead is the header of a checkpoint.
type checkpointHead struct {
	generation uint64
	store      [16]byte
	metaBytes  int64 // of the operations
	metaCRC    uint32
	tableBytes int64
}

// table is where the blobs begin.
func (h *checkpointHead) table() int64 { return vfs.BlockBytes + blocks(h.metaBytes) }

// copied is where the operations lie once more.
func (h *checkpointHead) copied() int64 { return blocks(h.table() + h.tableBytes) }

// encode returns the first block.
func (h *checkpointHead) encode() []byte {
	b, le := make([]byte, vfs.BlockBytes), binary.LittleEndian
	copy(b, checkpointMagic)
	le.PutUint32(b[8:], checkpointVersion)
	copy(b[16:], h.store[:])
	le.PutUint64(b[32:], h.generation)
	le.PutUint64(b[40:], uint64(h.metaBytes))
	le.PutUint32(b[48:], h.metaCRC)
	le.PutUint64(b[52:], uint64(h.tableBytes))
	le.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	copy(b[headCopy:], b[:headBytes])
	return b
}

// decodeHead reads one copy of a header. Its lengths may be anything.
func decodeHead(b []byte) (h checkpointHead, err error) {
	le := binary.LittleEndian
	switch {
	case string(b[:8]) != checkpointMagic, crc32.Checksum(b[:60], castagnoli) != le.Uint32(b[60:]):
		return h, fmt.Errorf("the header is damaged: %w", kvferry.ErrCorrupt)
	case le.Uint32(b[8:]) != checkpointVersion:
		return h, fmt.Errorf("it is of version %d: %w", le.Uint32(b[8:]), kvferry.ErrUnsupported)
	}
	return checkpointHead{
		generation: le.Uint64(b[32:]), store: [16]byte(b[16:32]),
		metaBytes: int64(le.Uint64(b[40:])), metaCRC: le.Uint32(b[48:]), tableBytes: int64(le.Uint64(b[52:])),
	}, nil
}

// readHead reads the header of a file of that size, from whichever copy is
// sound.
func readHead(f io.ReaderAt, size int64, id [16]byte, generation uint64) (h checkpointHead, err error) {
	var b [vfs.BlockBytes]byte
	if n, err := f.ReadAt(b[:], 0); n < len(b) && !endOfFile(err) {
		return h, fmt.Errorf("the header cannot be read: %w", err)
	}
	h, err = decodeHead(b[:headBytes])
	if errors.Is(err, kvferry.ErrCorrupt) {
		if again, cerr := decodeHead(b[headCopy : headCopy+headBytes]); cerr == nil {
			h, err = again, nil
		}
	}
	switch {
	case err != nil:
		return h, err
	case h.store != id:
		return h, fmt.Errorf("it is of another store: %w", kvferry.ErrCorrupt)
	case h.generation != generation:
		return h, fmt.Errorf("it is that of generation %d: %w", h.generation, kvferry.ErrCorrupt)
	case h.metaBytes < 0 || h.metaBytes > size || h.tableBytes < 0 || h.tableBytes > size:
		return h, fmt.Errorf("it is cut: %w", kvferry.ErrCorrupt)
	}
	h.tableBytes = min(h.tableBytes, max(0, size-h.table()))
	return h, nil
}

// operations reads the operations, from whichever copy is sound.
func (h *checkpointHead) operations(f io.ReaderAt) ([]byte, error) {
	meta := make([]byte, h.metaBytes)
	for _, at := range []int64{vfs.BlockBytes, h.copied()} {
		n, err := f.ReadAt(meta, at)
		if n < len(meta) && !endOfFile(err) && at != vfs.BlockBytes {
			return nil, fmt.Errorf("the catalog cannot be read: %w", err)
		}
		if n == len(meta) && crc32.Checksum(meta, castagnoli) == h.metaCRC {
			return meta, nil
		}
	}
	return nil, fmt.Errorf("the catalog is damaged: %w", kvferry.ErrCorrupt)
}
