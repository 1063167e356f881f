package host_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// place is where a canonical byte of a page lies in the engine's memory. The
// tests compute it from the engine's tensor shapes, not from the layout.
type place func(page, canonical int) (region, offset int)

type layoutCase struct {
	name   string
	layout *pager.Layout
	at     place
}

// The dimensions of the plain cases: tokens, layers, heads, bytes of a row.
const (
	nP, nL, nH, nR = 3, 4, 2, 10
	nB             = 5 // pages
)

func plainMeta(t testing.TB) pager.Meta {
	t.Helper()
	m, err := pager.Plain(nP, nL, nH, nR/2, pager.BF16)
	require.NoError(t, err)
	return m
}

// plainPlace turns a formula over K or V, layer, page, head, token and byte of
// the row into a place.
func plainPlace(f func(kv, l, b, h, n, c int) (int, int)) place {
	return func(page, canonical int) (int, int) {
		c := canonical % nR
		h := canonical / nR % nH
		n := canonical / (nR * nH) % nP
		l := canonical / (nR * nH * nP) % nL
		return f(canonical/(nR*nH*nP*nL), l, page, h, n, c)
	}
}

// index returns the offset in a dense tensor: pairs of index and dimension,
// outermost first.
func index(pairs ...[2]int) int {
	at := 0
	for _, p := range pairs {
		at = at*p[1] + p[0]
	}
	return at
}

func must(t testing.TB) func(*pager.Layout, error) *pager.Layout {
	return func(l *pager.Layout, err error) *pager.Layout {
		t.Helper()
		require.NoError(t, err)
		return l
	}
}

// plainCases are the layouts of a plain cache in vLLM and SGLang.
func plainCases(t testing.TB) []layoutCase {
	m, ok := plainMeta(t), must(t)
	cases := []layoutCase{
		{"vllm-kv-outermost", ok(pager.KVOutermost(m, nB)), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return l, index([2]int{kv, 2}, [2]int{b, nB}, [2]int{n, nP}, [2]int{h, nH}, [2]int{c, nR})
		})},
		{"vllm-nhd", ok(pager.KVPerPage(m, nB, false)), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return l, index([2]int{b, nB}, [2]int{kv, 2}, [2]int{n, nP}, [2]int{h, nH}, [2]int{c, nR})
		})},
		{"vllm-hnd", ok(pager.KVPerPage(m, nB, true)), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return l, index([2]int{b, nB}, [2]int{kv, 2}, [2]int{h, nH}, [2]int{n, nP}, [2]int{c, nR})
		})},
		{"vllm-packed-last-dim", ok(pager.KVPacked(m, nB)), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return l, index([2]int{b, nB}, [2]int{h, nH}, [2]int{n, nP}, [2]int{kv*nR + c, 2 * nR})
		})},
		{"sglang-token-pools", ok(pager.TokenPools(m, nB)), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return 2*l + kv, index([2]int{b*nP + n, nB * nP}, [2]int{h, nH}, [2]int{c, nR})
		})},
		{"slab-of-a-go-engine", goSlab(t, m), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return 0, 64 + index([2]int{l, nL}, [2]int{b, nB}, [2]int{kv, 2}, [2]int{n, nP}, [2]int{h, nH}, [2]int{c, nR})
		})},
		{"elements-apart", elementsApart(t, m), plainPlace(func(kv, l, b, h, n, c int) (int, int) {
			return kv, index([2]int{b, nB}, [2]int{c / 2, nR / 2}, [2]int{h, nH}, [2]int{l, nL}, [2]int{n, nP}, [2]int{c % 2, 2})
		})},
	}
	for _, order := range pager.Orders() {
		cases = append(cases, layoutCase{"vllm-" + strings.ToLower(order), ok(pager.KVOrdered(m, nB, order)),
			plainPlace(func(kv, l, b, h, n, c int) (int, int) {
				axis := map[rune][2]int{'L': {l, nL}, 'B': {b, nB}, 'H': {h, nH}, 'N': {n, nP}, 'C': {kv*nR + c, 2 * nR}}
				var pairs [][2]int
				for _, a := range order {
					pairs = append(pairs, axis[a])
				}
				return 0, index(pairs...)
			})})
	}
	return cases
}

