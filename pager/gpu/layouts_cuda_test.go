//go:build cuda

package gpu

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// namedLayout is how an engine keeps its pages.
type namedLayout struct {
	name   string
	layout *pager.Layout
}

const layoutPages = 13

// engineLayouts are those of vLLM and SGLang. Their mapping is proven against the
// tensors' shapes by the tests of pager/host, which is the judge here.
func engineLayouts(t testing.TB) []namedLayout {
	m, err := pager.Plain(5, 3, 2, 12, pager.BF16)
	require.NoError(t, err)
	var all []namedLayout
	add := func(name string) func(*pager.Layout, error) {
		return func(l *pager.Layout, err error) {
			require.NoError(t, err, name)
			all = append(all, namedLayout{name, l})
		}
	}
	add("vllm-kv-outermost")(pager.KVOutermost(m, layoutPages))
	add("vllm-nhd")(pager.KVPerPage(m, layoutPages, false))
	add("vllm-hnd")(pager.KVPerPage(m, layoutPages, true))
	add("vllm-packed")(pager.KVPacked(m, layoutPages))
	for _, order := range pager.Orders() {
		add("vllm-" + order)(pager.KVOrdered(m, layoutPages, order))
	}
	add("sglang-token-pools")(pager.TokenPools(m, layoutPages))
	latent := func(rows, token, page int64) (*pager.Layout, error) {
		return pager.Latent{Layers: 2, PageTokens: 3, Dtype: pager.Opaque, RowBytes: rows, TokenStride: token, PageStride: page}.Layout(layoutPages)
	}
	add("vllm-mla-576")(latent(1152, 1152, 3*1152))
	add("vllm-fp8-ds-mla-656")(latent(656, 656, 3*656))
	add("vllm-mla-padded")(latent(584, 656, 2048))
	add("slab-of-a-go-engine")(oneRun(m, layoutPages), nil)
	return all
}

// eachPath runs f with every path forced.
func eachPath(t *testing.T, f func(t *testing.T, force func(*Config))) {
	t.Helper()
	for _, path := range []Path{Direct, Staged, Plain} {
		t.Run("path="+path.String(), func(t *testing.T) {
			f(t, func(c *Config) { c.Paths = Forced(path) })
		})
	}
}

// reference is a host pager over memory like the device's.
func reference(t testing.TB, l *pager.Layout, memory [][]byte) pager.Pager {
	t.Helper()
	p, err := host.New(host.Config{Layout: l, Regions: memory, Engine: newEngine(l.Meta.PageTokens, l.Pages)})
	require.NoError(t, err)
	return p
}

// TestEngineLayouts copies what a model wrote, on its stream, a moment before,
// and lets it read pages that were copied in.
func TestEngineLayouts(t *testing.T) {
	for _, c := range engineLayouts(t) {
		t.Run("layout="+c.name, func(t *testing.T) {
			eachPath(t, func(t *testing.T, force func(*Config)) {
				for _, frames := range []string{"together", "apart", "heap", "mixed"} {
					t.Run("frames="+frames, func(t *testing.T) { roundTrip(t, c.layout, force, frames) })
				}
			})
		})
	}
}

// framesOf returns frames of a kind for all pages.
func (w *world) framesOf(kind string) [][]byte {
	switch kind {
	case "together":
		return w.frames(w.layout.Pages, 0)
	case "apart":
		return w.frames(w.layout.Pages, 3)
	}
	pinned := w.frames(w.layout.Pages, 0)
	for i := range pinned {
		if kind == "heap" || i%3 == 1 {
			pinned[i] = make([]byte, len(pinned[i]))
		}
	}
	return pinned
}

func roundTrip(t *testing.T, l *pager.Layout, force func(*Config), kind string) {
	w := newWorld(t, l)
	p := w.open(func(c *Config) {
		force(c)
		c.StagingBytes = int64(8 * l.Meta.PageBytes()) // several batches
	})
	memory := w.memory()
	ref := reference(t, l, memory)
	ids, frames := w.all(), w.framesOf(kind)
	w.queueUpload(memory)
	w.move(p, pager.Out, ids, frames)
	want := make([]byte, l.Meta.PageBytes())
	for i, id := range ids {
		require.NoError(t, ref.ReadPage(t.Context(), id, want))
		require.True(t, bytes.Equal(want, frames[i]), "page %d", id)
	}
	for i, id := range ids {
		require.NoError(t, ref.WritePage(t.Context(), id, w.noise(frames[i])))
	}
	w.move(p, pager.In, ids, frames)
	got := w.queueDownload()
	w.settle()
	for i := range memory {
		require.True(t, bytes.Equal(memory[i], got[i]), "region %d: pages or padding", i)
	}
	s := p.Stats()
	require.EqualValues(t, 2, s.Jobs)
	require.EqualValues(t, 2*l.Pages, s.Pages)
}
