package pager

import (
	"fmt"
	"slices"

	"github.com/kvferry/kvferry"
)

// The layouts of this file are the ones that vLLM and SGLang use. An engine
// with another one describes it with Run and Region, or with PlainRuns.

// axes are the dimensions of a plain part in bytes, and what of m is needed to
// lay them out.
type axes struct {
	layers, tokens, heads, row int64 // row: the bytes of one head
	pages                      int64
}

func axesOf(m Meta, pages int) (axes, error) {
	if !m.IsPlain() {
		return axes{}, fmt.Errorf("pager: layout for %v, which is not plain: %w", m, kvferry.ErrInvalid)
	}
	if pages < 0 || uint64(pages) > MaxPages {
		return axes{}, fmt.Errorf("pager: layout of %d pages, want 0 to %d: %w", pages, int64(MaxPages), kvferry.ErrInvalid)
	}
	if m.Layers > MaxFragments {
		return axes{}, fmt.Errorf("pager: layout of %d layers, want at most %d: %w", m.Layers, MaxFragments, kvferry.ErrInvalid)
	}
	if m.PageBytes() == 0 {
		return axes{}, nil // the other dimensions may be anything
	}
	// A plain page is at most 2^31 bytes and there are at most 2^32 of them:
	// their product overflows at both limits only, to a negative length that
	// Validate refuses.
	return axes{int64(m.Layers), int64(m.PageTokens), int64(m.KVHeads), int64(m.HeadDim) * int64(m.Dtype.Bytes()), int64(pages)}, nil
}

// perLayer describes engines with one tensor per layer, hence one region per
// layer, K beginning at 0 and V at v.
func perLayer(m Meta, pages int, r Region, v int64, s Strides) (*Layout, error) {
	l := &Layout{Meta: m, Pages: pages, Runs: make([][]Run, 2)}
	for i := range m.Layers {
		l.Regions = append(l.Regions, r)
		for part, local := range []int64{0, v} {
			runs, err := m.PlainRuns(int(i), local, i, 1, s)
			if err != nil {
				return nil, err
			}
			l.Runs[part] = append(l.Runs[part], runs...)
		}
	}
	return l, l.Validate()
}

// KVOutermost is one tensor per layer [2][page][token][head][dim], as older
// vLLM with FlashAttention keeps it. There is one region for each layer.
func KVOutermost(m Meta, pages int) (*Layout, error) {
	a, err := axesOf(m, pages)
	if err != nil {
		return nil, err
	}
	page := a.tokens * a.heads * a.row
	return perLayer(m, pages, Region{Bytes: 2 * a.pages * page, Stride: page}, a.pages*page,
		Strides{Token: a.heads * a.row, Head: a.row, Dim: int64(m.Dtype.Bytes())})
}

// KVPerPage is one tensor per layer [page][2][token][head][dim], or with
// headsFirst [page][2][head][token][dim] (vLLM's NHD and HND). There is one
// region for each layer.
func KVPerPage(m Meta, pages int, headsFirst bool) (*Layout, error) {
	a, err := axesOf(m, pages)
	if err != nil {
		return nil, err
	}
	half := a.tokens * a.heads * a.row
	s := Strides{Token: a.heads * a.row, Head: a.row, Dim: int64(m.Dtype.Bytes())}
	if headsFirst {
		s.Token, s.Head = a.row, a.tokens*a.row
	}
	return perLayer(m, pages, Region{Bytes: 2 * a.pages * half, Stride: 2 * half}, half, s)
}

// KVPacked is one tensor per layer [page][head][token][2*dim], a row being a
// head's K, then its V (vLLM since 0.26). There is one region for each layer.
func KVPacked(m Meta, pages int) (*Layout, error) {
	a, err := axesOf(m, pages)
	if err != nil {
		return nil, err
	}
	page := 2 * a.tokens * a.heads * a.row
	return perLayer(m, pages, Region{Bytes: a.pages * page, Stride: page}, a.row,
		Strides{Token: 2 * a.row, Head: 2 * a.row * a.tokens, Dim: int64(m.Dtype.Bytes())})
}

// Orders returns the stride orders of vLLM since 0.29, outermost axis first:
// L layer, B block (page), H head, N token, C content.
func Orders() []string { return []string{"LBHNC", "LBNHC", "LHBNC", "BLHNC", "BLNHC", "BHLNC"} }

