// Package pages holds the page data of the benchmarks: real pages of models,
// read from files, and synthetic ones that are like them, with the statistics
// that show how like.
//
// A set is two files. NAME.kv has its pages back to back: each K, then V, each
// [layers][tokens of a page][KV heads][head dimension], bfloat16, little-endian,
// K after RoPE; the slots behind the end of a text are zero. NAME.json has what
// these keys say, besides others that are not read:
//
//	n_layers, page_size_tokens, n_kv_heads, head_dim    the geometry
//	dtype         "bfloat16"
//	page_bytes    length of a page
//	pages         their number
//	page_sha256   of each page, in hexadecimal; may be left out
package pages

import (
	"context"
	"errors"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/synthetic"
)

// BuiltIn is the folder of the real pages that come with the source, seen from
// its root. The program does not contain them.
const BuiltIn = "codec/planes/testdata"

// Geometry is that of a page.
type Geometry struct {
	Layers, Tokens, Heads, Dim int
}

// Channels is the number of values of a token in a layer's K or V.
func (g Geometry) Channels() int { return g.Heads * g.Dim }

// Segments is how many pieces of [tokens][channels] a page has: first those of
// K, one for each layer, then those of V.
func (g Geometry) Segments() int { return 2 * g.Layers }

// SegmentBytes is the length of such a piece.
func (g Geometry) SegmentBytes() int { return 2 * g.Tokens * g.Channels() }

// PageBytes is the length of a page.
func (g Geometry) PageBytes() int { return g.Segments() * g.SegmentBytes() }

// most is a bound on each number of a geometry, so that no product overflows.
const most = 1 << 12

// Validate reports a geometry that no page has, as ErrInvalid.
func (g Geometry) Validate() error {
	for _, n := range []int{g.Layers, g.Tokens, g.Heads, g.Dim} {
		if n < 1 || n > most {
			return fmt.Errorf("pages: geometry %+v, want each from 1 to %d: %w", g, most, kvferry.ErrInvalid)
		}
	}
	return nil
}

// Set is pages of one geometry. Nobody changes them.
type Set struct {
	Name string
	Geometry
	Pages [][]byte
	// Real says that a model made the pages.
	Real bool
}

// Bytes is the length of all pages.
func (s *Set) Bytes() int64 { return int64(len(s.Pages)) * int64(s.PageBytes()) }

// Synthetic makes n pages like the keys and values of a model. Equal arguments
// give equal pages, page i does not depend on n, and other seeds give other
// pages. See the engine's PopulateKV for how they are made. While it makes them
// it takes twice their memory.
func Synthetic(g Geometry, n int, seed uint64) (*Set, error) {
	if err := g.Validate(); err != nil {
		return nil, err
	}
	meta, err := pager.Plain(uint32(g.Tokens), uint32(g.Layers), uint32(g.Heads), uint32(g.Dim), pager.BF16)
	if err != nil {
		return nil, err
	}
	e, err := synthetic.New(synthetic.Options{Meta: meta, Capacity: max(n, 1)})
	if err != nil {
		return nil, err
	}
	s := &Set{Name: "synthetic", Geometry: g}
	if err = e.PopulateKV(n, seed); err == nil {
		s.Pages, err = read(e, n, g.PageBytes())
	}
	return s, errors.Join(err, e.Close())
}

// read copies the first n pages of an engine to one piece of memory.
func read(e *synthetic.Engine, n, size int) ([][]byte, error) {
	all, pages := make([]byte, n*size), make([][]byte, n)
	for i := range pages {
		pages[i] = all[i*size:][:size:size]
		if err := e.ReadPage(context.Background(), pager.PageID(i), pages[i]); err != nil {
			return nil, err
		}
	}
	return pages, nil
}
