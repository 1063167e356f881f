// Package blocks measures the pack store as the tier below a serving engine:
// chunks of KV cache go in and come back in the sizes that engines move, beside
// a direct copy to the same disk, plain files, and the file tiers of LMCache,
// SGLang and vLLM.
package blocks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
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

// peerRounds bounds the rounds of the engines, which take long to start.
const peerRounds = 3

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
		return scale{bytes: miB, unique: miB / 2, sizes: all[:3], held: 3000, lookups: 5}
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
	s.Note("%s in chunks of each size, %d goroutines. Ours: every chunk is hashed with BLAKE3 and put, in a session of its own. "+
		"op=put is until all can be read, op=put-sync until all is durable, which class snapshot promises and class cache does not. "+
		"Chunks are verified when they are loaded, from a store opened anew with nothing in the page cache (op=get), and once more "+
		"(op=get-warm; the pack store reads past the page cache, so that is no different). Rates count plain bytes. Codec auto "+
		"has windows tuned on %d chunks of the same kind beforehand.", harness.SizeText(sc.bytes), workers, tunedOn)
	s.Note("The limit (by=direct) writes the same bytes into one preallocated file past the page cache and syncs it, and reads them " +
		"back, without hash, checksum or index. Plain files: a file for each chunk, written and renamed. Neither they nor the engines' " +
		"tiers sync or have a checksum: their op=put ends when they say that the chunks are stored, some of it in memory only, and " +
		"op=put-sync with a sync of the whole file system.")
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
		sortFigures(s, sets)
	}()
	for round := range e.Rounds {
		for _, c := range contests {
			e.Log("blocks: round %d, chunks of %s", round+1, c.set.name)
			if err := c.round(ctx, e, round); err != nil {
				return fmt.Errorf("blocks: %s: %w", c.set.name, err)
			}
		}
		if round < peerRounds {
			if err := others.round(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// ways are the figures of one way to move a set, by op.
type ways map[string]*harness.Figure

// newWays adds the figures.
func newWays(s *harness.Section, c *set, tail string, role harness.Role, ops ...string) ways {
	w := make(ways)
	for _, op := range ops {
		w[op] = s.Figure("op="+op+"/size="+c.name+"/"+tail, harness.BytesPerSecond)
		w[op].Role = role
	}
	return w
}

// contest is a set and the ways to move it.
type contest struct {
	set    *set
	packs  []*packWay
	files  ways
	direct ways
}

func newContest(s *harness.Section, c *set) *contest {
	x := &contest{set: c}
	x.direct = newWays(s, c, "by=direct", harness.Limit, "put-sync", "get")
	for _, v := range variants() {
		x.packs = append(x.packs, newPackWay(s, c, v))
	}
	x.files = newWays(s, c, "store=files", harness.Peer, "put", "put-sync", "get", "get-warm")
	for _, f := range x.files {
		f.Note = "no fsync, no checksum"
	}
	return x
}

// round moves the set once by each way, each round beginning with another one:
// whoever comes first has the disk at work for those before.
func (x *contest) round(ctx context.Context, e *harness.Env, round int) error {
	x.set.stamp(round)
	all := []func(context.Context, *harness.Env, *set) error{x.direct.directRound, x.files.filesRound}
	for _, p := range x.packs {
		all = append(all, p.round)
	}
	for i := range all {
		if err := all[(round+i)%len(all)](ctx, e, x.set); err != nil {
			return err
		}
	}
	return nil
}

// finish holds ours against the limit and the best of the others.
func (x *contest) finish(others *engines) {
	for _, op := range []string{"put", "put-sync", "get"} {
		peers := []*harness.Figure{x.files[op]}
		for _, f := range others.figures {
			if strings.HasPrefix(f.Name, "op="+op+"/size="+x.set.name+"/") {
				peers = append(peers, f)
			}
		}
		for _, p := range x.packs {
			p.ways[op].Versus(x.direct[op], harness.Goal{})
			p.ways[op].Beside(peers...)
		}
	}
}

// sortFigures puts what is to be compared together: by size, then by what is
// measured.
func sortFigures(s *harness.Section, sets []*set) {
	key := func(f *harness.Figure) (size int, op string) {
		op, rest, _ := strings.Cut(f.Name, "/")
		return slices.IndexFunc(sets, func(c *set) bool { return strings.HasPrefix(rest, "size="+c.name+"/") }), op
	}
	slices.SortStableFunc(s.Figures, func(a, b *harness.Figure) int {
		za, oa := key(a)
		zb, ob := key(b)
		return cmp.Or(cmp.Compare(za, zb), cmp.Compare(oa, ob))
	})
}
