package caches

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/bench/harness"
)

// Suite measures the caches of kernels and pages for bench all.
func Suite() harness.Suite {
	return harness.Suite{Name: "caches", Title: "Caches of kernels and pages", Run: suite}
}

// eachOf is how long one thing is measured in a round.
func eachOf(s harness.Scale) time.Duration {
	switch s {
	case harness.Full:
		return 200 * time.Millisecond
	case harness.Smoke:
		return time.Millisecond
	}
	return 50 * time.Millisecond
}

func suite(ctx context.Context, e *harness.Env, s *harness.Section) error {
	s.Note("Nanoseconds of a hit. Ratios are of times: less is better. The libraries keep pages of 512 bytes in 8,192 places, in " +
		"one process with ours (bench/peers/caches); of theirs a put copies, as ours does.")
	figures, err := Run(ctx, Options{Dir: e.Dir, Rounds: e.Rounds, Each: eachOf(e.Scale)})
	if err != nil {
		return err
	}
	own(s, figures)
	libraries(ctx, e, s)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return sqlite(ctx, e, s)
}

// own adds what this process measured.
func own(s *harness.Section, figures []Figure) {
	byName := map[string]*harness.Figure{}
	for i := range figures {
		f := s.Figure(figures[i].key, harness.Nanoseconds)
		f.Samples = figures[i].samples
		byName[figures[i].Name] = f
	}
	for i := range figures {
		f := byName[figures[i].Name]
		f.Versus(byName[figures[i].Versus], harness.Goal{})
		if figures[i].Versus == "" && !strings.HasPrefix(f.Name, "op=fetch") {
			f.Role = harness.Limit
		}
		switch f.Name { // goals of time, not of the ratio
		case "op=hit/cache=pipeline-memory":
			f.Ratios, f.To, f.Goal = nil, "", harness.Goal{AtMost: 60}
		case "op=fetch-unpin/cache=plugin":
			f.Goal = harness.Goal{AtMost: 40}
		}
	}
}

// libraries runs the benchmarks of bench/peers/caches, which have ours among
// the others, once a round. A program that fails has no figures.
func libraries(ctx context.Context, e *harness.Env, s *harness.Section) {
	const who = "golang-lru, ristretto, otter"
	path := e.PeerPath(librariesBench)
	if path == "" {
		s.Miss(who, e.Why(librariesBench))
		return
	}
	byName := map[string]*harness.Figure{}
	for range e.Rounds {
		if err := libraryRound(ctx, e, s, path, byName); err != nil {
			s.Fail(who, err, slices.Collect(maps.Values(byName))...)
			return
		}
	}
	s.Version(who + ": as in bench/peers/caches/go.mod")
	for _, f := range byName {
		f.Beside(others(byName, f)...)
	}
}

// librariesBench is the program of the libraries.
const librariesBench = "caches-bench"

// libraryRound runs it once.
func libraryRound(ctx context.Context, e *harness.Env, s *harness.Section, path string, byName map[string]*harness.Figure) error {
	cmd := exec.CommandContext(ctx, path, "-test.run", "^$", "-test.bench", "Hit|Miss|Mixed", "-test.benchtime", eachOf(e.Scale).String())
	cmd.Dir = e.Dir
	out, err := cmd.CombinedOutput() // a test says why it fails on standard output
	if err != nil {
		return fmt.Errorf("bench: peer %s: %w: %w\n%s", librariesBench, kvferry.ErrInvalid, err, harness.LastLines(out))
	}
	return addBenchmarks(s, byName, out)
}

// addBenchmarks adds a sample of each line of Go's benchmark format, and makes
// the figures that are not there yet.
func addBenchmarks(s *harness.Section, byName map[string]*harness.Figure, out []byte) error {
	for in := bufio.NewScanner(bytes.NewReader(out)); in.Scan(); {
		words := strings.Fields(in.Text())
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") || words[3] != "ns/op" {
			continue
		}
		ns, err := strconv.ParseFloat(words[2], 64)
		if err != nil {
			return fmt.Errorf("bench: %q: %w: %w", in.Text(), kvferry.ErrInvalid, err)
		}
		name := figureName(words[0])
		f := byName[name]
		if f == nil {
			f = s.Figure(name, harness.Nanoseconds)
			if !strings.Contains(name, "cache=kvferry") {
				f.Role = harness.Peer
			}
			byName[name] = f
		}
		f.Add(ns)
	}
	return nil
}

// figureName makes op=page-hit/cache=otter/goroutines=1 of
// BenchmarkHit/cache=otter/goroutines=1-8.
func figureName(benchmark string) string {
	op, rest, _ := strings.Cut(strings.TrimPrefix(benchmark, "Benchmark"), "/")
	if at := strings.LastIndexByte(rest, '-'); at > 0 {
		if _, err := strconv.Atoi(rest[at+1:]); err == nil {
			rest = rest[:at]
		}
	}
	return "op=page-" + strings.ToLower(op) + "/" + rest
}

// others are the peers' figures of what f is of ours.
func others(byName map[string]*harness.Figure, f *harness.Figure) []*harness.Figure {
	head, rest, ok := strings.Cut(f.Name, "/cache=")
	if !ok || f.Role != harness.Ours {
		return nil
	}
	_, rest, _ = strings.Cut(rest, "/")
	var out []*harness.Figure
	for name, p := range byName {
		if p.Role == harness.Peer && strings.HasPrefix(name, head+"/") && strings.HasSuffix(name, "/"+rest) {
			out = append(out, p)
		}
	}
	return out
}