// goSlab is one allocation [layer][page][2][token][head][dim] behind a header.
func goSlab(t testing.TB, m pager.Meta) *pager.Layout {
	row, half := int64(nR), int64(nP*nH*nR)
	l := &pager.Layout{Meta: m, Pages: nB, Regions: []pager.Region{{Bytes: 64 + nL*nB*2*half, Offset: 64, Stride: 2 * half}}}
	for kv := range int64(2) {
		runs, err := m.PlainRuns(0, kv*half, 0, nL, pager.Strides{Layer: nB * 2 * half, Token: nH * row, Head: row, Dim: 2})
		require.NoError(t, err)
		l.Runs = append(l.Runs, runs)
	}
	require.NoError(t, l.Validate())
	return l
}

// elementsApart keeps K and V apart as [page][dim][head][layer][token], so that
// every run is one element of 2 bytes.
func elementsApart(t testing.TB, m pager.Meta) *pager.Layout {
	const page = nP * nL * nH * nR
	l := &pager.Layout{Meta: m, Pages: nB}
	for kv := range 2 {
		runs, err := m.PlainRuns(kv, 0, 0, nL, pager.Strides{Token: 2, Layer: 2 * nP, Head: 2 * nP * nL, Dim: 2 * nP * nL * nH})
		require.NoError(t, err)
		l.Runs = append(l.Runs, runs)
		l.Regions = append(l.Regions, pager.Region{Bytes: nB * page, Stride: page})
	}
	require.NoError(t, l.Validate())
	return l
}

// latentCases are caches of multi-head latent attention.
func latentCases(t testing.TB) []layoutCase {
	latent := func(name string, c pager.Latent) layoutCase {
		l, err := c.Layout(nB)
		require.NoError(t, err)
		row := int(c.RowBytes)
		return layoutCase{name, l, func(page, canonical int) (int, int) {
			token := canonical / row % nP
			return canonical / (row * nP), page*int(c.PageStride) + token*int(c.TokenStride) + canonical%row
		}}
	}
	return []layoutCase{
		latent("vllm-mla-576", pager.Latent{Layers: 2, PageTokens: nP, Dtype: pager.BF16, RowBytes: 1152, TokenStride: 1152, PageStride: nP * 1152}),
		latent("vllm-fp8-ds-mla-656", pager.Latent{Layers: 2, PageTokens: nP, Dtype: pager.Opaque, RowBytes: 656, TokenStride: 656, PageStride: nP * 656}),
		latent("vllm-fp8-ds-mla-584-padded-page", pager.Latent{Layers: 2, PageTokens: nP, Dtype: pager.Opaque, RowBytes: 584, TokenStride: 584, PageStride: 4 * 576}),
		latent("vllm-fp8-ds-mla-584-padded-token", pager.Latent{Layers: 2, PageTokens: nP, Dtype: pager.Opaque, RowBytes: 584, TokenStride: 656, PageStride: 2048}),
	}
}

