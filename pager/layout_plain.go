package pager

import (
	"fmt"

	"github.com/kvferry/kvferry"
)

// Strides are the distances in bytes from one element of a plain part to the
// next along each axis of the engine's memory.
type Strides struct {
	Layer, Token, Head, Dim int64
}

// PlainRuns returns the runs that map layers first to first+n-1 of a part in
// FormPlain. Element (layer, token, head, dim) lies at
//
//	local + (layer-first)*s.Layer + token*s.Token + head*s.Head + dim*s.Dim
//
// from the page's place in the region. An engine with one tensor per layer
// calls it once for each with n = 1. Negative and overflowing numbers are
// ErrInvalid; whether the runs fit the region is for Layout.Validate.
func (m Meta) PlainRuns(region int, local int64, first, n uint32, s Strides) ([]Run, error) {
	if uint64(first)+uint64(n) > uint64(m.Layers) {
		return nil, fmt.Errorf("pager: layers %d to %d of %d: %w", first, uint64(first)+uint64(n), m.Layers, kvferry.ErrInvalid)
	}
	for _, v := range [...]int64{local, s.Layer, s.Token, s.Head, s.Dim} {
		if v < 0 {
			return nil, fmt.Errorf("pager: offset %d and strides %+v, none may be negative: %w", local, s, kvferry.ErrInvalid)
		}
	}
	elem := int64(m.Dtype.Bytes())
	row := int64(m.HeadDim) * elem
	_, ok := sum(uint64(local), times(int64(n), s.Layer), times(int64(m.PageTokens), s.Token),
		times(int64(m.KVHeads), s.Head), times(int64(m.HeadDim), s.Dim))
	if bytes, fits := product(uint64(m.Layers), uint64(m.PageTokens), uint64(m.KVHeads), uint64(row)); !ok || !fits || bytes > MaxPageBytes {
		return nil, fmt.Errorf("pager: strides %+v of %v overflow: %w", s, m, kvferry.ErrInvalid)
	}
	if m.PageTokens == 0 || m.KVHeads == 0 || row == 0 {
		return nil, nil
	}
	return m.plainRuns(region, local, int64(first), int64(n), s, elem)
}

// plainRuns makes one run for each stretch that one stride describes: all
// tokens of a layer where a token's heads are neighbours, else all tokens of a
// head, else all elements of a row.
func (m Meta) plainRuns(region int, local, first, n int64, s Strides, elem int64) ([]Run, error) {
	tokens, heads, dim := int64(m.PageTokens), int64(m.KVHeads), int64(m.HeadDim)
	row := dim * elem
	whole := s.Dim == elem || dim == 1
	if count := n * heads * tokens; !whole && count > MaxFragments {
		return nil, fmt.Errorf("pager: a page of more than %d fragments: %w", MaxFragments, kvferry.ErrInvalid)
	}
	var runs []Run
	for l := range n {
		canonical, at := (first+l)*tokens*heads*row, local+l*s.Layer
		if whole && (s.Head == row || heads == 1) {
			runs = append(runs, Run{region, at, canonical, heads * row, tokens, s.Token, heads * row})
			continue
		}
		for h := range heads {
			if whole {
				runs = append(runs, Run{region, at + h*s.Head, canonical + h*row, row, tokens, s.Token, heads * row})
				continue
			}
			for t := range tokens {
				runs = append(runs, Run{region, at + h*s.Head + t*s.Token, canonical + (t*heads+h)*row, elem, dim, s.Dim, elem})
			}
		}
	}
	return runs, nil
}
