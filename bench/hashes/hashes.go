// Package hashes measures BLAKE3, which every byte that is saved or restored
// goes through, beside the library, the original in Rust and C, and the limit
// that copying sets.
package hashes

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/digest/blake3"
)

// Suite measures hashes of parts that lie in a core's cache, and of such that
// come from memory.
func Suite() harness.Suite {
	return harness.Suite{Name: "hash", Title: "BLAKE3", Run: run}
}

const (
	kib = 1 << 10
	// usual is the K or the V of a page of a large model, about 180 KB.
	usual = 176 * kib
	// small are parts that are also hashed several at once.
	small    = 4 * kib
	together = 10
	// goal is how much faster than the library it should be, at the usual size.
	goal = 1.3
	// rust is the peer's program.
	rust = "blake3-rs"
)

// sizes are those of parts, of small models to large ones.
func sizes() []int { return []int{kib, 2 * kib, 4 * kib, 16 * kib, 64 * kib, usual, 1024 * kib} }

// settings follow from the scale.
type settings struct {
	each   time.Duration // to measure one thing in one round
	burst  int           // bytes that are hashed without a look at the clock, about
	shared time.Duration // that a burst of several threads takes at least: to wake one takes time
	memory int           // bytes that are more than the caches hold
	rust   *bool         // whether the peer is there and works
}

func settingsOf(s harness.Scale) settings {
	switch s {
	case harness.Full:
		return settings{each: 60 * time.Millisecond, burst: 2_000_000, shared: 20 * time.Millisecond, memory: 128 << 20}
	case harness.Smoke:
		return settings{each: time.Millisecond, memory: 1 << 20}
	}
	return settings{each: 30 * time.Millisecond, burst: 2_000_000, shared: 20 * time.Millisecond, memory: 128 << 20}
}

func run(ctx context.Context, e *harness.Env, s *harness.Section) error {
	set := settingsOf(e.Scale)
	there := hasRust(ctx, e, s)
	set.rust = &there
	s.Note("A part in cache is hashed again and again; of those in memory each is another one of %d MiB. "+
		"A sample is the fastest burst within %v. A burst is some 2 MB by one thread; with two it lasts until both are done, and "+
		"is as long as takes %v, so that waking them does not count.",
		set.memory>>20, set.each, set.shared)
	s.Note("Digests are made by the kernels %q here; %q are those of the library, github.com/zeebo/blake3.",
		blake3.Active(), strings.TrimPrefix(library, "hash="))
	for _, threads := range []int{1, 2} {
		for _, size := range sizes() {
			if err := (group{settings: set, size: size, threads: threads}).run(ctx, e, s); err != nil {
				return err
			}
		}
		if err := (group{settings: set, size: usual, threads: threads, cold: true}).run(ctx, e, s); err != nil {
			return err
		}
	}
	return nil
}

// hasRust reports whether the peer can be measured; if not, the section says why.
func hasRust(ctx context.Context, e *harness.Env, s *harness.Section) bool {
	if e.PeerPath(rust) == "" {
		s.Miss(rust, e.Why(rust))
		return false
	}
	if _, err := (group{size: kib, threads: 1}).rust(ctx, e); err != nil {
		s.Fail(rust, err)
		return false
	}
	return true
}

// group is what is measured in turns: everything at one size.
type group struct {
	settings
	size, threads int
	// cold is whether parts come from memory, else one that is in the cache is
	// hashed again and again.
	cold bool
}

// name is that of a figure; what is hash=NAME or limit=NAME.
func (g group) name(what string) string {
	size := strings.ReplaceAll(harness.SizeText(g.size), " ", "")
	from := "cache"
	if g.cold {
		from = "memory"
	}
	return fmt.Sprintf("op=sum/%s/size=%s/from=%s/threads=%d", what, size, from, g.threads)
}

// run measures the group and holds its figures against each other.
func (g group) run(ctx context.Context, e *harness.Env, s *harness.Section) error {
	var all []harness.Measure
	walks := g.walks()
	byName := map[string]*harness.Figure{}
	for _, c := range contenders(g.size) {
		f := s.Figure(g.name(c.name), harness.BytesPerSecond)
		f.Role, f.Note, byName[c.name] = c.role, c.note, f
		work := g.work(c, walks)
		all = append(all, harness.Measure{Figure: f, Once: func(ctx context.Context) (float64, error) {
			return g.fastest(ctx, work)
		}})
	}
	if *g.settings.rust {
		f := s.Figure(g.name("hash="+rust), harness.BytesPerSecond)
		f.Role, byName[rust] = harness.Peer, f
		all = append(all, harness.Measure{
			Figure: f,
			Once: func(ctx context.Context) (float64, error) {
				l, err := g.rust(ctx, e)
				f.Note = l.Version
				return l.Value, err
			},
			Failed: func(err error) { // nor is it asked at the other sizes
				s.Fail(rust, err, f)
				delete(byName, rust)
				*g.settings.rust = false
			},
		})
	}
	if err := harness.Turns(ctx, e.Rounds, all...); err != nil {
		return err
	}
	g.judge(byName)
	return nil
}

// judge holds ours against the library and the best peer, all that is not ours
// against a copy, of which ours have a note.
func (g group) judge(byName map[string]*harness.Figure) {
	want := harness.Goal{}
	if g.size == usual {
		want.AtLeast = goal
	}
	for name, f := range byName {
		switch {
		case name != memcpy && f.Role != harness.Ours:
			f.Versus(byName[memcpy], harness.Goal{})
		case name != library && f.Role == harness.Ours:
			f.Versus(byName[library], want).Beside(present(byName[library], byName[rust])...)
			noteCopy(f, byName[memcpy])
		case name == library && f.Role == harness.Ours: // where there are no other kernels
			f.Open(want, "there are no kernels of ours for this processor").Beside(present(byName[rust])...)
			noteCopy(f, byName[memcpy])
		}
	}
}

// noteCopy notes which share of a copy's rate a figure is, if that was measured.
func noteCopy(f, limit *harness.Figure) {
	other := *f
	if limit == nil || len(other.Versus(limit, harness.Goal{}).Ratios) == 0 {
		return
	}
	f.Note = strings.TrimPrefix(fmt.Sprintf("%s, %.0f %% of memcpy", f.Note, 100*harness.Median(other.Ratios)), ", ")
}

func present(figures ...*harness.Figure) (out []*harness.Figure) {
	for _, f := range figures {
		if f != nil {
			out = append(out, f)
		}
	}
	return out
}

// times is how many parts a burst has; of small ones a multiple of together.
func (g group) times() int {
	if g.size <= small {
		return together * max(1, g.burst/g.size/together)
	}
	return max(1, g.burst/g.size)
}

// rust has the peer measure once.
func (g group) rust(ctx context.Context, e *harness.Env) (harness.PeerLine, error) {
	args := []string{
		"--sizes", strconv.Itoa(g.size), "--threads", strconv.Itoa(g.threads), "--millis", strconv.FormatInt(g.each.Milliseconds(), 10),
	}
	if g.threads > 1 {
		args = append(args, "--burst-millis", strconv.FormatInt(g.shared.Milliseconds(), 10))
	}
	if g.cold {
		args = append(args, "--memory", strconv.Itoa(g.memory))
	}
	lines, err := e.RunPeer(ctx, rust, args...)
	if err != nil {
		return harness.PeerLine{}, err
	}
	if len(lines) != 1 || lines[0].Error != "" || lines[0].Value <= 0 {
		return harness.PeerLine{}, fmt.Errorf("bench: peer %s printed %+v: %w", rust, lines, kvferry.ErrInvalid)
	}
	return lines[0], nil
}
