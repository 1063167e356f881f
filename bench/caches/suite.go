package caches

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
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
	if err := libraries(ctx, e, s); err != nil {
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
// the others, once a round.
func libraries(ctx context.Context, e *harness.Env, s *harness.Section) error {
	const name = "caches-bench"
	path := e.PeerPath(name)
	if path == "" {
		s.Miss("golang-lru, ristretto, otter", e.Why(name))
		return nil
	}
	s.Version("golang-lru, ristretto, otter: as in bench/peers/caches/go.mod")
	byName := map[string]*harness.Figure{}
	for range e.Rounds {
		cmd := exec.CommandContext(ctx, path, "-test.run", "^$", "-test.bench", "Hit|Miss|Mixed", "-test.benchtime", eachOf(e.Scale).String())
		cmd.Dir = e.Dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("bench: peer %s: %w: %w\n%s", name, kvferry.ErrInvalid, err, out)
		}
		if err := addBenchmarks(s, byName, out); err != nil {
			return err
		}
	}
	for _, f := range byName {
		f.Beside(others(byName, f)...)
	}
	return nil
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

// sqlite runs SQL on SQLite with its own page cache and with ours, in turns,
// each in a process of its own.
func sqlite(ctx context.Context, e *harness.Env, s *harness.Section) error {
	const name = "sqlite-cache"
	caches, read := []string{"builtin", "own", "group"}, ""
	figures := map[string]*harness.Figure{}
	for range e.Rounds {
		for _, c := range caches {
			lines, err := e.RunPeer(ctx, name, "--dir", e.Dir, "--rows", strconv.Itoa(rowsOf(e.Scale)), c)
			if errors.Is(err, harness.ErrNoPeer) {
				s.Miss("SQLite's own page cache", e.Why(name))
				return nil
			}
			if err != nil {
				return err
			}
			for _, l := range lines {
				s.Version(l.Version)
				f := figures[l.Name]
				if f == nil {
					f = s.Figure(l.Name, l.Unit)
					figures[l.Name], f.Note = f, l.Note
				}
				if read == "" {
					read = l.Note
				}
				if l.Note != read { // the sum over what was read
					return fmt.Errorf("bench: peer %s: %s: %q, others say %q: %w", name, l.Name, l.Note, read, kvferry.ErrCorrupt)
				}
				f.Add(l.Value)
			}
		}
	}
	theirs := figures["op=sql/cache=builtin"]
	if theirs == nil {
		return fmt.Errorf("bench: peer %s said nothing of its cache: %w", name, kvferry.ErrInvalid)
	}
	theirs.Role = harness.Peer
	for _, c := range caches[1:] {
		if f := figures["op=sql/cache="+c]; f != nil {
			f.Versus(theirs, harness.Goal{AtMost: 1.1}).Beside(theirs)
		}
	}
	return nil
}

// rowsOf is how large a table a scale wants. It is worked on three times a round;
// at the full scale that takes some five seconds each, of the half an hour that all
// suites have.
func rowsOf(s harness.Scale) int {
	switch s {
	case harness.Full:
		return 80_000
	case harness.Smoke:
		return 500
	}
	return 30_000
}
