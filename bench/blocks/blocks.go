// Package blocks measures the pack store as the tier below a serving engine:
// chunks of KV cache go in and come back in the sizes that engines move, beside
// a direct copy to the same disk, plain files, and the file tiers of LMCache,
// SGLang and vLLM.
package blocks

import (
	"context"
	"fmt"
	"strings"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

const (
	kiB = 1 << 10
	miB = 1 << 20
)

// workers is how many goroutines store and load.
const workers = 2

// size is a kind of chunk: a page of so many layers, tokens, KV heads and
// channels, K and V.
type size struct {
	name string
	pages.Geometry
	what string
}

// sizes are what engines hand down: a page of stories260K with heads of 32 (32
// tokens), one of half of TinyLlama's layers (16 tokens), and 8 and 256 tokens of
// Llama-3-8B, LMCache's chunk.
func sizes() []size {
	return []size{
		{"80KiB", pages.Geometry{Layers: 5, Tokens: 32, Heads: 4, Dim: 32}, "stories260K, 32 tokens"},
		{"176KiB", pages.Geometry{Layers: 11, Tokens: 16, Heads: 4, Dim: 64}, "half of TinyLlama's layers, 16 tokens"},
		{"1MiB", pages.Geometry{Layers: 32, Tokens: 8, Heads: 8, Dim: 128}, "Llama-3-8B, 8 tokens"},
		{"32MiB", pages.Geometry{Layers: 32, Tokens: 256, Heads: 8, Dim: 128}, "Llama-3-8B, 256 tokens"},
	}
}

// scale says how much is moved.
type scale struct {
	bytes   int // of all chunks of a size
	unique  int // of them that are made; the others differ in a few bits
	sizes   []size
	held    int // blobs in the store that is looked up in
	lookups int // for each round, each of lookupKeys
}

func scaleOf(s harness.Scale) scale {
	all := sizes()
	switch s {
	case harness.Smoke:
		return scale{bytes: 2 * miB, unique: miB, sizes: all[:3], held: 3000, lookups: 5}
	case harness.Full:
		return scale{bytes: 128 * miB, unique: 32 * miB, sizes: all, held: 100_000, lookups: 1000}
	}
	return scale{bytes: 64 * miB, unique: 16 * miB, sizes: all, held: 20_000, lookups: 300}
}

// Suite measures chunks and lookups.
func Suite() harness.Suite {
	return harness.Suite{Name: "blocks", Title: "Chunks of engines, in the pack store and beside it", Run: run}
}

func run(ctx context.Context, e *harness.Env, s *harness.Section) error {
	sc := scaleOf(e.Scale)
	s.Note("%s in chunks of each size, %d goroutines. Ours: every chunk is hashed with BLAKE3 and put, then the session is "+
		"flushed: all is durable when the time is taken; class snapshot waits for no less than class cache then. Chunks are "+
		"verified when they are loaded, from a store opened anew with nothing in the page cache (op=get), and once more "+
		"(op=get-warm; the pack store reads past the page cache, so that is no different). Rates count plain bytes. Codec auto "+
		"has windows tuned on %d chunks of the same kind beforehand.", harness.SizeText(sc.bytes), workers, tunedOn)
	s.Note("The limits (by=direct) write the same bytes into one preallocated file past the page cache and sync it, and read them "+
		"back, without hash, checksum or index. Plain files: a file for each chunk, written, renamed, not synced; op=put-sync has "+
		"a sync of the file system after it. None of the peers syncs or has a checksum; their %s.",
		"op=put ends when they say that a chunk is stored, some of it in the page cache, and op=put-sync with a sync of the file system")
	part := s.Part("chunks", "Chunks in and out")
	sets, err := makeSets(ctx, sc)
	if err != nil {
		return err
	}
	defer freeSets(sets)
	describe(s, sets)
	if err := measureChunks(ctx, e, part, sets); err != nil {
		return err
	}
	return measureLookups(ctx, e, s.Part("lookups", "Lookups while chunks are stored"), sc)
}

// measureChunks moves all sets by all ways, in turns.
func measureChunks(ctx context.Context, e *harness.Env, s *harness.Section, sets []*set) error {
	var contests []*contest
	for _, c := range sets {
		contests = append(contests, newContest(s, c))
	}
	others, err := newEngines(e, s, sets)
	if err != nil {
		return err
	}
	defer others.close()
	defer func() {
		for _, c := range contests {
			c.finish(others)
		}
	}()
	for round := range e.Rounds {
		for _, c := range contests {
			e.Log("blocks: round %d, chunks of %s", round+1, c.set.name)
			if err := c.round(ctx, e, round); err != nil {
				return fmt.Errorf("blocks: %s: %w", c.set.name, err)
			}
		}
		if err := others.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ways is a set of figures: rates in, out cold, and out again.
type ways struct {
	in, out *harness.Figure
	more    map[string]*harness.Figure // by op
}

// newWays adds the figures of one way to move a set.
func newWays(s *harness.Section, c *set, tail string, role harness.Role, more ...string) *ways {
	w := &ways{more: make(map[string]*harness.Figure)}
	figure := func(op string) *harness.Figure {
		f := s.Figure("op="+op+"/size="+c.name+"/"+tail, harness.BytesPerSecond)
		f.Role = role
		return f
	}
	w.in, w.out = figure("put"), figure("get")
	for _, op := range more {
		w.more[op] = figure(op)
	}
	return w
}

// contest is a set and the ways to move it.
type contest struct {
	set    *set
	packs  []*packWay
	files  *ways
	direct *ways
}

func newContest(s *harness.Section, c *set) *contest {
	x := &contest{set: c}
	x.direct = newWays(s, c, "by=direct", harness.Limit)
	for _, v := range variants() {
		x.packs = append(x.packs, newPackWay(s, c, v))
	}
	x.files = newWays(s, c, "store=files", harness.Peer, "put-sync", "get-warm")
	for _, f := range []*harness.Figure{x.files.in, x.files.out, x.files.more["put-sync"], x.files.more["get-warm"]} {
		f.Note = "no fsync, no checksum"
	}
	return x
}

// round moves the set once by each way.
func (x *contest) round(ctx context.Context, e *harness.Env, round int) error {
	x.set.stamp(round)
	if err := x.direct.directRound(ctx, e, x.set); err != nil {
		return err
	}
	for _, p := range x.packs {
		if err := p.round(ctx, e, x.set); err != nil {
			return err
		}
	}
	return x.files.filesRound(ctx, e, x.set)
}

// finish holds ours against the limit and the best of the others.
func (x *contest) finish(others *engines) {
	in, out := []*harness.Figure{x.files.in}, []*harness.Figure{x.files.out}
	for _, f := range others.figures {
		if op, rest, _ := strings.Cut(strings.TrimPrefix(f.Name, "op="), "/"); strings.HasPrefix(rest, "size="+x.set.name+"/") {
			switch op {
			case "put":
				in = append(in, f)
			case "get":
				out = append(out, f)
			}
		}
	}
	for _, p := range x.packs {
		p.in.Versus(x.direct.in, harness.Goal{})
		p.out.Versus(x.direct.out, harness.Goal{})
		p.in.Beside(in...)
		p.out.Beside(out...)
	}
}
