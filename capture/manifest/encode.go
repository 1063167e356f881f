package manifest

import (
	"github.com/kvferry/kvferry/digest"
)

// Encode stores s in the native format: every chunk, then the document. It
// calls put with the plain bytes of each blob, one after another, and returns
// what put returned for the document, and the document. The bytes of a chunk
// are valid only during the call of put.
//
// A snapshot that Validate refuses, a document beyond MaxDocumentBytes and
// digests of different algorithms from put are ErrInvalid; errors of put are
// returned as they are. What was put before an error remains stored and
// nothing refers to it.
func Encode(s *Snapshot, put func(plain []byte) (digest.Digest, error)) (root digest.Digest, doc []byte, err error) {
	if err := s.Validate(); err != nil {
		return digest.Digest{}, nil, err
	}
	e := encoder{put: put}
	d := document{identity: s.Identity, groups: make([]groupDoc, len(s.Groups))}
	for i := range s.Groups {
		if d.groups[i], err = e.group(&s.Groups[i]); err != nil {
			return digest.Digest{}, nil, err
		}
	}
	doc = d.append(nil)
	if len(doc) > MaxDocumentBytes {
		return digest.Digest{}, nil, invalid("document of %d bytes, want at most %d", len(doc), MaxDocumentBytes)
	}
	root, err = e.store(doc)
	if err != nil {
		return digest.Digest{}, nil, err
	}
	return root, doc, nil
}

// encoder stores blobs and sees to it that one algorithm addresses them all.
type encoder struct {
	put func([]byte) (digest.Digest, error)
	alg digest.Algorithm
	buf []byte
}

func (e *encoder) store(plain []byte) (digest.Digest, error) {
	d, err := e.put(plain)
	if err != nil {
		return digest.Digest{}, err
	}
	if e.alg == 0 {
		e.alg = d.Algorithm()
	}
	if !d.Valid() || d.Algorithm() != e.alg {
		return digest.Digest{}, invalid("blobs of one snapshot addressed as %v and %v", e.alg, d)
	}
	return d, nil
}

// group stores the group's chunks and returns its part of the document.
func (e *encoder) group(g *Group) (groupDoc, error) {
	pages := g.Table.Pages()
	out := groupDoc{
		name: g.Name, meta: g.Meta, pages: pages, alg: g.Table.Algorithm(), sequences: g.Sequences,
		table: make([]digest.Digest, 0, chunks(pages, TableChunkPages)),
	}
	for first := 0; first < pages; first += TableChunkPages {
		e.buf = appendTableChunk(e.buf[:0], g.Table, first, min(TableChunkPages, pages-first))
		d, err := e.store(e.buf)
		if err != nil {
			return groupDoc{}, err
		}
		out.table = append(out.table, d)
	}
	if g.Indices == nil {
		return out, nil
	}
	out.indices = make([]digest.Digest, 0, chunks(pages, IndexChunkPages))
	for first := 0; first < pages; first += IndexChunkPages {
		e.buf = appendIndexChunk(e.buf[:0], g.Indices[first:min(first+IndexChunkPages, pages)])
		d, err := e.store(e.buf)
		if err != nil {
			return groupDoc{}, err
		}
		out.indices = append(out.indices, d)
	}
	return out, nil
}
