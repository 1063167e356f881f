//go:build cuda

package softcuda

import (
	"fmt"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// Violations returns the breaches so far, and forgets them: for tests that
// provoke one.
func Violations() []string {
	var vs []string
	for _, line := range lines(text("violations")) {
		vs = append(vs, programCounter.ReplaceAllStringFunc(line, place))
	}
	return vs
}

// Leaks returns what is open in the driver: memory, streams, events, modules,
// links, references to contexts.
func Leaks() []string { return leaks(0) }

func leaks(since int64) []string { return lines(text("leaks %d", since)) }

// Span is one operation on the logical time line. Time is in nanoseconds of a
// link of SetLink's rate; it is worked out when the operation is submitted, from
// what it has to wait for, and so is the same in every mode.
type Span struct {
	Stream     int
	Kind       string // copy, fill, kernel, host
	Bytes      int64
	Submitted  int64 // the host's time then
	Begin, End int64
	Label      string // the driver's function; of a kernel, its name
}

// Timeline returns the operations since the last reset, as they were submitted.
func Timeline() []Span {
	var spans []Span
	for _, line := range lines(text("timeline")) {
		var s Span
		if _, err := fmt.Sscan(line, &s.Stream, &s.Kind, &s.Bytes, &s.Submitted, &s.Begin, &s.End, &s.Label); err != nil {
			panic("softcuda: time line: " + line + ": " + err.Error())
		}
		spans = append(spans, s)
	}
	return spans
}

// BytesOverLink returns the bytes that copies moved over the link since the last
// reset.
func BytesOverLink() (toHost, toDevice int64) { return control("tohost"), control("todevice") }

func lines(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == '\n' })
}

var programCounter = regexp.MustCompile(`pc=0x[0-9a-f]+`)

// place names the Go function at a program counter.
func place(s string) string {
	pc, err := strconv.ParseUint(s[len("pc=0x"):], 16, 64)
	if err != nil {
		return s
	}
	f := runtime.FuncForPC(uintptr(pc))
	if f == nil {
		return s
	}
	file, line := f.FileLine(uintptr(pc))
	return fmt.Sprintf("%s (%s:%d)", f.Name(), file[strings.LastIndexByte(file, '/')+1:], line)
}
