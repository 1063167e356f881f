package packfile

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/internal/vfs"
)

const (
	packMagic   = "KVFRPCK\n"
	packVersion = 1

	// firstOff is where the records of a pack begin.
	firstOff   = vfs.BlockBytes
	blockBytes = vfs.BlockBytes
)

// Dir is the directory of a store in which the packs lie.
const Dir = "packs"

const extension = ".pack"

// Class is what the blobs of a pack are kept for.
type Class uint32

// The classes. The zero value is invalid. The numbers are stored and must not
// change.
const (
	Snapshot Class = 1
	Cache    Class = 2
)

// String returns the class's name.
func (c Class) String() string {
	switch c {
	case Snapshot:
		return "snapshot"
	case Cache:
		return "cache"
	}
	return fmt.Sprintf("class(%d)", uint32(c))
}

// Header is what the first block of a pack says.
type Header struct {
	ID      uint64
	Class   Class
	Store   [16]byte
	Stream  uint64 // of the process that made the pack
	Created time.Time
}

// Path returns the path of a pack within its store.
func Path(pack uint64) string { return fmt.Sprintf("%s/%016x%s", Dir, pack, extension) }

// ParseName returns the id of the pack whose file has the given name, and
// whether it is the name of a pack at all.
func ParseName(name string) (pack uint64, ok bool) {
	hex, found := strings.CutSuffix(name, extension)
	if !found || len(hex) != 16 || strings.ToLower(hex) != hex {
		return 0, false
	}
	id, err := strconv.ParseUint(hex, 16, 64)
	return id, err == nil
}

// put writes the header's block to b.
func (h *Header) put(b []byte) {
	le := binary.LittleEndian
	clear(b[:firstOff])
	copy(b, packMagic)
	le.PutUint32(b[8:], packVersion)
	le.PutUint32(b[12:], uint32(h.Class))
	le.PutUint64(b[16:], h.ID)
	copy(b[24:40], h.Store[:])
	le.PutUint64(b[40:], h.Stream)
	le.PutUint64(b[48:], uint64(h.Created.UnixNano()))
	le.PutUint32(b[56:], crc32.Checksum(b[:56], castagnoli))
}

// ParseHeader reads the header block at the beginning of b. Damage is
// ErrCorrupt, a version or class that this build does not know ErrUnsupported.
func ParseHeader(b []byte) (Header, error) {
	le := binary.LittleEndian
	if len(b) < firstOff || string(b[:8]) != packMagic {
		return Header{}, fmt.Errorf("packfile: no pack header: %w", kvferry.ErrCorrupt)
	}
	if le.Uint32(b[56:]) != crc32.Checksum(b[:56], castagnoli) {
		return Header{}, fmt.Errorf("packfile: pack header checksum: %w", kvferry.ErrCorrupt)
	}
	if v := le.Uint32(b[8:]); v != packVersion {
		return Header{}, fmt.Errorf("packfile: pack of version %d: %w", v, kvferry.ErrUnsupported)
	}
	h := Header{
		ID:      le.Uint64(b[16:]),
		Class:   Class(le.Uint32(b[12:])),
		Store:   [16]byte(b[24:40]),
		Stream:  le.Uint64(b[40:]),
		Created: time.Unix(0, int64(le.Uint64(b[48:]))),
	}
	if h.Class != Snapshot && h.Class != Cache {
		return Header{}, fmt.Errorf("packfile: pack of %v: %w", h.Class, kvferry.ErrUnsupported)
	}
	if !zeros(b[60:firstOff]) {
		return Header{}, fmt.Errorf("packfile: pack header with trailing bytes: %w", kvferry.ErrCorrupt)
	}
	return h, nil
}
