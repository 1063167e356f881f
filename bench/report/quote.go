package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/kvferry/kvferry/bench/harness"
)

// A document that quotes figures names them in a comment, a line each, and has
// the table between that comment's end and another comment:
//
//	<!-- figures: suite | name | what it is
//	codec | op=ratio/codec=fast/data=kvlab | ratio of `fast`
//	-->
//	the table
//	<!-- end of figures -->
//
// So it says what stands in the report and nothing else.
const (
	listBegins  = "<!-- figures:"
	listEnds    = "\n-->\n"
	tableEnds   = "<!-- end of figures -->"
	notMeasured = "not measured"
)

// quoteFile writes a document's table anew.
func quoteFile(path string, r *harness.Report) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out, err := quote(string(text), r)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(out), 0o644)
}

var errMarks = errors.New("no list and table of figures: see bench/report/quote.go")

// quote returns the text with another table.
func quote(text string, r *harness.Report) (string, error) {
	before, rest, ok := strings.Cut(text, listBegins)
	if !ok {
		return "", errMarks
	}
	list, rest, ok := strings.Cut(rest, listEnds)
	if !ok {
		return "", errMarks
	}
	_, after, ok := strings.Cut(rest, tableEnds)
	if !ok {
		return "", errMarks
	}
	table := "\n| what | median | interval | ratio | to the best peer | goal |\n| --- | --- | --- | --- | --- | --- |\n"
	for line := range strings.Lines(list + "\n") {
		cells := strings.SplitN(strings.TrimSpace(line), " | ", 3)
		if len(cells) != 3 || cells[0] == "suite" {
			continue
		}
		table += quotedRow(r, cells[0], cells[1], cells[2])
	}
	return before + listBegins + list + listEnds + table + "\n" + tableEnds + after, nil
}

// quotedRow writes one figure.
func quotedRow(r *harness.Report, suite, name, what string) string {
	l, ok := find(r, suite, name)
	if !ok {
		return fmt.Sprintf("| %s | %s | | | | |\n", what, notMeasured)
	}
	ratio := l.Ratio
	if l.To != "" {
		ratio += " of " + l.To
	}
	row := "| " + strings.Join([]string{what, l.Median, l.Interval, ratio, l.Peer, l.Verdict}, " | ") + " |\n"
	return strings.ReplaceAll(row, "  ", " ")
}

// find returns a figure of a suite.
func find(r *harness.Report, suite, name string) (harness.Line, bool) {
	for _, s := range r.Sections {
		for _, p := range s.All() {
			lines := p.Lines()
			for i, f := range p.Figures {
				if s.Name == suite && f.Name == name && len(f.Samples) > 0 {
					return lines[i], true
				}
			}
		}
	}
	return harness.Line{}, false
}
