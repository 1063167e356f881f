package main

import (
	"encoding/json"
	"fmt"
	"io"
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
		// The failure of a package whose tests failed is counted there.
		if e.Action == "fail" && !s.red[e.Package] {
			s.broken++
		}
		return nil
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
	out := s.output[key]
	delete(s.output, key)
	if e.Action == "pass" || out == nil {
		return nil
	}
	_, err := fmt.Fprintf(s.w, "%s: %s", e.Package, out)
	return err
}
