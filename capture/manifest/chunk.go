package manifest

import (
	"encoding/binary"

	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// The sizes of chunks; every chunk but a group's last holds exactly so many
// pages. They are part of the format.
const (
	TableChunkPages = 1024
	IndexChunkPages = 16384
)

const (
	tableMagic   = "KVPT"
	indexMagic   = "KVPI"
	chunkVersion = 1
	chunkHeader  = 16
)

// appendHeader appends the header of a chunk.
func appendHeader(dst []byte, magic string, alg digest.Algorithm, parts, count int) []byte {
	dst = append(dst, magic...)
	dst = append(dst, chunkVersion, byte(alg))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(parts))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(count))
	return append(dst, 0, 0, 0, 0)
}

// chunkBody checks a chunk's header and length and returns what follows the
// header.
func chunkBody(b []byte, magic string, alg digest.Algorithm, parts, count, rowBytes int) ([]byte, error) {
	if len(b) < chunkHeader || string(b[:4]) != magic {
		return nil, corrupt("chunk of %d bytes is no %s", len(b), magic)
	}
	if b[4] != chunkVersion {
		return nil, unsupported("%s chunk of version %d", magic, b[4])
	}
	var want [chunkHeader]byte
	if appendHeader(want[:0], magic, alg, parts, count); string(b[:chunkHeader]) != string(want[:]) {
		return nil, corrupt("%s chunk with header %x, want %x", magic, b[:chunkHeader], want)
	}
	if len(b)-chunkHeader != count*rowBytes {
		return nil, corrupt("%s chunk of %d bytes, want %d", magic, len(b), chunkHeader+count*rowBytes)
	}
	return b[chunkHeader:], nil
}

// appendTableChunk appends the chunk that holds count pages of t from first on.
func appendTableChunk(dst []byte, t Table, first, count int) []byte {
	dst = appendHeader(dst, tableMagic, t.alg, t.parts, count)
	return append(dst, t.rows(first, count)...)
}

// tableChunkBody returns the sums in a table chunk of count pages.
func tableChunkBody(b []byte, alg digest.Algorithm, parts, count int) ([]byte, error) {
	return chunkBody(b, tableMagic, alg, parts, count, parts*digest.Size)
}

// appendIndexChunk appends the chunk that holds the given indices.
func appendIndexChunk(dst []byte, ids []pager.PageID) []byte {
	dst = appendHeader(dst, indexMagic, 0, 0, len(ids))
	for _, id := range ids {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(id))
	}
	return dst
}

// appendIndices appends the indices in an index chunk of count pages.
func appendIndices(dst []pager.PageID, b []byte, count int) ([]pager.PageID, error) {
	body, err := chunkBody(b, indexMagic, 0, 0, count, 4)
	if err != nil {
		return nil, err
	}
	for ; len(body) > 0; body = body[4:] {
		dst = append(dst, pager.PageID(binary.LittleEndian.Uint32(body)))
	}
	return dst, nil
}

// chunks returns how many chunks of size pages hold pages pages.
func chunks(pages, size int) int { return (pages + size - 1) / size }

// chunkPages returns how many pages chunk i holds.
func chunkPages(pages, size, i int) int { return min(size, pages-i*size) }
