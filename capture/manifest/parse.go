package manifest

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest/strictjson"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

// parse reads a root document. The canonical form is expected byte for byte;
// what the steps below would take in another spelling (numbers and escapes
// have several, and runs can be split) is found by writing the document again.
func parse(data []byte) (*document, error) {
	p := parser{r: strictjson.NewReader(data)}
	p.lit(formatKey[:len(formatKey)-1])
	tag := p.text()
	if p.err == nil {
		p.err = version(tag)
	}
	d := &document{}
	p.lit(`,"identity":`)
	d.identity = p.identity()
	p.lit(`,"groups":`)
	p.list(func() { d.groups = append(d.groups, p.group()) })
	p.lit("}")
	if p.err == nil && p.r.Rest() > 0 {
		p.err = p.r.Errorf("bytes after the document")
	}
	if p.err != nil {
		return nil, fmt.Errorf("manifest: document: %w", p.err)
	}
	p.expand(d)
	for i := range d.groups {
		g := &d.groups[i]
		if err := validSequences(g.sequences, g.pages, g.meta.PageTokens); err != nil {
			return nil, damaged(err)
		}
	}
	if !bytes.Equal(d.append(make([]byte, 0, len(data))), data) {
		return nil, corrupt("document is not in canonical form")
	}
	return d, nil
}

// parser reads on until the first error and then does nothing.
type parser struct {
	r      *strictjson.Reader
	err    error
	groups int
	total  totals
	// The pages of all sequences in order: runs, and how many of them each
	// sequence has.
	runs    []run
	lengths []int
}

func (p *parser) lit(s string) {
	if p.err == nil && !p.r.Literal(s) {
		p.err = p.r.Errorf("expected %s", s)
	}
}

func (p *parser) text() string {
	if p.err != nil {
		return ""
	}
	var s string
	s, p.err = p.r.String()
	return s
}

func (p *parser) textAfter(lit string) string {
	p.lit(lit)
	return p.text()
}

func (p *parser) numberAfter(lit string) uint32 {
	p.lit(lit)
	if p.err != nil {
		return 0
	}
	var v uint32
	v, p.err = p.r.Uint32()
	return v
}

func (p *parser) list(item func()) {
	if p.err != nil {
		return
	}
	p.err = p.r.Array(func() error { item(); return p.err })
}

func (p *parser) fail(err error) {
	if p.err == nil && err != nil {
		p.err = damaged(err)
	}
}

func (p *parser) identity() (id identity.Identity) {
	id.Model = p.textAfter(`{"model":`)
	id.Weights = p.textAfter(`,"weights":`)
	id.Tokenizer = p.textAfter(`,"tokenizer":`)
	p.lit(`,"adapter":`)
	if !p.r.Literal("null") {
		a := p.text()
		id.Adapter = &a
	}
	id.Tenant = p.textAfter(`,"tenant":`)
	id.Rank = p.numberAfter(`,"rank":`)
	id.World = p.numberAfter(`,"world":`)
	p.lit("}")
	return id
}

func (p *parser) group() (g groupDoc) {
	if p.groups++; p.groups > MaxGroups {
		p.fail(corrupt("more than %d groups", MaxGroups))
	}
	g.name = p.textAfter(`{"name":`)
	g.meta = p.meta()
	if fp := p.textAfter(`,"fingerprint":`); p.err == nil && fp != g.meta.Fingerprint().String() {
		p.fail(corrupt("fingerprint %.80q is not that of %v", fp, g.meta))
	}
	g.pages = int(p.numberAfter(`,"pages":`))
	alg, err := digest.ParseAlgorithm(p.textAfter(`,"algorithm":`))
	p.fail(err)
	g.alg = alg
	if n := p.numberAfter(`,"chunk_pages":`); p.err == nil && n != TableChunkPages {
		p.err = unsupported("table chunks of %d pages", n)
	}
	p.fail(p.total.add(g.pages, len(g.meta.Parts), 0))
	p.lit(`,"table":`)
	g.table = p.digests(chunks(g.pages, TableChunkPages))
	p.lit(`,"indices":`)
	if !p.r.Literal("null") {
		g.indices = p.digests(chunks(g.pages, IndexChunkPages))
	}
	p.lit(`,"sequences":`)
	p.list(func() { p.sequence(&g) })
	p.lit("}")
	return g
}

