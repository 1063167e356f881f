package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is one line of `go test -json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// summary counts the tests of a run and prints what is worth reading.
type summary struct {
	w                       io.Writer
	output                  map[[2]string]*strings.Builder // what a test printed, until it ends
	passed, failed, skipped int
	broken                  int             // packages that failed outside a test, as when they do not build
	red                     map[string]bool // packages with a failed test
}

func newSummary(w io.Writer) *summary {
	return &summary{w: w, output: map[[2]string]*strings.Builder{}, red: map[string]bool{}}
}

// ok reports whether nothing failed.
func (s *summary) ok() bool { return s.failed == 0 && s.broken == 0 }

// String returns the totals; a broken package counts as one failure.
func (s *summary) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", s.passed, s.failed+s.broken, s.skipped)
}

// line takes one line of the run. What is no event, as the words of make, goes
// through.
func (s *summary) line(b []byte) error {
	var e event
	if len(b) == 0 || b[0] != '{' || json.Unmarshal(b, &e) != nil {
		_, err := fmt.Fprintf(s.w, "%s\n", b)
		return err
	}
	return s.event(e)
}

// event takes one event.
func (s *summary) event(e event) error {
	key := [2]string{e.Package, e.Test}
	switch e.Action {
	case "output", "build-output":
		return s.keep(key, e)
	case "pass", "fail", "skip":
		return s.end(key, e)
	}
	return nil
}

// keep holds the output of a test until its end is known. What a package says
// outside its tests is short, and shown at once.
func (s *summary) keep(key [2]string, e event) error {
	if e.Test == "" {
		if e.Output == "PASS\n" {
			return nil
		}
		_, err := io.WriteString(s.w, e.Output)
		return err
	}
	if strings.HasPrefix(e.Output, "=== ") {
		return nil
	}
	if s.output[key] == nil {
		s.output[key] = &strings.Builder{}
	}
	s.output[key].WriteString(e.Output)
	return nil
}

// end counts a test, and shows its output unless it passed.
func (s *summary) end(key [2]string, e event) error {
	if e.Test == "" {
		return s.endPackage(e)
	}
	switch e.Action {
	case "pass":
		s.passed++
	case "fail":
		s.failed++
		s.red[e.Package] = true
	case "skip":
		s.skipped++
	}
	if e.Action == "pass" {
		delete(s.output, key)
	}
	return s.show(key)
}

// endPackage counts a package that failed although none of its tests did, and
// shows what the tests printed that never came to an end, as in a crash.
func (s *summary) endPackage(e event) error {
	if e.Action != "fail" {
		return nil
	}
	if !s.red[e.Package] {
		s.broken++
	}
	for _, key := range slices.SortedFunc(maps.Keys(s.output), compareKeys) {
		if key[0] != e.Package {
			continue
		}
		if err := s.show(key); err != nil {
			return err
		}
	}
	return nil
}

// show prints what a test printed and forgets it.
func (s *summary) show(key [2]string) error {
	out := s.output[key]
	if out == nil {
		return nil
	}
	delete(s.output, key)
	_, err := fmt.Fprintf(s.w, "%s: %s", key[0], out)
	return err
}

func compareKeys(a, b [2]string) int { return slices.Compare(a[:], b[:]) }
