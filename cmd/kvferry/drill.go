package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cmd/kvferry/internal/doctor"
	"github.com/kvferry/kvferry/digest"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// freshEngines returns an empty engine for each group of a snapshot, of the
// wanted geometry if there is one.
func freshEngines(s *manifest.Snapshot, want *pager.Meta) ([]*synthetic.Engine, error) {
	if err := fitAll(s, want); err != nil {
		return nil, err
	}
	var engines []*synthetic.Engine
	for i := range s.Groups {
		g := &s.Groups[i]
		cfg := synthetic.Config{Meta: g.Meta}
		if want != nil {
			cfg.Meta = *want
		}
		e, err := cfg.Empty(g.Table.Pages())
		if err != nil {
			for _, e := range engines {
				err = errors.Join(err, e.Close())
			}
			return nil, err
		}
		engines = append(engines, e)
	}
	return engines, nil
}

// fitAll returns ErrOutOfMemory if the engines of a snapshot cannot have the
// memory that they need.
func fitAll(s *manifest.Snapshot, want *pager.Meta) error {
	need := int64(0)
	for i := range s.Groups {
		cfg := synthetic.Config{Meta: s.Groups[i].Meta, Pages: s.Groups[i].Table.Pages()}
		if want != nil {
			cfg.Meta = *want
		}
		need += engineBytes(cfg)
	}
	if err := fits(need, doctor.Available(nil)); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return nil
}

// compareGroup reads every page of a group back out of an engine and compares
// its digests with the page table, and the engine's sequences with the
// snapshot's. A difference is ErrCorrupt.
func compareGroup(ctx context.Context, g *manifest.Group, e *synthetic.Engine, at []pager.PageID) error {
	if len(at) != g.Table.Pages() {
		return fmt.Errorf("restore: %s of %d were restored: %w", count(len(at), "page"), g.Table.Pages(), kvferry.ErrCorrupt)
	}
	occupied, err := e.OccupiedPages(ctx)
	if err != nil {
		return err
	}
	if len(occupied) != len(at) {
		return fmt.Errorf("restore: the engine holds %s, the snapshot %d: %w", count(len(occupied), "page"), len(at), kvferry.ErrCorrupt)
	}
	if err := comparePages(ctx, g, e, at); err != nil {
		return err
	}
	return compareSequences(ctx, g, e, at)
}

func comparePages(ctx context.Context, g *manifest.Group, e *synthetic.Engine, at []pager.PageID) error {
	// Without a key: a tenant's snapshot is not restored by the command.
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	if err != nil {
		return err
	}
	buf := make([]byte, g.Meta.PageBytes())
	for n, id := range at {
		if err := e.ReadPage(ctx, id, buf); err != nil {
			return err
		}
		rest := buf
		for p, part := range g.Meta.Parts {
			if err := h.Check(g.Table.Digest(n, p), rest[:part.Bytes]); err != nil {
				return fmt.Errorf("restore: page %d, part %s, as read back: %w", id, part.Kind, err)
			}
			rest = rest[part.Bytes:]
		}
	}
	return nil
}

func compareSequences(ctx context.Context, g *manifest.Group, e *synthetic.Engine, at []pager.PageID) error {
	got, err := e.LogicalSeqs(ctx)
	if err != nil {
		return err
	}
	if len(got) != len(g.Sequences) {
		return fmt.Errorf("restore: the engine holds %s, the snapshot %d: %w", count(len(got), "sequence"), len(g.Sequences), kvferry.ErrCorrupt)
	}
	for _, s := range g.Sequences {
		want := pager.LogicalSeq{ID: s.ID, FillInLastPage: s.FillInLastPage}
		for _, n := range s.Pages {
			want.Pages = append(want.Pages, at[n])
		}
		if !slices.ContainsFunc(got, want.Equal) {
			return fmt.Errorf("restore: sequence %q is not in the engine as captured: %w", s.ID, kvferry.ErrCorrupt)
		}
	}
	return nil
}
