package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/examples/llama/model"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// testShape is small enough for hundreds of runs, and has grouped queries.
var testShape = model.Config{Dim: 64, Hidden: 96, Layers: 3, Heads: 8, KVHeads: 4, Vocab: 259, SeqLen: 192}

func seeded(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Seeded(testShape, 7)
	require.NoError(t, err)
	return m
}

func newEngine(t testing.TB, m *model.Model, c Config) *Engine {
	t.Helper()
	e, err := New(m, c)
	require.NoError(t, err)
	return e
}

// story is a set of requests of which the first three share a prefix of more
// than two pages.
func story() []Request {
	tok := model.ByteTokenizer()
	prefix := "once upon a time there was a little ferry that "
	return []Request{
		{ID: "a", Prompt: tok.Encode(prefix + "sailed"), MaxTokens: 30, Temperature: 0.8, TopP: 0.95, Seed: 1},
		{ID: "b", Prompt: tok.Encode(prefix + "sank near a town"), MaxTokens: 25},
		{ID: "c", Prompt: tok.Encode(prefix + "s"), MaxTokens: 40, Temperature: 1, Seed: 3},
		{ID: "d", Prompt: tok.Encode("another text"), MaxTokens: 30, Temperature: 0.5, TopP: 0.5, Seed: 4},
		{ID: "e", Prompt: tok.Encode("x"), MaxTokens: 12, Seed: 5},
	}
}

// drain steps e until nothing can run.
func drain(t testing.TB, e *Engine) {
	t.Helper()
	for {
		b, err := e.Step(t.Context())
		require.NoError(t, err)
		if b.Rows == 0 {
			return
		}
		check(t, e)
	}
}

// check walks the engine's books.
func check(t testing.TB, e *Engine) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	refs := make([]int32, len(e.blocks.refs))
	for _, s := range e.seqs {
		require.Len(t, s.pages, e.pagesFor(s.Written), "%s", s.ID)
		for _, p := range s.pages {
			refs[p]++
		}
	}
	require.Equal(t, refs, e.blocks.refs)
	free := 0
	for p := range refs {
		in := slices.Contains(e.blocks.free, uint32(p))
		require.Equal(t, !e.blocks.exists(uint32(p)), in, "page %d", p)
		if in {
			free++
		}
	}
	require.Len(t, e.blocks.free, free)
	require.GreaterOrEqual(t, e.spareLocked(), 0)
}

// result is all that a sequence left behind.
type result struct {
	Tokens []int32
	Pages  [][]byte
}

// results reads every sequence through the engine's pager.
func results(t testing.TB, e *Engine) map[string]result {
	t.Helper()
	p, err := e.Pager()
	require.NoError(t, err)
	out := map[string]result{}
	for _, s := range e.Sequences() {
		r := result{Tokens: s.Tokens}
		for _, id := range s.Pages {
			b := make([]byte, p.Meta().PageBytes())
			require.NoError(t, p.ReadPage(t.Context(), id, b))
			r.Pages = append(r.Pages, b)
		}
		out[s.ID] = r
	}
	return out
}

// alone runs each request in an engine of its own.
func alone(t testing.TB, m *model.Model, rs []Request) map[string]result {
	t.Helper()
	out := map[string]result{}
	for _, r := range rs {
		e := newEngine(t, m, Config{Pages: 32, Workers: 1})
		require.NoError(t, e.Submit(r))
		drain(t, e)
		out[r.ID] = results(t, e)[r.ID]
	}
	return out
}

// TestBatchInvariance runs the same requests in other company, order, chunks
// and numbers of goroutines: tokens and page bytes stay the same.
func TestBatchInvariance(t *testing.T) {
	t.Parallel()
	m, rs := seeded(t), story()
	want := alone(t, m, rs)
	reversed := slices.Clone(rs)
	slices.Reverse(reversed)
	mixed := []Request{rs[3], rs[1], rs[4], rs[0], rs[2]}
	for name, order := range map[string][]Request{"given": rs, "reversed": reversed, "mixed": mixed} {
		for _, c := range []Config{
			{Pages: 64, Workers: 1}, {Pages: 64, Workers: 4, Grain: 256}, {Pages: 64, Workers: 1, Private: true}, {Pages: 11, Workers: 3, Grain: 4096, Running: 3},
		} {
			t.Run(fmt.Sprintf("order=%s/pages=%d/running=%d/workers=%d/private=%v", name, c.Pages, c.Running, c.Workers, c.Private), func(t *testing.T) {
				t.Parallel()
				e := newEngine(t, m, c)
				for _, r := range order {
					require.NoError(t, e.Submit(r))
				}
				require.Equal(t, want, finishAll(t, e))
			})
		}
	}
}

// finishAll runs e to its end and removes what is done, which lets those that
// wait for pages run.
func finishAll(t testing.TB, e *Engine) map[string]result {
	t.Helper()
	out := map[string]result{}
	for {
		drain(t, e)
		done := results(t, e)
		for _, s := range e.Sequences() {
			if s.Phase == Done {
				out[s.ID] = done[s.ID]
				require.NoError(t, e.Remove(t.Context(), s.ID))
			}
		}
		if len(e.Sequences()) == 0 {
			require.Len(t, e.blocks.free, e.cfg.Pages)
			return out
		}
	}
}

// TestChunksDoNotMatter computes one text with pages, and so chunks, of other
// sizes.
func TestChunksDoNotMatter(t *testing.T) {
	t.Parallel()
	m, r := seeded(t), story()[0]
	var want []int32
	for _, n := range []int{1, 3, 16, 200} {
		e := newEngine(t, m, Config{Pages: 192, PageTokens: n})
		require.NoError(t, e.Submit(r))
		drain(t, e)
		got := e.Sequences()[0].Tokens
		if want == nil {
			want = got
		}
		require.Equal(t, want, got, "pages of %d tokens", n)
	}
}

