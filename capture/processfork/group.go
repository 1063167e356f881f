package processfork

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// EncodeManifest returns the page manifest of g, whose SHA-256 names it. Page
// i of the group stands there as ix Indices[i], or as ix i if the group has no
// indices.
//
// A geometry that is not plain, a dtype or an algorithm of digests other than
// the format's is ErrUnsupported. Repeated indices and ids, sequences on pages
// that do not exist and a fill beyond a page are ErrInvalid; a fill of exactly
// one page is written as 0. The group's name is not written.
func EncodeManifest(g *manifest.Group) ([]byte, error) {
	m, err := FromGroup(g)
	if err != nil {
		return nil, err
	}
	return m.Encode()
}

// FromGroup returns the content of the page manifest of g, in canonical order,
// with the rules of EncodeManifest.
func FromGroup(g *manifest.Group) (*PageManifest, error) {
	if err := checkMeta(g.Meta); err != nil {
		return nil, err
	}
	t, n := g.Table, g.Table.Pages()
	if t.Algorithm() != digest.SHA256 {
		return nil, unsupported("pages with %v digests", t.Algorithm())
	}
	if t.Parts() != len(g.Meta.Parts) || g.Indices != nil && len(g.Indices) != n {
		return nil, invalid("group of %d pages with %d parts and %d indices", n, t.Parts(), len(g.Indices))
	}
	ixOf := func(page int) pager.PageID {
		if g.Indices == nil {
			return pager.PageID(page)
		}
		return g.Indices[page]
	}
	m := &PageManifest{Meta: g.Meta, Pages: make([]Page, n), Seqs: make([]pager.LogicalSeq, len(g.Sequences))}
	for i := range n {
		m.Pages[i] = Page{Ix: uint32(ixOf(i)), K: t.Digest(i, 0), V: t.Digest(i, 1)}
	}
	for i := range g.Sequences {
		s := &g.Sequences[i]
		ixs := make([]pager.PageID, len(s.Pages))
		for j, p := range s.Pages {
			if int64(p) >= int64(n) {
				return nil, invalid("sequence %q names page %d of %d", s.ID, p, n)
			}
			ixs[j] = ixOf(int(p))
		}
		m.Seqs[i] = pager.LogicalSeq{ID: s.ID, Pages: ixs, FillInLastPage: s.FillInLastPage}
		if s.FillInLastPage == g.Meta.PageTokens {
			m.Seqs[i].FillInLastPage = 0
		}
	}
	m.canonicalize()
	return m, m.check(invalid)
}

// canonicalize puts pages and sequences in the order in which they are written.
func (m *PageManifest) canonicalize() {
	m.Pages = sorted(m.Pages, byIx)
	m.Seqs = sorted(m.Seqs, byID)
}

// Check returns ErrInvalid if m contradicts itself: a repeated page or
// sequence id, a sequence on a page that is not there, a fill that is not less
// than a page.
func (m *PageManifest) Check() error { return m.check(invalid) }

func (m *PageManifest) check(fault func(string, ...any) error) error {
	pages := sorted(m.Pages, byIx)
	for i := 1; i < len(pages); i++ {
		if pages[i].Ix == pages[i-1].Ix {
			return fault("page %d occurs twice", pages[i].Ix)
		}
	}
	seqs := sorted(m.Seqs, byID)
	for i := range seqs {
		if i > 0 && seqs[i].ID == seqs[i-1].ID {
			return fault("sequence %q occurs twice", seqs[i].ID)
		}
		if why := m.fault(pages, &seqs[i]); why != "" {
			return fault("sequence %q %s", seqs[i].ID, why)
		}
	}
	return nil
}

// fault says what is wrong with s; pages are ascending.
func (m *PageManifest) fault(pages []Page, s *pager.LogicalSeq) string {
	if s.FillInLastPage != 0 && s.FillInLastPage >= m.Meta.PageTokens {
		return fmt.Sprintf("fills %d of %d tokens in its last page", s.FillInLastPage, m.Meta.PageTokens)
	}
	dense := len(pages) > 0 && int64(pages[len(pages)-1].Ix) == int64(len(pages))-1 && pages[0].Ix == 0
	for _, p := range s.Pages {
		ok := int64(p) < int64(len(pages))
		if !dense {
			_, ok = slices.BinarySearchFunc(pages, uint32(p), func(q Page, ix uint32) int { return byIx(q, Page{Ix: ix}) })
		}
		if !ok {
			return fmt.Sprintf("names page %d, which was not captured", p)
		}
	}
	return ""
}
