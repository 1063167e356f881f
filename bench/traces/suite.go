package traces

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// percent is the unit of shares.
const percent harness.Unit = "%"

// peerName is the program that plays traces on other libraries' caches.
const peerName = "caches"

// gap is the share of what the optimum serves beyond LRU that a cache of blocks
// is to serve, in percent, on which trace, and up to how many blocks.
const (
	gap       = 30
	gapTrace  = "mooncake-conversation"
	gapBlocks = 10000
)

// Suite measures caches on traces.
func Suite() harness.Suite {
	return harness.Suite{Name: "trace", Title: "Page cache on traces of conversations", Run: run}
}

// capacities are those of the caches, in blocks.
func capacities(scale harness.Scale) []int {
	if scale == harness.Smoke {
		return []int{300}
	}
	return []int{3000, 10000, 30000}
}

// find returns the traces to play.
func find(e *harness.Env, s *harness.Section) ([]*Trace, error) {
	requests := 12000
	if e.Scale == harness.Smoke {
		requests = 500
	}
	all := []*Trace{Synthetic(1, requests)}
	path := BuiltIn
	if e.Models != "" {
		if own := filepath.Join(e.Models, filepath.Base(BuiltIn)); exists(own) {
			path = own
		}
	}
	t, err := Load(path)
	switch {
	case errors.Is(err, kvferry.ErrNotFound):
		s.Miss(strings.TrimSuffix(filepath.Base(BuiltIn), ".jsonl.gz"), "the trace is read from "+BuiltIn+" below the folder that the program is started in")
	case err != nil:
		return nil, err
	default:
		all = append([]*Trace{t}, all...)
	}
	return all, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func run(ctx context.Context, e *harness.Env, s *harness.Section) error {
	traces, err := find(e, s)
	if err != nil {
		return err
	}
	s.Note("Each cache is asked for the blocks of the requests in their order, by one goroutine, and given those that it lacks; a "+
		"block has %d bytes. Hits are the share of the references that were served, leading hits those before a request's first "+
		"miss, which an engine can use. The optimum knows the future (Belady) and is no limit to the time. LRU is a textbook's, of "+
		"ours. The gap is the share of what the optimum serves beyond LRU.", blockBytes)
	shapes := s.Table("The traces", "trace", "requests", "references", "blocks", "again", "median references between")
	for _, t := range traces {
		shape := t.Shape()
		shapes.Row(t.Name, fmt.Sprint(shape.Requests), fmt.Sprint(shape.Refs), fmt.Sprint(shape.Blocks),
			fmt.Sprintf("%.1f %%", 100*shape.Again), fmt.Sprint(shape.Distance))
	}
	if !slices.ContainsFunc(traces, func(t *Trace) bool { return t.Name == gapTrace }) {
		unjudged(s, e.Scale)
	}
	for _, t := range traces {
		if err := measure(ctx, e, s.Part(t.Name, "Trace "+t.Name), t); err != nil {
			return err
		}
	}
	if path := e.PeerPath(peerName); path == "" {
		s.Miss(peerName, e.Why(peerName))
	}
	return nil
}

// unjudged adds the goals of the trace that is not there.
func unjudged(s *harness.Section, scale harness.Scale) {
	for _, n := range capacities(scale) {
		if n <= gapBlocks {
			f := s.Figure((&contest{trace: &Trace{Name: gapTrace}, capacity: n}).name("gap", "kvferry"), percent)
			f.Goal, f.Unjudged = harness.Goal{AtLeast: gap}, "the trace is not here"
		}
	}
}

// mostRounds bounds the rounds: what a cache serves of a trace is the same in
// each, or nearly, and they take half a minute.
const mostRounds = 3

// measure plays one trace on all caches of all sizes.
func measure(ctx context.Context, e *harness.Env, s *harness.Section, t *Trace) error {
	e.Log("trace %s", t.Name)
	runs := make([]*contest, 0, 3)
	for _, c := range capacities(e.Scale) {
		runs = append(runs, newContest(s, t, c))
	}
	others, err := newPeers(e, t)
	if err != nil {
		return err
	}
	defer others.close()
	defer sortFigures(s)
	for range min(e.Rounds, mostRounds) {
		for _, c := range runs {
			if err := c.round(ctx); err != nil {
				return err
			}
		}
		if err := others.round(ctx, s, runs); err != nil {
			return err
		}
	}
	for _, c := range runs {
		c.finish()
	}
	return nil
}

// sortFigures puts what is to be compared together: by capacity, then by what
// is measured.
func sortFigures(s *harness.Section) {
	key := func(f *harness.Figure) (capacity int, op string) {
		op, rest, _ := strings.Cut(f.Name, "/")
		_, rest, _ = strings.Cut(rest, "/capacity=")
		text, _, _ := strings.Cut(rest, "/")
		capacity, _ = strconv.Atoi(text) // a figure of ours: it has one
		return capacity, op
	}
	slices.SortStableFunc(s.Figures, func(a, b *harness.Figure) int {
		ca, oa := key(a)
		cb, ob := key(b)
		return cmp.Or(cmp.Compare(ca, cb), cmp.Compare(oa, ob))
	})
}

// contest is a trace and a capacity.
type contest struct {
	trace    *Trace
	capacity int
	section  *harness.Section
	optimum  float64
	kvferry  *lines
	lru      *lines
	peers    []*lines
}

// lines are a cache's figures.
type lines struct {
	cache                    string
	hits, leading, reference *harness.Figure
}

func newContest(s *harness.Section, t *Trace, capacity int) *contest {
	c := &contest{trace: t, capacity: capacity, section: s}
	c.kvferry = c.lines("kvferry", harness.Ours)
	c.lru = c.lines("lru", harness.Peer)
	c.lru.hits.Note = "a textbook's, of ours, without locks or memory of its own"
	c.optimum = 100 * float64(Optimum(t, capacity)) / float64(len(t.Refs))
	return c
}

func (c *contest) name(op, cache string) string {
	return fmt.Sprintf("op=%s/data=%s/capacity=%d/cache=%s", op, c.trace.Name, c.capacity, cache)
}

// lines adds a cache's figures to the section.
func (c *contest) lines(cache string, role harness.Role) *lines {
	l := &lines{
		cache:     cache,
		hits:      c.section.Figure(c.name("hits", cache), percent),
		leading:   c.section.Figure(c.name("leading", cache), percent),
		reference: c.section.Figure(c.name("reference", cache), harness.Nanoseconds),
	}
	for _, f := range []*harness.Figure{l.hits, l.leading, l.reference} {
		f.Role = role
	}
	return l
}

func (l *lines) add(p Played) {
	l.hits.Add(100 * p.HitShare())
	l.leading.Add(100 * p.LeadingShare())
	l.reference.Add(float64(p.Took.Nanoseconds()) / float64(p.Refs))
}

// round plays the trace on our caches.
func (c *contest) round(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	p, err := newPool(ctx, c.capacity)
	if err != nil {
		return err
	}
	played, err := Play(c.trace, p)
	if err = errors.Join(err, p.pool.Close()); err != nil {
		return err
	}
	c.kvferry.add(played)
	if played, err = Play(c.trace, newLRU(c.capacity)); err != nil {
		return err
	}
	c.lru.add(played)
	return nil
}

// finish holds the figures against each other.
func (c *contest) finish() {
	optimum := c.section.Figure(c.name("hits", "optimum"), percent)
	optimum.Role = harness.Limit
	closed := c.section.Figure(c.name("gap", "kvferry"), percent)
	for i, h := range c.kvferry.hits.Samples {
		optimum.Add(c.optimum)
		if room := c.optimum - c.lru.hits.Samples[i]; room > 0 {
			closed.Add(100 * (h - c.lru.hits.Samples[i]) / room)
		}
	}
	if c.capacity <= gapBlocks && c.trace.Name == gapTrace {
		closed.Goal = harness.Goal{AtLeast: gap}
	}
	c.kvferry.hits.Versus(optimum, harness.Goal{})
	hits := []*harness.Figure{c.lru.hits}
	leading := []*harness.Figure{c.lru.leading}
	references := []*harness.Figure(nil) // without the textbook's, which nobody can share
	for _, p := range c.peers {
		hits, leading, references = append(hits, p.hits), append(leading, p.leading), append(references, p.reference)
	}
	c.kvferry.hits.Beside(hits...)
	c.kvferry.leading.Beside(leading...)
	c.kvferry.reference.Beside(references...)
}

// encode writes a trace as the peer reads it: for each request the number of its
// blocks in 4 bytes and the blocks in 8 each, little-endian.
func encode(t *Trace) []byte {
	out := make([]byte, 0, 8*len(t.Refs)+4*len(t.Ends))
	for request := range t.Requests {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(request))) //nolint:gosec // at most mostRefs
		for _, b := range request {
			out = binary.LittleEndian.AppendUint64(out, b)
		}
	}
	return out
}
