// Package captures measures captures and restores of a paged KV cache: into
// memory beside what hashing alone takes, and into packs on a disk beside what
// the disk takes, with blobs as they are and coded by default.
//
// The cache is one of synthetic pages that are like those of real models (the
// suite codec shows how like). Rates count bytes of K and V, whatever is
// stored of them.
package captures

import (
	"context"
	"fmt"
	"time"

	"github.com/kvferry/kvferry/bench/harness"
	"github.com/kvferry/kvferry/bench/pages"
)

// Capture is the suite of captures.
func Capture() harness.Suite {
	return harness.Suite{Name: "capture", Title: "Captures, beside hashing, the disk and others", Run: suite((*world).capture)}
}

// Restore is the suite of verified restores.
func Restore() harness.Suite {
	return harness.Suite{Name: "restore", Title: "Verified restores, beside hashing, the disk and others", Run: suite((*world).restore)}
}

// cache is what is captured and restored.
type cache struct {
	name     string
	geometry pages.Geometry
	bytes    int64 // about
	// times is how often small things are done for one sample.
	times int
}

// fixture is that of ProcessFork's own benchmark.
func fixture() cache {
	return cache{"fixture", pages.Geometry{Layers: 4, Tokens: 8, Heads: 4, Dim: 8}, 256 << 10, 50}
}

// caches returns what is measured: pages like those of TinyLlama, larger ones
// like those of a model of 8 billion parameters, and the fixture.
func caches(s harness.Scale) []cache {
	small := pages.Geometry{Layers: 22, Tokens: 16, Heads: 4, Dim: 64}
	large := pages.Geometry{Layers: 32, Tokens: 16, Heads: 8, Dim: 128}
	switch s {
	case harness.Smoke:
		return []cache{{"tinyllama", small, 8 << 20, 1}}
	case harness.Full:
		return []cache{{"tinyllama", small, 768 << 20, 1}, {"llama8b", large, 768 << 20, 1}, fixture()}
	}
	return []cache{{"tinyllama", small, 256 << 20, 1}, {"llama8b", large, 256 << 20, 1}, fixture()}
}

// suite makes the Run of a suite, which measures every cache.
func suite(measure func(w *world, ctx context.Context) error) func(context.Context, *harness.Env, *harness.Section) error {
	return func(ctx context.Context, e *harness.Env, s *harness.Section) error {
		s.Note("Rates count bytes of K and V. Ours hashes with BLAKE3 in a goroutine for each processor; the memory of the store in "+
			"memory, and of the engine that pages are restored to, is had from the system before the clock starts. pf-cache hashes "+
			"with SHA-256 in one thread and finds its memory while the clock runs; its store of files gets no more than the first %s "+
			"of the pages.", harness.SizeText(peerFileBytes))
		for _, c := range caches(e.Scale) {
			start := time.Now()
			if err := one(ctx, e, s, c, measure); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			e.Log("%s, %s: %.1f s", s.Name, c.name, time.Since(start).Seconds())
		}
		return nil
	}
}

func one(ctx context.Context, e *harness.Env, s *harness.Section, c cache, measure func(w *world, ctx context.Context) error) (err error) {
	w, err := newWorld(ctx, e, s.Part(c.name, fmt.Sprintf("%s: %d layers, %d tokens, %d heads of %d",
		c.name, c.geometry.Layers, c.geometry.Tokens, c.geometry.Heads, c.geometry.Dim)), c)
	if err != nil {
		return err
	}
	defer func() { err = w.close(err) }()
	return measure(w, ctx)
}
