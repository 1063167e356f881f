package engine

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/examples/llama/model"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/pagertest"
)

// TestPagerConforms runs the suite of package pagertest over idle engines of
// several shapes.
func TestPagerConforms(t *testing.T) {
	t.Parallel()
	var gs []pagertest.Geometry
	for _, g := range []struct {
		name                       string
		tokens, layers, heads, dim uint32
		pages                      int
	}{{"ordinary", 8, 4, 4, 8, 64}, {"one-token", 1, 3, 2, 8, 33}, {"odd-sizes", 3, 5, 7, 12, 13}, {"one-page", 16, 1, 1, 4, 1}} {
		meta, err := pager.Plain(g.tokens, g.layers, g.heads, g.dim, pager.BF16)
		require.NoError(t, err)
		gs = append(gs, pagertest.Geometry{Name: g.name, Meta: meta, Pages: g.pages})
	}
	pagertest.Run(t, func(tb testing.TB, meta pager.Meta, pages int) pager.Pager {
		m, err := model.Seeded(model.Config{
			Dim: int(meta.KVHeads * meta.HeadDim), Hidden: 8, Layers: int(meta.Layers), Heads: int(meta.KVHeads),
			KVHeads: int(meta.KVHeads), Vocab: 259, SeqLen: 512,
		}, 1)
		require.NoError(tb, err)
		p, err := newEngine(tb, m, Config{Pages: pages, PageTokens: int(meta.PageTokens)}).Pager()
		require.NoError(tb, err)
		require.True(tb, p.Meta().Equal(meta))
		return p
	}, gs...)
}

// saved is a snapshot taken by hand: what kvferry stores, and the states.
type saved struct {
	pages  map[pager.PageID][]byte
	seqs   []pager.LogicalSeq
	states []byte // JSON
}

// save copies an engine out under pause.
func save(t testing.TB, e *Engine) saved {
	t.Helper()
	p, err := e.Pager()
	require.NoError(t, err)
	require.NoError(t, p.Pause(t.Context()))
	s := saved{pages: map[pager.PageID][]byte{}}
	ids, err := p.OccupiedPages(t.Context())
	require.NoError(t, err)
	for _, id := range ids {
		s.pages[id] = make([]byte, p.Meta().PageBytes())
		require.NoError(t, p.ReadPage(t.Context(), id, s.pages[id]))
	}
	s.seqs, err = p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Resume(t.Context()))
	s.states, err = json.Marshal(e.PausedStates())
	require.NoError(t, err)
	return s
}

// load adds a snapshot to what an engine has: allocate and install under pause,
// write while it runs. between is called in the middle.
func load(t testing.TB, e *Engine, s saved, between func()) {
	t.Helper()
	p, err := e.Pager()
	require.NoError(t, err)
	require.NoError(t, p.Pause(t.Context()))
	ids, err := p.AllocatePages(t.Context(), len(s.pages))
	require.NoError(t, err)
	require.NoError(t, p.Resume(t.Context()))
	at := map[pager.PageID]pager.PageID{}
	for id, b := range s.pages {
		at[id] = ids[len(at)]
		require.NoError(t, p.WritePage(t.Context(), at[id], b))
		between()
	}
	require.NoError(t, p.Pause(t.Context()))
	list, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	for _, q := range s.seqs {
		q = q.Clone()
		for i := range q.Pages {
			q.Pages[i] = at[q.Pages[i]]
		}
		list = append(list, q)
	}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), list))
	require.NoError(t, p.Resume(t.Context()))
	var states []State
	require.NoError(t, json.Unmarshal(s.states, &states))
	require.NoError(t, e.Resume(t.Context(), states))
}

// TestEveryCut takes the engine apart after each of its steps and puts it
// together in another one, idle and busy, which goes on to the same end.
func TestEveryCut(t *testing.T) {
	t.Parallel()
	m, rs := seeded(t), story()
	want := alone(t, m, rs)
	guest := Request{ID: "guest", Prompt: model.ByteTokenizer().Encode("once upon a time there was a little ferry, too"), MaxTokens: 60, Temperature: 0.9, Seed: 8}
	wantGuest := alone(t, m, []Request{guest})["guest"]
	stride := 11
	if raceEnabled {
		stride = 33
	}
	for cut := 0; ; cut += stride {
		e := newEngine(t, m, Config{Pages: 64})
		for _, r := range rs {
			require.NoError(t, e.Submit(r))
		}
		rows := 1
		for i := 0; i <= cut && rows > 0; i++ {
			b, err := e.Step(t.Context())
			require.NoError(t, err)
			rows = b.Rows
		}
		s := save(t, e)

		fresh := newEngine(t, m, Config{Pages: 40})
		load(t, fresh, s, func() {})
		check(t, fresh)
		require.Equal(t, want, finishAll(t, fresh))

		busy := newEngine(t, m, Config{Pages: 64})
		require.NoError(t, busy.Submit(guest))
		step := func() {
			_, err := busy.Step(t.Context())
			require.NoError(t, err)
			check(t, busy)
		}
		step()
		load(t, busy, s, step)
		got := finishAll(t, busy)
		require.Equal(t, wantGuest, got["guest"])
		delete(got, "guest")
		require.Equal(t, want, got)
		if rows == 0 {
			break
		}
	}
}