func (p *parser) meta() (m pager.Meta) {
	m.PageTokens = p.numberAfter(`,"page_tokens":`)
	m.Layers = p.numberAfter(`,"layers":`)
	m.KVHeads = p.numberAfter(`,"kv_heads":`)
	m.HeadDim = p.numberAfter(`,"head_dim":`)
	dt, err := pager.ParseDtype(p.textAfter(`,"dtype":`))
	p.fail(err)
	m.Dtype = dt
	p.lit(`,"parts":`)
	p.list(func() {
		if len(m.Parts) == pager.MaxParts {
			p.fail(corrupt("more than %d parts", pager.MaxParts))
			return
		}
		kind := pager.PartKind(p.textAfter(`{"kind":`))
		size := int(p.numberAfter(`,"bytes":`))
		m.Parts = append(m.Parts, pager.Part{Kind: kind, Bytes: size, Form: p.textAfter(`,"form":`)})
		p.lit("}")
	})
	if p.err == nil {
		p.fail(m.Validate())
	}
	return m
}

// digests reads exactly want digests.
func (p *parser) digests(want int) []digest.Digest {
	// A document that is too short for what it announces takes no memory.
	ds := make([]digest.Digest, 0, min(want, p.r.Rest()/(2*digest.Size)))
	p.list(func() {
		d, err := digest.Parse(p.text())
		p.fail(err)
		if len(ds) == want {
			p.fail(corrupt("more than %d chunks", want))
		}
		ds = append(ds, d)
	})
	if len(ds) != want {
		p.fail(corrupt("%d chunks, want %d", len(ds), want))
	}
	return ds
}

// run is consecutive page numbers.
type run struct{ first, count uint32 }

// sequence reads a sequence; its pages follow when expand is called.
func (p *parser) sequence(g *groupDoc) {
	var s Sequence
	s.ID = p.textAfter(`{"id":`)
	from := len(p.runs)
	p.lit(`,"pages":`)
	p.list(func() {
		r := run{first: p.numberAfter("[")}
		r.count = p.numberAfter(",")
		p.lit("]")
		if count := int(r.count); count == 0 || count > g.pages || int(r.first) > g.pages-count {
			p.fail(corrupt("sequence %.80q: run of %d pages from %d in a group of %d", s.ID, r.count, r.first, g.pages))
		}
		p.fail(p.total.add(0, 0, int(r.count)))
		p.runs = append(p.runs, r)
	})
	s.FillInLastPage = p.numberAfter(`,"fill":`)
	p.lit("}")
	g.sequences = append(g.sequences, s)
	p.lengths = append(p.lengths, len(p.runs)-from)
}

// expand gives the sequences their pages, when the whole document is known to
// be within the bounds.
func (p *parser) expand(d *document) {
	pages := make([]uint32, 0, p.total.references)
	for i := range d.groups {
		for j := range d.groups[i].sequences {
			from := len(pages)
			for _, r := range p.runs[:p.lengths[0]] {
				for n := range r.count {
					pages = append(pages, r.first+n)
				}
			}
			p.runs, p.lengths = p.runs[p.lengths[0]:], p.lengths[1:]
			d.groups[i].sequences[j].Pages = pages[from:len(pages):len(pages)]
		}
	}
}

// damaged turns the judgement that content is invalid into one about stored
// bytes: the error is ErrCorrupt and no longer ErrInvalid.
func damaged(err error) error {
	if errors.Is(err, kvferry.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("manifest: stored snapshot is damaged: %w: %s", kvferry.ErrCorrupt, err.Error())
}

func unsupported(format string, args ...any) error {
	return fmt.Errorf("manifest: "+format+": %w", append(args, kvferry.ErrUnsupported)...)
}
