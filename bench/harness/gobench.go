package harness

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"unicode"
)

// WriteGoHead writes the lines that stand above benchmarks in Go's format, so
// that benchstat knows what may be compared. Lines of the conditions follow.
func WriteGoHead(w io.Writer, pkg string) error {
	_, err := fmt.Fprintf(w, "goos: %s\ngoarch: %s\npkg: %s\ncpu: %s\ncommit: %s\n",
		runtime.GOOS, runtime.GOARCH, pkg, machine(".").processor, commit())
	return err
}

// WriteGo writes a section's samples in Go's benchmark format, a line each:
// BenchmarkSuite/op=encode/codec=fast 1 1.4e+10 B/s. Figures of peers and
// limits are there as well, told apart by /role=peer and /role=limit.
func (s *Section) WriteGo(w io.Writer) error {
	b := bufio.NewWriter(w)
	for _, part := range s.All() {
		for _, f := range part.Figures {
			if _, err := b.WriteString(f.goLines(s.Name)); err != nil {
				return err
			}
		}
	}
	return b.Flush()
}

// goLines are a figure's samples as lines of benchmarks.
func (f *Figure) goLines(suite string) string {
	name := "Benchmark" + goName(capital(suite)+"/"+f.Name)
	if f.Role != Ours {
		name += "/role=" + string(f.Role)
	}
	var b strings.Builder
	for _, v := range f.Samples {
		b.WriteString(name + " 1 " + strconv.FormatFloat(v, 'g', 6, 64) + " " + f.Unit.goUnit() + "\n")
	}
	return b.String()
}

// capital makes the first letter one.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// goName takes what may not stand in the name of a benchmark out of one, as
// package testing does.
func goName(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, s)
}

// goUnit is the unit as benchstat writes it.
func (u Unit) goUnit() string {
	switch u {
	case Seconds:
		return "sec"
	case Nanoseconds:
		return "ns/op"
	case PerSecond:
		return "op/s"
	case Bytes:
		return "bytes"
	case Plain:
		return "n"
	}
	return string(u)
}