func TestPrefixIsShared(t *testing.T) {
	t.Parallel()
	m, rs := seeded(t), story()
	e := newEngine(t, m, Config{Pages: 64})
	for _, r := range rs[:3] {
		require.NoError(t, e.Submit(r))
	}
	// All three arrive at once: the second and third wait for the first to
	// write what they share.
	computed := 0
	for i := range 4 {
		b, err := e.Step(t.Context())
		require.NoError(t, err)
		computed += b.Rows
		check(t, e)
		require.NotZero(t, b.Rows, "step %d", i)
	}
	ss := e.Sequences()
	require.Len(t, ss[0].Pages, 4)
	for _, s := range ss[1:] {
		require.Equal(t, ss[0].Pages[:3], s.Pages[:3], "48 tokens are common")
		require.NotEqual(t, ss[0].Pages[3], s.Pages[3])
	}
	for _, p := range ss[0].Pages[:3] {
		require.EqualValues(t, 3, e.blocks.refs[p])
	}
	require.NoError(t, e.Remove(t.Context(), "a"))
	check(t, e)
	require.Less(t, computed, 2*48)
	drain(t, e)
	require.NoError(t, e.Remove(t.Context(), "b"))
	require.NoError(t, e.Remove(t.Context(), "c"))
	require.Len(t, e.blocks.free, 64)
}

// TestWholePromptIsNeverShared: the last token's logits are needed, so its page
// is computed again.
func TestWholePromptIsNeverShared(t *testing.T) {
	t.Parallel()
	m := seeded(t)
	prompt := model.ByteTokenizer().Encode("0123456789abcdefghijklmnopqrstu")
	require.Len(t, prompt, 32)
	e := newEngine(t, m, Config{Pages: 16})
	require.NoError(t, e.Submit(Request{ID: "x", Prompt: prompt, MaxTokens: 10}))
	drain(t, e)
	require.NoError(t, e.Submit(Request{ID: "y", Prompt: prompt, MaxTokens: 10}))
	drain(t, e)
	ss := e.Sequences()
	require.Equal(t, ss[0].Tokens, ss[1].Tokens)
	require.Equal(t, ss[0].Pages[0], ss[1].Pages[0])
	require.NotEqual(t, ss[0].Pages[1], ss[1].Pages[1])
}

func TestSubmitRefuses(t *testing.T) {
	t.Parallel()
	e := newEngine(t, seeded(t), Config{Pages: 4})
	ok := Request{ID: "ok", Prompt: []int32{1}, MaxTokens: 1}
	for name, tc := range map[string]struct {
		change func(*Request)
		want   error
	}{
		"no prompt":       {func(r *Request) { r.Prompt = nil }, kvferry.ErrInvalid},
		"long prompt":     {func(r *Request) { r.Prompt = make([]int32, 192) }, kvferry.ErrInvalid},
		"no tokens":       {func(r *Request) { r.MaxTokens = 0 }, kvferry.ErrInvalid},
		"negative token":  {func(r *Request) { r.Prompt = []int32{-1} }, kvferry.ErrInvalid},
		"unknown token":   {func(r *Request) { r.Prompt = []int32{259} }, kvferry.ErrInvalid},
		"temperature":     {func(r *Request) { r.Temperature = -1 }, kvferry.ErrInvalid},
		"top-p":           {func(r *Request) { r.TopP = 1.5 }, kvferry.ErrInvalid},
		"more than cache": {func(r *Request) { r.MaxTokens = 1 << 62 }, kvferry.ErrOutOfMemory},
	} {
		r := ok
		tc.change(&r)
		require.ErrorIs(t, e.Submit(r), tc.want, name)
	}
	require.NoError(t, e.Submit(ok))
	require.ErrorIs(t, e.Submit(ok), kvferry.ErrExists)
	require.ErrorIs(t, e.Remove(t.Context(), "nobody"), kvferry.ErrNotFound)
	_, err := New(seeded(t), Config{Pages: 0})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func TestStopToken(t *testing.T) {
	t.Parallel()
	m := seeded(t)
	e := newEngine(t, m, Config{Pages: 16})
	r := story()[3]
	require.NoError(t, e.Submit(r))
	drain(t, e)
	full := e.Sequences()[0].Generated()
	stop := full[10]
	r.ID, r.Stop = "stopped", []int32{stop}
	require.NoError(t, e.Submit(r))
	drain(t, e)
	got := e.Sequences()[1]
	require.Equal(t, Done, got.Phase)
	require.Equal(t, full[:slices.Index(full, stop)+1], got.Generated())
}

func TestPauseHoldsSteps(t *testing.T) {
	t.Parallel()
	e := newEngine(t, seeded(t), Config{Pages: 16})
	p, err := e.Pager()
	require.NoError(t, err)
	require.NoError(t, e.Submit(story()[4]))
	_, err = e.Step(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.Pause(t.Context()))
	late, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = e.Step(late)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, p.Pause(late), context.Canceled)

	stepped := make(chan error)
	before := e.States()
	go func() {
		_, err := e.Step(t.Context())
		stepped <- err
	}()
	require.NoError(t, e.Submit(story()[3]), "a submission does not wait")
	require.Equal(t, before, e.States())
	require.Equal(t, before, e.PausedStates())
	select {
	case err := <-stepped:
		t.Fatal("a step ran during the pause", err)
	default:
	}
	require.NoError(t, p.Resume(late))
	require.NoError(t, <-stepped)
	require.NotEqual(t, before, e.States())
	require.ErrorIs(t, p.Resume(t.Context()), kvferry.ErrInvalid)
}
