package main

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/identity"
	"github.com/kvferry/kvferry/pager"
)

// inspection is the JSON document of inspect.
type inspection struct {
	Digest    string             `json:"digest"`
	Names     []string           `json:"names"`
	Format    string             `json:"format"`
	Created   string             `json:"created,omitempty"`
	Image     string             `json:"image,omitempty"`
	Identity  *identity.Identity `json:"identity,omitempty"` // if stated
	Groups    []groupView        `json:"groups"`
	PageCount int                `json:"page_count"`
	Bytes     int64              `json:"bytes"`
	Stored    *int64             `json:"stored_bytes,omitempty"` // with --stored
	Sequences []sequenceView     `json:"sequences"`
	Pages     []pageView         `json:"pages,omitempty"` // with --pages
}

type groupView struct {
	Name        string     `json:"name"`
	PageTokens  uint32     `json:"page_tokens"`
	Layers      uint32     `json:"layers"`
	KVHeads     uint32     `json:"kv_heads"`
	HeadDim     uint32     `json:"head_dim"`
	Dtype       string     `json:"dtype"`
	PageBytes   int        `json:"page_bytes"`
	Pages       int        `json:"pages"`
	Fingerprint string     `json:"fingerprint"`
	Parts       []partForm `json:"parts"`
}

type partForm struct {
	Kind  string `json:"kind"`
	Bytes int    `json:"bytes"`
	Form  string `json:"form"`
}

// sequenceView names pages as pageView.Index does.
type sequenceView struct {
	ID     string   `json:"id"`
	Group  string   `json:"group,omitempty"`
	Pages  []uint32 `json:"pages"`
	Fill   uint32   `json:"fill"` // token slots used in the last page; 0 means all
	Tokens uint64   `json:"tokens"`
}

type pageView struct {
	Group string `json:"group,omitempty"`
	// Index is the engine's at capture where the snapshot knows it, else
	// Number.
	Index  uint32     `json:"index"`
	Number uint32     `json:"number"` // within the group of the snapshot
	Parts  []partView `json:"parts"`
}

type partView struct {
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
}

func (a *app) inspectCommand() *cobra.Command {
	var pages, stored, lenient bool
	c := &cobra.Command{
		Use:   "inspect REF [--pages] [--stored] [--store URL]",
		Short: "Show what a snapshot holds: geometry, sequences, pages",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withStore(c.Context(), readAccess, func(ctx context.Context, s cas.Store) error {
				e, err := resolve(ctx, s, args[0])
				if err != nil {
					return err
				}
				snap, format, err := capture.Load(ctx, s, e.Root, capture.LoadOptions{Lenient: lenient})
				if err != nil {
					return err
				}
				e.Format = format
				v := inspectionOf(e, snap, pages)
				if stored {
					n, err := storedBytes(ctx, s, snap)
					if err != nil {
						return err
					}
					v.Stored = &n
				}
				return a.print(v, func(w io.Writer) error { return v.write(w, e) })
			})
		},
	}
	c.Flags().BoolVar(&pages, "pages", false, "list every page with the digests of its parts")
	c.Flags().BoolVar(&stored, "stored", false, "tell what the pages take in the store, which lists all of its blobs")
	c.Flags().BoolVar(&lenient, "lenient", false, "accept inconsistent ProcessFork manifests that ProcessFork accepts")
	return c
}

func inspectionOf(e cas.Entry, snap *manifest.Snapshot, pages bool) inspection {
	s := snapshotOf(e)
	v := inspection{
		Digest: s.Digest, Names: s.Names, Format: s.Format, Created: s.Created, Image: s.Image,
		Sequences: []sequenceView{},
	}
	if snap.Identity.Stated() {
		v.Identity = &snap.Identity
	}
	for i := range snap.Groups {
		g := &snap.Groups[i]
		v.Groups = append(v.Groups, groupViewOf(g))
		v.PageCount += g.Table.Pages()
		v.Bytes += int64(g.Table.Pages()) * int64(g.Meta.PageBytes())
		v.Sequences = append(v.Sequences, sequenceViews(g)...)
		if pages {
			v.Pages = append(v.Pages, pageViews(g)...)
		}
	}
	return v
}

func groupViewOf(g *manifest.Group) groupView {
	m := g.Meta
	v := groupView{
		Name: g.Name, PageTokens: m.PageTokens, Layers: m.Layers, KVHeads: m.KVHeads, HeadDim: m.HeadDim,
		Dtype: m.Dtype.String(), PageBytes: m.PageBytes(), Pages: g.Table.Pages(), Fingerprint: m.Fingerprint().String(),
	}
	for _, p := range m.Parts {
		v.Parts = append(v.Parts, partForm{string(p.Kind), p.Bytes, p.Form})
	}
	return v
}

// indexOf returns what a page of a group is called.
func indexOf(g *manifest.Group, number uint32) uint32 {
	if g.Indices == nil {
		return number
	}
	return uint32(g.Indices[number])
}

func sequenceViews(g *manifest.Group) []sequenceView {
	var out []sequenceView
	for _, s := range g.Sequences {
		v := sequenceView{ID: s.ID, Group: g.Name, Pages: make([]uint32, len(s.Pages)), Fill: s.FillInLastPage, Tokens: tokens(g, s)}
		for i, n := range s.Pages {
			v.Pages[i] = indexOf(g, n)
		}
		out = append(out, v)
	}
	return out
}

func tokens(g *manifest.Group, s manifest.Sequence) uint64 {
	l := pager.LogicalSeq{Pages: make([]pager.PageID, len(s.Pages)), FillInLastPage: s.FillInLastPage}
	return l.Tokens(g.Meta.PageTokens)
}

func pageViews(g *manifest.Group) []pageView {
	out := make([]pageView, g.Table.Pages())
	for n := range out {
		out[n] = pageView{Group: g.Name, Index: indexOf(g, uint32(n)), Number: uint32(n)}
		for p, part := range g.Meta.Parts {
			out[n].Parts = append(out[n].Parts, partView{string(part.Kind), g.Table.Digest(n, p).String()})
		}
	}
	slices.SortFunc(out, func(a, b pageView) int { return cmp.Compare(a.Index, b.Index) })
	return out
}