// inlineScales is fp8 [page][2][token][head][dim + 4]: each head's row is
// followed by its float32 scale.
func inlineScales(t testing.TB) layoutCase {
	m, err := pager.Plain(nP, nL, nH, nR, pager.FP8E4M3)
	require.NoError(t, err)
	const row, half = nR + 4, nP * nH * (nR + 4)
	scale := m // the scales are one float32 per layer, token and head
	scale.HeadDim, scale.Dtype = 1, pager.F32
	bytes := nL * nP * nH * 4
	m.Parts = append(m.Parts, pager.Part{Kind: pager.PartScale, Bytes: bytes, Form: "k.layer.token.head.f32"},
		pager.Part{Kind: pager.PartScale, Bytes: bytes, Form: "v.layer.token.head.f32"})
	l := &pager.Layout{Meta: m, Pages: nB, Runs: make([][]pager.Run, 4)}
	for layer := range uint32(nL) {
		l.Regions = append(l.Regions, pager.Region{Bytes: nB * 2 * half, Stride: 2 * half})
		for kv := range 2 {
			rows, err := m.PlainRuns(int(layer), int64(kv*half), layer, 1, pager.Strides{Token: nH * row, Head: row, Dim: 1})
			require.NoError(t, err)
			l.Runs[kv] = append(l.Runs[kv], rows...)
			scales, err := scale.PlainRuns(int(layer), int64(kv*half+nR), layer, 1, pager.Strides{Token: nH * row, Head: row, Dim: 4})
			require.NoError(t, err)
			l.Runs[2+kv] = append(l.Runs[2+kv], scales...)
		}
	}
	const plain = nL * nP * nH * nR
	return layoutCase{"fp8-inline-scales", l, func(page, canonical int) (int, int) {
		width, c, kv := nR, canonical%plain, canonical/plain
		if canonical >= 2*plain {
			width = 4
			c, kv = (canonical-2*plain)%bytes, (canonical-2*plain)/bytes
		}
		in := c % width
		if width == 4 {
			in += nR
		}
		h, n, layer := c/width%nH, c/(width*nH)%nP, c/(width*nH*nP)
		return layer, index([2]int{page, nB}, [2]int{kv, 2}, [2]int{n, nP}, [2]int{h, nH}, [2]int{in, row})
	}}
}

func allCases(t testing.TB) []layoutCase {
	return append(append(plainCases(t), latentCases(t)...), inlineScales(t))
}

// value is the logical content: the same for every layout.
func value(page, canonical int) byte {
	return byte((page*1_000_003 + canonical*7 + canonical>>8*31) % 251)
}

const padding = 0xEE // not a value

// memory returns an engine's memory in which every byte is padding.
func memory(l *pager.Layout) [][]byte {
	var out [][]byte
	for _, r := range l.Regions {
		out = append(out, bytes.Repeat([]byte{padding}, int(r.Bytes)))
	}
	return out
}

func open(t testing.TB, l *pager.Layout, mem [][]byte) pager.Pager {
	t.Helper()
	p, err := host.New(host.Config{Layout: l, Regions: mem, Engine: newEngine(l.Meta.PageTokens, l.Pages)})
	require.NoError(t, err)
	return p
}

func TestLayouts(t *testing.T) {
	t.Parallel()
	for _, c := range allCases(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := c.layout.Meta.PageBytes()
			mem := memory(c.layout)
			for page := range nB {
				for i := range n {
					r, at := c.at(page, i)
					require.Equal(t, byte(padding), mem[r][at], "two canonical bytes at one place")
					mem[r][at] = value(page, i)
				}
			}
			// Gather gives canonical bytes.
			p := open(t, c.layout, mem)
			pages := make([][]byte, nB)
			for page := range nB {
				pages[page] = make([]byte, n)
				require.NoError(t, p.ReadPage(t.Context(), pager.PageID(page), pages[page]))
				for i, b := range pages[page] {
					require.Equal(t, value(page, i), b, "page %d, canonical byte %d", page, i)
				}
			}
			// Scatter gives the engine's memory, padding included.
			back := memory(c.layout)
			q := open(t, c.layout, back)
			for page := range nB {
				require.NoError(t, q.WritePage(t.Context(), pager.PageID(page), pages[page]))
			}
			require.Equal(t, mem, back)
		})
	}
}

func TestOneContentInEveryOrder(t *testing.T) {
	t.Parallel()
	cases := plainCases(t)
	n := cases[0].layout.Meta.PageBytes()
	buf := make([]byte, n)
	for i := range buf {
		buf[i] = value(0, i)
	}
	want := bytes.Clone(buf)
	// One page goes through all engines, another index in each.
	for i, c := range cases {
		require.Equal(t, cases[0].layout.Fingerprint(), c.layout.Fingerprint(), c.name)
		p := open(t, c.layout, memory(c.layout))
		id := pager.PageID(i % nB)
		require.NoError(t, p.WritePage(t.Context(), id, buf))
		clear(buf)
		require.NoError(t, p.ReadPage(t.Context(), id, buf))
		require.Equal(t, want, buf, c.name)
	}
	require.NotEqual(t, cases[0].layout.Fingerprint(), inlineScales(t).layout.Fingerprint())
}
