package manifest

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

// The bounds of a snapshot. What is beyond them is refused by Encode and
// Decode, before memory for it is taken.
const (
	MaxDocumentBytes = 256 << 20 // of the root document
	MaxGroups        = 4096      // in one snapshot
	MaxPages         = 1 << 28   // of all groups together
	MaxDigests       = 1 << 26   // parts of all pages of all groups together: 2 GiB of table
	MaxReferences    = 1 << 27   // pages named by all sequences together
)

// Snapshot is what was captured: whose cache it was, and its groups. The pages
// themselves are blobs that the groups' tables name.
type Snapshot struct {
	Identity identity.Identity
	Groups   []Group
}

// Group is one KV group of a snapshot. Its pages are numbered from 0 as Number
// does it.
type Group struct {
	// Name of the KV group; empty if there is only one.
	Name  string
	Meta  pager.Meta
	Table Table // digests of the parts of each page
	// Indices holds the engine's index of each page at capture, a hint for
	// pagers that can reserve indices; nil or as long as Table.Pages().
	Indices   []pager.PageID
	Sequences []Sequence // ascending by ID, bytewise, without repeats
}

// Sequence is a logical sequence on the pages of a snapshot.
type Sequence struct {
	ID    string
	Pages []uint32 // page numbers within the group, in token order
	// FillInLastPage is the number of occupied token slots of the last page;
	// 0 means that it is full, or that there is no page.
	FillInLastPage uint32
}

// Validate returns ErrInvalid unless s can be stored: at least one group,
// group names without repeats, text in UTF-8, valid geometries, tables that fit
// them, distinct indices, sequences in order that name pages of their group
// and whose fill is less than a page, and all of it within the package's
// bounds.
func (s *Snapshot) Validate() error {
	if len(s.Groups) == 0 || len(s.Groups) > MaxGroups {
		return invalid("%d groups, want 1 to %d", len(s.Groups), MaxGroups)
	}
	if err := validIdentity(s.Identity); err != nil {
		return err
	}
	var total totals
	names := make(map[string]struct{}, len(s.Groups))
	for i := range s.Groups {
		g := &s.Groups[i]
		if _, dup := names[g.Name]; dup || !utf8.ValidString(g.Name) {
			return invalid("group name %q repeats or is not UTF-8", g.Name)
		}
		names[g.Name] = struct{}{}
		if err := g.validate(&total); err != nil {
			return fmt.Errorf("manifest: group %q: %w", g.Name, err)
		}
	}
	return nil
}

func validIdentity(id identity.Identity) error {
	texts := []string{id.Model, id.Weights, id.Tokenizer, id.Tenant}
	if id.Adapter != nil {
		texts = append(texts, *id.Adapter)
	}
	for _, t := range texts {
		if !utf8.ValidString(t) {
			return invalid("identity %q is not UTF-8", t)
		}
	}
	return nil
}

// totals counts what the bounds are about.
type totals struct{ pages, digests, references int }

func (t *totals) add(pages, parts, references int) error {
	t.pages += pages
	t.digests += pages * parts
	t.references += references
	if t.pages > MaxPages || t.digests > MaxDigests || t.references > MaxReferences {
		return invalid("%d pages, %d parts, %d references exceed %d, %d, %d",
			t.pages, t.digests, t.references, MaxPages, MaxDigests, MaxReferences)
	}
	return nil
}

func (g *Group) validate(total *totals) error {
	if err := validMeta(g.Meta); err != nil {
		return err
	}
	pages := g.Table.Pages()
	if g.Table.Parts() != len(g.Meta.Parts) {
		return invalid("table of %d parts for pages of %d", g.Table.Parts(), len(g.Meta.Parts))
	}
	if !g.Table.Algorithm().Valid() {
		return invalid("table without an algorithm")
	}
	references := 0
	for i := range g.Sequences {
		references += len(g.Sequences[i].Pages)
	}
	if err := total.add(pages, len(g.Meta.Parts), references); err != nil {
		return err
	}
	if g.Indices != nil && len(g.Indices) != pages {
		return invalid("%d indices for %d pages", len(g.Indices), pages)
	}
	if d, ok := repeat(g.Indices); ok {
		return invalid("engine index %d occurs twice", d)
	}
	return validSequences(g.Sequences, pages, g.Meta.PageTokens)
}

func validMeta(m pager.Meta) error {
	for _, p := range m.Parts {
		if !utf8.ValidString(p.Form) {
			return invalid("form name %q is not UTF-8", p.Form)
		}
	}
	return m.Validate()
}

func validSequences(seqs []Sequence, pages int, pageTokens uint32) error {
	for i := range seqs {
		s := &seqs[i]
		if !utf8.ValidString(s.ID) {
			return invalid("sequence id %q is not UTF-8", s.ID)
		}
		if i > 0 && s.ID <= seqs[i-1].ID {
			return invalid("sequence %q repeats or is out of order", s.ID)
		}
		if s.FillInLastPage != 0 && s.FillInLastPage >= pageTokens {
			return invalid("sequence %q fills %d of %d tokens in its last page", s.ID, s.FillInLastPage, pageTokens)
		}
		for _, p := range s.Pages {
			if int64(p) >= int64(pages) {
				return invalid("sequence %q names page %d of %d", s.ID, p, pages)
			}
		}
	}
	return nil
}

// repeat returns an index that occurs twice.
func repeat(ids []pager.PageID) (pager.PageID, bool) {
	if ascending(ids) {
		return 0, false
	}
	sorted := slices.Clone(ids)
	slices.Sort(sorted)
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			return sorted[i], true
		}
	}
	return 0, false
}

// ascending reports whether ids rise strictly.
func ascending(ids []pager.PageID) bool {
	for i := 1; i < len(ids); i++ {
		if ids[i] <= ids[i-1] {
			return false
		}
	}
	return true
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("manifest: "+format+": %w", append(args, kvferry.ErrInvalid)...)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("manifest: "+format+": %w", append(args, kvferry.ErrCorrupt)...)
}
