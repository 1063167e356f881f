// Command slower reads what benchstat -format csv says of two sides and fails
// if a benchmark is slower on the second: significantly, and by more than a
// bound. Times may not rise and rates, whose units end in "/s", may not fall;
// other units, such as bytes and allocations, are no slow-down and are left out.
//
//	benchstat -format csv old.txt new.txt | slower [-percent 5]
//
// The exit status is 1 if something is slower, 2 if the input is no comparison.
package main

import (
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

func main() {
	percent := flag.Float64("percent", 5, "slow-down in per cent that is let pass")
	flag.Parse()
	os.Exit(run(os.Stdin, os.Stdout, *percent))
}

// run judges and tells.
func run(in io.Reader, out io.Writer, percent float64) int {
	compared, slower, err := judge(in, percent)
	if err != nil {
		_, _ = fmt.Fprintln(out, "slower:", err) // nobody else can be told
		return 2
	}
	for _, s := range slower {
		_, _ = fmt.Fprintln(out, "slower:", s)
	}
	_, _ = fmt.Fprintf(out, "slower: %d of %d comparisons, by more than %g %%\n", len(slower), compared, percent)
	if len(slower) > 0 {
		return 1
	}
	return 0
}

// errNothing says that the input compares nothing.
var errNothing = errors.New("the input compares nothing: are there benchmarks of one name on both sides?")

// judge reads benchstat's tables. Each has a line with the files, one with the
// unit, and one for each benchmark: name, value, interval, value, interval,
// change, probability. A change that is not significant is "~".
func judge(in io.Reader, percent float64) (compared int, slower []string, err error) {
	r := csv.NewReader(in)
	r.FieldsPerRecord = -1
	unit := ""
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, nil, err
		}
		if len(row) > 5 && row[0] == "" && row[2] == "CI" {
			unit = row[1]
		}
		if len(row) < 7 || row[0] == "" || row[0] == "geomean" || sign(unit) == 0 {
			continue
		}
		compared++
		change, err := changeOf(row[5])
		if err != nil {
			return 0, nil, fmt.Errorf("%s: %w", row[0], err)
		}
		if change*sign(unit) > percent {
			slower = append(slower, fmt.Sprintf("%s: %s %s (%s)", row[0], row[5], unit, row[6]))
		}
	}
	if compared == 0 {
		return 0, nil, errNothing
	}
	return compared, slower, nil
}

// sign is 1 for units of which more is slower, -1 where less is, 0 for others.
func sign(unit string) float64 {
	switch {
	case unit == "sec/op" || unit == "sec" || unit == "ns/op":
		return 1
	case strings.HasSuffix(unit, "/s"):
		return -1
	}
	return 0
}

// changeOf reads a change in per cent; 0 if it is not significant. Of a rate
// that fell by a half benchstat says -50 %.
func changeOf(text string) (float64, error) {
	switch text {
	case "~", "?", "":
		return 0, nil
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil {
		return 0, fmt.Errorf("change %q: %w", text, err)
	}
	return v, nil
}
