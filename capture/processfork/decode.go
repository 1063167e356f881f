package processfork

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
)

// Extra is what a page manifest says beyond the group that it holds.
type Extra struct {
	// Manifest is the content as it stands in the file; encoding it gives the
	// file's digest again if the file was in canonical form.
	Manifest *PageManifest
	// Name that the Python adapters give to a cache; empty elsewhere.
	Name string
	// NoSequences reports that logical_seqs was missing (lenient only).
	NoSequences bool
	// RepeatedPages counts entries whose page comes again later; the later
	// one counts (lenient only).
	RepeatedPages int
	// Omitted lists sequences that the group cannot hold (lenient only).
	Omitted []Omission
}

// Omission is a sequence that a lenient reader left out.
type Omission struct {
	ID  string
	Why string
}

// DecodeManifest reads a page manifest as a group without a name whose pages
// are numbered by manifest.Number and whose Indices are the manifest's ix.
//
// Text that is not a page manifest, and in strict mode one that contradicts
// itself, is ErrCorrupt; another layout, or a page beyond pager.MaxPageBytes,
// is ErrUnsupported. In lenient mode the later of two entries for one page
// counts, a fill of a whole page is read as 0, and a sequence whose id was
// there before, that names a page which was not captured or fills more than a
// page is left out and listed in Extra.
func DecodeManifest(data []byte, o Options) (*manifest.Group, Extra, error) {
	p, err := parse(data, o)
	if err != nil {
		return nil, Extra{}, err
	}
	m := &p.manifest
	x := Extra{Manifest: m, Name: p.name, NoSequences: p.noSeqs}
	use := *m
	use.canonicalize()
	if o.Lenient {
		use.settle(&x)
	} else if err := use.check(corrupt); err != nil {
		return nil, Extra{}, err
	}
	g, err := use.group()
	if err != nil {
		return nil, Extra{}, fmt.Errorf("processfork: page manifest: %w", err)
	}
	return g, x, nil
}

// settle drops from m, which is in canonical order, what a group cannot hold.
func (m *PageManifest) settle(x *Extra) {
	var pages []Page
	for i, p := range m.Pages {
		if i+1 < len(m.Pages) && m.Pages[i+1].Ix == p.Ix {
			x.RepeatedPages++
		}
	}
	if x.RepeatedPages > 0 {
		for i, p := range m.Pages {
			if i+1 == len(m.Pages) || m.Pages[i+1].Ix != p.Ix {
				pages = append(pages, p)
			}
		}
		m.Pages = pages
	}
	seqs := make([]pager.LogicalSeq, 0, len(m.Seqs))
	for i, s := range m.Seqs {
		if s.FillInLastPage == m.Meta.PageTokens {
			s.FillInLastPage = 0
		}
		why := m.fault(m.Pages, &s)
		if i > 0 && s.ID == m.Seqs[i-1].ID {
			why = "occurs twice"
		}
		if why != "" {
			x.Omitted = append(x.Omitted, Omission{ID: s.ID, Why: why})
			continue
		}
		seqs = append(seqs, s)
	}
	m.Seqs = seqs
}

// group returns m, which is in canonical order and free of contradictions, as
// a group.
func (m *PageManifest) group() (*manifest.Group, error) {
	ixs := make([]pager.PageID, len(m.Pages))
	for i := range m.Pages {
		ixs[i] = pager.PageID(m.Pages[i].Ix)
	}
	order, seqs, err := manifest.Number(ixs, m.Seqs)
	if err != nil {
		return nil, err
	}
	g := &manifest.Group{Meta: m.Meta, Indices: order, Sequences: seqs}
	g.Table = manifest.NewTable(digest.SHA256, len(order), 2)
	for i, id := range order {
		at := i // the usual case: pages are numbered in order of their ix
		if ixs[i] != id {
			at, _ = slices.BinarySearch(ixs, id)
		}
		g.Table.Set(i, 0, m.Pages[at].K)
		g.Table.Set(i, 1, m.Pages[at].V)
	}
	return g, nil
}