// KVOrdered is one allocation for all layers in one of Orders; a row of content
// is a head's K, then its V. There is one region. Another order is ErrInvalid.
func KVOrdered(m Meta, pages int, order string) (*Layout, error) {
	a, err := axesOf(m, pages)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(Orders(), order) {
		return nil, fmt.Errorf("pager: stride order %q, want one of %v: %w", order, Orders(), kvferry.ErrInvalid)
	}
	stride := make(map[byte]int64)
	at := int64(1)
	for i := len(order) - 1; i >= 0; i-- {
		stride[order[i]] = at
		at *= map[byte]int64{'L': a.layers, 'B': a.pages, 'H': a.heads, 'N': a.tokens, 'C': 2 * a.row}[order[i]]
	}
	l := &Layout{Meta: m, Pages: pages, Regions: []Region{{Bytes: at, Stride: stride['B']}}}
	s := Strides{Layer: stride['L'], Token: stride['N'], Head: stride['H'], Dim: int64(m.Dtype.Bytes())}
	for _, local := range []int64{0, a.row} {
		runs, err := m.PlainRuns(0, local, 0, m.Layers, s)
		if err != nil {
			return nil, err
		}
		l.Runs = append(l.Runs, runs)
	}
	return l, l.Validate()
}

// TokenPools is a pool for K and one for V per layer, [slot][head][dim], a page
// being PageTokens consecutive slots (SGLang). There are two regions for each
// layer: K of layer 0, V of layer 0, K of layer 1 and so on.
func TokenPools(m Meta, pages int) (*Layout, error) {
	a, err := axesOf(m, pages)
	if err != nil {
		return nil, err
	}
	page := a.tokens * a.heads * a.row
	l := &Layout{Meta: m, Pages: pages, Runs: make([][]Run, 2)}
	s := Strides{Token: a.heads * a.row, Head: a.row, Dim: int64(m.Dtype.Bytes())}
	for i := range m.Layers {
		for part := range 2 {
			runs, err := m.PlainRuns(len(l.Regions), 0, i, 1, s)
			if err != nil {
				return nil, err
			}
			l.Runs[part] = append(l.Runs[part], runs...)
			l.Regions = append(l.Regions, Region{Bytes: a.pages * page, Stride: page})
		}
	}
	return l, l.Validate()
}

// FormLatent is the canonical order of a latent part: [layer][token][row].
const FormLatent = "layer.token.row"

// Latent describes a cache of multi-head latent attention, one tensor per layer
// [page][token][row].
type Latent struct {
	Layers, PageTokens uint32
	Dtype              Dtype
	RowBytes           int64 // of a token in one layer
	TokenStride        int64 // RowBytes and the padding behind it
	PageStride         int64 // all tokens and the padding behind them
}

// Layout returns the layout of pages pages, with one region for each layer. The
// only part is latent in FormLatent, without padding. In its geometry KVHeads
// is 1 and HeadDim the elements of a row.
func (c Latent) Layout(pages int) (*Layout, error) {
	size, ok := product(uint64(c.Layers), uint64(c.PageTokens), uint64(max(c.RowBytes, 0)))
	elem := int64(max(c.Dtype.Bytes(), 1))
	if !ok || size > MaxPageBytes || c.Layers > MaxFragments || c.RowBytes < 0 || c.RowBytes%elem != 0 || c.TokenStride < c.RowBytes || c.PageStride < 0 {
		return nil, fmt.Errorf("pager: latent cache %+v: %w", c, kvferry.ErrInvalid)
	}
	if pages < 0 || uint64(pages) > MaxPages {
		return nil, fmt.Errorf("pager: layout of %d pages, want 0 to %d: %w", pages, int64(MaxPages), kvferry.ErrInvalid)
	}
	bytes, fits := sum(times(int64(pages), c.PageStride))
	if !fits {
		return nil, fmt.Errorf("pager: latent cache %+v of %d pages: %w", c, pages, kvferry.ErrInvalid)
	}
	l := &Layout{Pages: pages, Runs: make([][]Run, 1), Meta: Meta{
		PageTokens: c.PageTokens, Layers: c.Layers, KVHeads: 1, HeadDim: uint32(c.RowBytes / elem), Dtype: c.Dtype,
		Parts: []Part{{PartLatent, int(size), FormLatent}},
	}}
	for i := range int64(c.Layers) {
		l.Regions = append(l.Regions, Region{Bytes: int64(bytes), Stride: c.PageStride})
		if size > 0 {
			tokens := int64(c.PageTokens)
			l.Runs[0] = append(l.Runs[0], Run{int(i), 0, i * tokens * c.RowBytes, c.RowBytes, tokens, c.TokenStride, c.RowBytes})
		}
	}
	return l, l.Validate()
}
