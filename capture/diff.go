package capture

import (
	"bytes"
	"context"
	"fmt"
	"sort"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture/manifest"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/digest"
)

// DiffReport says how two snapshots differ. Pages are compared by content.
type DiffReport struct {
	A, B digest.Digest
	// SamePages counts B's pages whose content A has too; OnlyA and OnlyB the
	// pages whose content the other lacks.
	SamePages, OnlyA, OnlyB           int
	SameBytes, OnlyABytes, OnlyBBytes int64
	Sequences                         []SequenceDiff // by group, then id
}

// SequenceState says how a sequence of two snapshots compares.
type SequenceState string

// The states of a sequence.
const (
	Same    SequenceState = "same"
	Changed SequenceState = "changed"
	OnlyInA SequenceState = "only-a"
	OnlyInB SequenceState = "only-b"
)

// SequenceDiff compares one sequence.
type SequenceDiff struct {
	ID, Group        string
	State            SequenceState
	TokensA, TokensB uint64
	// CommonTokens is the number of tokens in the leading pages that are equal
	// in both.
	CommonTokens uint64
}

// Diff compares two snapshots of one store, by their page tables alone. They
// must have the same groups and geometries (else ErrLayoutMismatch) and be
// addressed by the same algorithm (else ErrUnsupported: convert one first).
func Diff(ctx context.Context, s cas.Store, a, b digest.Digest, o LoadOptions) (DiffReport, error) {
	sa, _, err := Load(ctx, s, a, o)
	if err != nil {
		return DiffReport{}, err
	}
	sb, _, err := Load(ctx, s, b, o)
	if err != nil {
		return DiffReport{}, err
	}
	rep := DiffReport{A: a, B: b}
	if len(sa.Groups) != len(sb.Groups) {
		return DiffReport{}, fmt.Errorf("capture: diff of %d and %d KV groups: %w", len(sa.Groups), len(sb.Groups), kvferry.ErrLayoutMismatch)
	}
	for i := range sa.Groups {
		ga, gb := &sa.Groups[i], &sb.Groups[i]
		if ga.Name != gb.Name || !ga.Meta.Equal(gb.Meta) {
			return DiffReport{}, fmt.Errorf("capture: diff of groups %q (%v) and %q (%v): %w",
				ga.Name, ga.Meta, gb.Name, gb.Meta, kvferry.ErrLayoutMismatch)
		}
		if ga.Table.Algorithm() != gb.Table.Algorithm() {
			return DiffReport{}, fmt.Errorf("capture: diff of %v and %v digests: %w",
				ga.Table.Algorithm(), gb.Table.Algorithm(), kvferry.ErrUnsupported)
		}
		rep.group(ga, gb)
	}
	return rep, nil
}

// group adds one group's comparison.
func (r *DiffReport) group(a, b *manifest.Group) {
	size := int64(a.Meta.PageBytes())
	inA, inB := rowsOf(a), rowsOf(b)
	for n := range b.Table.Pages() {
		if inA.has(b.Table.Row(n)) {
			r.SamePages++
			r.SameBytes += size
		} else {
			r.OnlyB++
			r.OnlyBBytes += size
		}
	}
	for n := range a.Table.Pages() {
		if !inB.has(a.Table.Row(n)) {
			r.OnlyA++
			r.OnlyABytes += size
		}
	}
	r.sequences(a, b)
}

func rowsOf(g *manifest.Group) *rows {
	set := newRows(g.Table.Pages(), g.Table.Row)
	for n := range g.Table.Pages() {
		set.add(n)
	}
	return set
}

// sequences compares sequences by id; both lists are ascending.
func (r *DiffReport) sequences(a, b *manifest.Group) {
	first := len(r.Sequences)
	inB := make(map[string]int, len(b.Sequences))
	for i := range b.Sequences {
		inB[b.Sequences[i].ID] = i
	}
	for i := range a.Sequences {
		sa := &a.Sequences[i]
		d := SequenceDiff{ID: sa.ID, Group: a.Name, State: OnlyInA, TokensA: tokens(a, sa)}
		if k, ok := inB[sa.ID]; ok {
			sb := &b.Sequences[k]
			delete(inB, sa.ID)
			d.TokensB = tokens(b, sb)
			d.State, d.CommonTokens = compare(a, b, sa, sb)
		}
		r.Sequences = append(r.Sequences, d)
	}
	for id, k := range inB {
		r.Sequences = append(r.Sequences, SequenceDiff{ID: id, Group: b.Name, State: OnlyInB, TokensB: tokens(b, &b.Sequences[k])})
	}
	added := r.Sequences[first:]
	sort.Slice(added, func(i, j int) bool { return added[i].ID < added[j].ID })
}

func tokens(g *manifest.Group, s *manifest.Sequence) uint64 {
	return tokensIn(g.Meta.PageTokens, len(s.Pages), s.FillInLastPage)
}

func tokensIn(pageTokens uint32, pages int, fill uint32) uint64 {
	switch {
	case pages == 0:
		return 0
	case fill == 0:
		return uint64(pages) * uint64(pageTokens)
	}
	return uint64(pages-1)*uint64(pageTokens) + uint64(fill)
}

// compare walks the leading pages that two sequences have in common.
func compare(a, b *manifest.Group, sa, sb *manifest.Sequence) (SequenceState, uint64) {
	n := 0
	for n < min(len(sa.Pages), len(sb.Pages)) &&
		bytes.Equal(a.Table.Row(int(sa.Pages[n])), b.Table.Row(int(sb.Pages[n]))) {
		n++
	}
	common := min(tokensIn(a.Meta.PageTokens, n, 0), tokens(a, sa), tokens(b, sb))
	if n == len(sa.Pages) && n == len(sb.Pages) && sa.FillInLastPage == sb.FillInLastPage {
		return Same, common
	}
	return Changed, common
}
