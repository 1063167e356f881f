// Package codecs measures codecs for pages of bfloat16: kvferry's own beside a
// copy, beside general compressors and beside ZipNN, on real and on synthetic
// pages.
//
// What is coded are blobs as stores keep them: the K and the V of a page, each
// by itself, in one thread. Before anything is timed, every blob is coded and
// decoded, and held to itself bit for bit.
package codecs

import (
	"context"
	"errors"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

// Suite measures codecs.
func Suite() harness.Suite {
	return harness.Suite{Name: "codec", Title: "Codecs of pages", Run: run}
}

// beyondCaches are the methods that are also measured on memory that no cache
// holds.
var beyondCaches = map[string]bool{memcpy: true, fast: true, auto: true}

func run(ctx context.Context, e *harness.Env, s *harness.Section) error {
	sets, err := choose(e, s)
	if err != nil {
		return err
	}
	pages.Describe(s, sets...)
	s.Note("Blobs are the K or V of a page. In cache, one blob is coded again and again and counts with its fastest time; " +
		"in memory (dram), the codecs walk through 64 MiB of blobs by turns of 2 MiB, the median of which counts. One thread, plain bytes per second. All came back bit for bit. " +
		"The peer's program codes the same blobs (of=part), which are held against ours, and whole files (of=file), which cannot " +
		"be read by the page: what a call of it costs by itself counts in short blobs. " +
		"Other elements (elements=) are the real pages converted as engines do: e4m3 with a scale for each layer's K and V, e5m2 and f16 without, the bits that bfloat16 lacks drawn.")
	all := newPeers(e, sets)
	defer all.close()
	var found [][]*subject
	for _, set := range sets {
		subjects, err := prepare(set)
		if err != nil {
			return err
		}
		found = append(found, subjects)
	}
	if err := measure(ctx, e, sets, found, all); err != nil {
		return err
	}
	for i, set := range sets {
		all.judge(s, set, found[i])
	}
	all.open(s, sets)
	for _, set := range sets {
		if !set.Real {
			continue
		}
		if err := others(s, set); err != nil {
			return err
		}
	}
	all.report(s)
	return nil
}

// choose returns the pages to measure: the real ones if there are, and
// synthetic ones.
func choose(e *harness.Env, s *harness.Section) ([]*pages.Set, error) {
	sets, err := pages.Folder(e.Models)
	switch {
	case errors.Is(err, kvferry.ErrNotFound) && e.Models == "":
		s.Miss("real pages", "they are read from "+pages.BuiltIn+" below the folder that the program is started in")
	case err != nil:
		return nil, err
	}
	n := map[harness.Scale]int{harness.Smoke: 1, harness.Quick: 8, harness.Full: 24}[e.Scale]
	made, err := pages.Synthetic(pages.Geometry{Layers: 6, Tokens: 16, Heads: 8, Dim: 128}, n, 1)
	if err != nil {
		return nil, err
	}
	if e.Scale == harness.Smoke {
		for _, set := range sets {
			set.Pages = set.Pages[:min(2, len(set.Pages))]
		}
	}
	return append(sets, made), nil
}

// prepare makes the subjects of a set.
func prepare(set *pages.Set) ([]*subject, error) {
	var all []*subject
	for _, m := range methods() {
		x, err := newSubject(m, set)
		if err != nil {
			return nil, err
		}
		all = append(all, x)
	}
	return all, nil
}

// round measures every subject of a set once, each round beginning with another
// one.
func round(ctx context.Context, r int, set *pages.Set, subjects []*subject, scale harness.Scale) error {
	var far []*subject
	for i := range subjects {
		x := subjects[(r+i)%len(subjects)]
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := x.inCache(scale); err != nil {
			return err
		}
		if x.dram != nil {
			far = append(far, x)
		}
	}
	total := beyond
	if scale == harness.Smoke {
		total = 1 << 20
	}
	return newArena(set, total, far).measure()
}
