// Command totals reads the output of `go test -json` and prints what a person
// wants of it: one line per package, the output of failed tests, the reason of
// each skip, and how many tests ran.
//
// With -o FILE it also writes the last line, `N passed, N failed, N skipped`,
// to that file. It exits with status 1 if anything failed.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	out := flag.String("o", "", "file to write the last line to")
	flag.Parse()
	ok, err := run(os.Stdin, os.Stdout, *out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "totals:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run copies the summary of in to w and reports whether all is well.
func run(in io.Reader, w io.Writer, file string) (bool, error) {
	s := newSummary(w)
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if err := s.line(lines.Bytes()); err != nil {
			return false, err
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	line := s.String() + "\n"
	if _, err := io.WriteString(w, line); err != nil || file == "" {
		return s.ok(), err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return false, err
	}
	return s.ok(), os.WriteFile(file, []byte(line), 0o644)
}
