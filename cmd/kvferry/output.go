package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes v as one JSON document with --json, and calls human otherwise.
func (a *app) print(v any, human func(w io.Writer) error) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	return human(a.out)
}

// columns writes rows of cells as an aligned table; the first row is the head.
func columns(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		// Without the last tab tabwriter leaves the last column unpadded.
		if _, err := fmt.Fprintln(t, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// facts writes pairs of name and value, the values aligned.
func facts(w io.Writer, pairs ...string) error {
	var rows [][]string
	for i := 0; i+1 < len(pairs); i += 2 {
		rows = append(rows, pairs[i:i+2])
	}
	return columns(w, rows)
}

// size returns n bytes for people, in binary units.
func size(n int64) string {
	if n < 1024 && n > -1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, units := float64(n)/1024, "KMGTPE"
	i := 0
	for (v >= 1023.95 || v <= -1023.95) && i < len(units)-1 {
		v /= 1024
		i++
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// count returns a number and its noun, plural by an s.
func count[T int | int64 | uint64](n T, noun string) string {
	if n == 1 {
		return fmt.Sprintf("%d %s", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// rate returns bytes per second for people, in decimal units as memory and
// links are measured.
func rate(bytes int64, d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	v := float64(bytes) / d.Seconds()
	switch {
	case v >= 1e9:
		return fmt.Sprintf("%.2f GB/s", v/1e9)
	case v >= 1e6:
		return fmt.Sprintf("%.1f MB/s", v/1e6)
	}
	return fmt.Sprintf("%.1f kB/s", v/1e3)
}

// milliseconds returns d in milliseconds with the fraction.
func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// span returns d for people, rounded to what matters.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// orDash returns s, or a dash where there is nothing.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