// TestInstallIsTakenBack: in the same pause, the pages of an installation that
// is undone are the restore's to release.
func TestInstallIsTakenBack(t *testing.T) {
	t.Parallel()
	e := newEngine(t, seeded(t), Config{Pages: 16})
	require.NoError(t, e.Submit(story()[0]))
	_, err := e.Step(t.Context())
	require.NoError(t, err)
	p, err := e.Pager()
	require.NoError(t, err)
	before := results(t, e)
	require.NoError(t, p.Pause(t.Context()))
	old, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	ids, err := p.AllocatePages(t.Context(), 2)
	require.NoError(t, err)
	b := make([]byte, p.Meta().PageBytes())
	for _, id := range ids {
		require.NoError(t, p.WritePage(t.Context(), id, b))
	}
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), append(slices.Clone(old), pager.LogicalSeq{ID: "new", Pages: ids})))
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), old))
	rel, ok := p.(pager.Releaser)
	require.True(t, ok)
	require.NoError(t, rel.ReleasePages(t.Context(), ids))
	require.ErrorIs(t, rel.ReleasePages(t.Context(), ids), kvferry.ErrNotFound)
	require.NoError(t, p.Resume(t.Context()))
	check(t, e)
	require.Equal(t, before, results(t, e))
	drain(t, e)
	require.Equal(t, Done, e.Sequences()[0].Phase)
}

// TestPromisedPagesStay: a restore cannot take what running sequences will
// need, and resumed sequences cannot either.
func TestPromisedPagesStay(t *testing.T) {
	t.Parallel()
	m := seeded(t)
	e := newEngine(t, m, Config{Pages: 10})
	require.NoError(t, e.Submit(Request{ID: "long", Prompt: []int32{1}, MaxTokens: 16 * 6}))
	_, err := e.Step(t.Context())
	require.NoError(t, err)
	p, err := e.Pager()
	require.NoError(t, err)
	_, err = p.AllocatePages(t.Context(), 5)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	ids, err := p.AllocatePages(t.Context(), 2)
	require.NoError(t, err)
	for _, id := range ids {
		require.NoError(t, p.WritePage(t.Context(), id, make([]byte, p.Meta().PageBytes())))
	}
	old, err := p.LogicalSeqs(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.InstallLogicalSeqs(t.Context(), append(old,
		pager.LogicalSeq{ID: "big", Pages: ids}, pager.LogicalSeq{ID: "twin", Pages: ids, FillInLastPage: 3})))
	st := State{ID: "big", Tokens: make([]int32, 33), Prompt: 33, Written: 32, MaxTokens: 16 * 3}
	require.ErrorIs(t, e.Resume(t.Context(), []State{st}), kvferry.ErrOutOfMemory)
	twin := State{ID: "twin", Tokens: make([]int32, 20), Prompt: 20, Written: 19, MaxTokens: 1}
	require.ErrorIs(t, e.Resume(t.Context(), []State{twin}), kvferry.ErrUnsupported)
	st.MaxTokens = 16
	require.ErrorIs(t, e.Resume(t.Context(), []State{st, st}), kvferry.ErrInvalid)
	require.ErrorIs(t, e.Resume(t.Context(), []State{st, {ID: "nobody"}}), kvferry.ErrNotFound)
	for _, change := range []func(*State){
		func(s *State) { s.Written-- }, func(s *State) { s.Tokens = s.Tokens[:32] }, func(s *State) { s.Prompt = 34 },
		func(s *State) { s.Tokens[3] = 300 }, func(s *State) { s.MaxTokens = 0 }, func(s *State) { s.Prompt = 0 },
	} {
		bad := st.clone()
		change(&bad)
		require.ErrorIs(t, e.Resume(t.Context(), []State{bad}), kvferry.ErrInvalid)
	}
	require.Equal(t, []Phase{Decode, Parked, Parked}, phases(e))
	require.NoError(t, e.Resume(t.Context(), []State{st}))
	check(t, e)
	drain(t, e)
	require.Equal(t, []Phase{Done, Done, Parked}, phases(e))
}

func phases(e *Engine) []Phase {
	var out []Phase
	for _, s := range e.Sequences() {
		out = append(out, s.Phase)
	}
	return out
}
