package manifest

import (
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// Fetch returns the verified plain bytes of a blob, at most limit of them; a
// longer blob is ErrShortBuffer. For chunks the limit is the exact length. The
// bytes are not used after the next call.
type Fetch = func(d digest.Digest, limit int) ([]byte, error)

// Decode reads the snapshot whose root document is root. Bytes that are not
// exactly what Encode writes, or that contradict one another, are ErrCorrupt;
// a version of the format that is not known is ErrUnsupported; errors of get
// are wrapped. Memory is taken only for what the document announces, within
// the package's bounds.
func Decode(root digest.Digest, get Fetch) (*Snapshot, error) {
	d, err := load(root, get)
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Identity: d.identity, Groups: make([]Group, len(d.groups))}
	for i := range d.groups {
		if s.Groups[i], err = d.groups[i].load(get); err != nil {
			return nil, fmt.Errorf("manifest: snapshot %v: group %q: %w", root, d.groups[i].name, err)
		}
	}
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("manifest: snapshot %v: %w", root, damaged(err))
	}
	return s, nil
}

// References calls visit for every blob that the snapshot needs: its root, its
// chunks, and the parts of its pages. A blob that is needed several times is
// visited several times. Only one chunk is held at a time. The first error of
// get or visit is returned; errors are those of Decode, except that index
// chunks are named and not read.
func References(root digest.Digest, get Fetch, visit func(digest.Digest) error) error {
	d, err := load(root, get)
	if err != nil {
		return err
	}
	if err := visit(root); err != nil {
		return err
	}
	for i := range d.groups {
		if err := d.groups[i].references(get, visit); err != nil {
			return fmt.Errorf("manifest: snapshot %v: group %q: %w", root, d.groups[i].name, err)
		}
	}
	return nil
}

// load reads and checks the root document.
func load(root digest.Digest, get Fetch) (*document, error) {
	data, err := fetch(get, root, MaxDocumentBytes)
	if err != nil {
		return nil, err
	}
	d, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("manifest: snapshot %v: %w", root, err)
	}
	if len(d.groups) == 0 {
		return nil, corrupt("snapshot %v without a group", root)
	}
	for i := range d.groups {
		if err := d.groups[i].addressed(root.Algorithm()); err != nil {
			return nil, fmt.Errorf("manifest: snapshot %v: %w", root, err)
		}
	}
	return d, nil
}

// addressed checks that every chunk is addressed as the root is.
func (g *groupDoc) addressed(alg digest.Algorithm) error {
	for _, list := range [2][]digest.Digest{g.table, g.indices} {
		for _, d := range list {
			if d.Algorithm() != alg {
				return corrupt("chunk %v in a snapshot addressed by %v", d, alg)
			}
		}
	}
	return nil
}

func (g *groupDoc) load(get Fetch) (Group, error) {
	out := Group{Name: g.name, Meta: g.meta, Sequences: g.sequences}
	out.Table = Table{alg: g.alg, pages: g.pages, parts: len(g.meta.Parts)}
	total := g.pages * len(g.meta.Parts) * digest.Size
	// Beyond the first allocation memory follows the chunks that were read.
	out.Table.sums = make([]byte, 0, min(total, 256<<20))
	err := g.tableChunks(get, func(body []byte) error {
		out.Table.sums = append(out.Table.sums, body...)
		return nil
	})
	if err != nil || g.indices == nil {
		return out, err
	}
	out.Indices = make([]pager.PageID, 0, min(g.pages, 64<<20))
	for i, d := range g.indices {
		n := chunkPages(g.pages, IndexChunkPages, i)
		b, err := fetch(get, d, chunkHeader+4*n)
		if err != nil {
			return Group{}, err
		}
		if out.Indices, err = appendIndices(out.Indices, b, n); err != nil {
			return Group{}, fmt.Errorf("manifest: index chunk %v: %w", d, err)
		}
	}
	return out, nil
}

// tableChunks calls use with the sums of each table chunk.
func (g *groupDoc) tableChunks(get Fetch, use func(body []byte) error) error {
	parts := len(g.meta.Parts)
	for i, d := range g.table {
		n := chunkPages(g.pages, TableChunkPages, i)
		b, err := fetch(get, d, chunkHeader+n*parts*digest.Size)
		if err != nil {
			return err
		}
		body, err := tableChunkBody(b, g.alg, parts, n)
		if err != nil {
			return fmt.Errorf("manifest: table chunk %v: %w", d, err)
		}
		if err := use(body); err != nil {
			return err
		}
	}
	return nil
}

func (g *groupDoc) references(get Fetch, visit func(digest.Digest) error) error {
	for _, list := range [2][]digest.Digest{g.table, g.indices} {
		for _, d := range list {
			if err := visit(d); err != nil {
				return err
			}
		}
	}
	return g.tableChunks(get, func(body []byte) error {
		for ; len(body) > 0; body = body[digest.Size:] {
			if err := visit(digest.New(g.alg, [digest.Size]byte(body))); err != nil {
				return err
			}
		}
		return nil
	})
}

// fetch gets a blob that must not be longer than limit.
func fetch(get Fetch, d digest.Digest, limit int) ([]byte, error) {
	b, err := get(d, limit)
	if errors.Is(err, kvferry.ErrShortBuffer) || err == nil && len(b) > limit {
		return nil, corrupt("blob %v is longer than the %d bytes it can have", d, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: read %v: %w", d, err)
	}
	return b, nil
}
