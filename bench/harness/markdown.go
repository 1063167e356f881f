package harness

import (
	"bytes"
	"fmt"
	"strings"
)

// Markdown writes the report: the goals and whether they were reached first,
// then what a reader needs to repeat the run, then what each suite found.
func (r *Report) Markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Figures\n\n%s\n\n", wrap(Explanation))
	r.goals(&b)
	fmt.Fprint(&b, "\n## Conditions\n\n")
	head(&b, "", "")
	for _, c := range r.Conditions {
		row(&b, c.Name, c.Text)
	}
	if missing := r.Missing(); len(missing) > 0 {
		fmt.Fprint(&b, "\n## Not measured\n\nPeers that were not installed or failed, and what else this machine cannot do:\n\n")
		for _, m := range missing {
			fmt.Fprintf(&b, "* %s\n", cell(oneLine(m)))
		}
	}
	for _, s := range r.Sections {
		s.markdown(&b, "##")
		for _, p := range s.Parts {
			p.markdown(&b, "###")
		}
	}
	return b.Bytes()
}

// Explanation says how to read a report.
const Explanation = "Made by `make bench-report`. A figure is the median of its rounds; a ratio is the median of the rounds' " +
	"own ratios, each of two things measured in turns in one round on one machine and one set of data. The interval is where " +
	"the median lies with 95 % confidence, by order statistics: that takes six rounds; with fewer it goes from the least to the " +
	"greatest and its confidence is given. Of times, and of whatever else should be little, a ratio below 100 % is the better one. " +
	"Rates are decimal and count plain bytes."

// goals writes every goal, those that were missed first, then those that were
// not judged.
func (r *Report) goals(b *bytes.Buffer) {
	goals := r.Goals()
	reached, missed, unjudged := Tally(goals)
	fmt.Fprintf(b, "## Goals\n\n%d of %d goals were reached; **missed**: %d; not judged: %d.\n\n", reached, len(goals), missed, unjudged)
	if failed := r.Failed(); len(failed) > 0 {
		fmt.Fprintf(b, "**Suites that failed**, so that goals of theirs may not be listed: %s.\n\n", cell(strings.Join(failed, ", ")))
	}
	if len(goals) == 0 {
		return
	}
	head(b, "suite", "figure", "goal", "median", "interval", "to", "result")
	for _, g := range goals {
		row(b, g.Suite, g.Figure, g.Goal, g.Median, g.Interval, g.To, g.Result())
	}
}

// markdown writes one section without its parts.
func (s *Section) markdown(b *bytes.Buffer, level string) {
	fmt.Fprintf(b, "\n%s %s\n", level, plain(s.Title))
	for _, n := range s.Notes {
		fmt.Fprintf(b, "\n%s\n", wrap(plain(n)))
	}
	if s.Failed != "" {
		fmt.Fprintf(b, "\n**The suite failed, and what follows is what it found until then:** %s\n", cell(oneLine(s.Failed)))
	}
	if len(s.Versions) > 0 {
		fmt.Fprintf(b, "\nPeers: %s.\n", cell(strings.Join(s.Versions, ", ")))
	}
	switch {
	case len(s.Figures) > 0:
		fmt.Fprintln(b)
		head(b, "figure", "n", "median", "interval", "ratio", "to", "to the best peer", "goal")
		for _, l := range s.Lines() {
			row(b, l.markdownName(), l.N, l.Median, l.Interval, l.Ratio, l.To, l.Peer, l.Verdict)
		}
	case len(s.Parts) == 0:
		fmt.Fprint(b, "\nNothing was measured.\n")
	}
	for _, t := range s.Tables {
		fmt.Fprintf(b, "\n%s\n\n", plain(t.Title))
		head(b, t.Head...)
		for _, r := range t.Rows {
			row(b, r...)
		}
	}
}

// markdownName tells whose figure it is, and what else there is to say of it.
func (l *Line) markdownName() string {
	name := l.Name
	if l.Role != Ours {
		name += " (" + string(l.Role) + ")"
	}
	if l.Note != "" {
		name += "; " + l.Note
	}
	return name
}

func head(b *bytes.Buffer, cells ...string) {
	row(b, cells...)
	fmt.Fprintln(b, "|"+strings.Repeat(" --- |", len(cells)))
}

func row(b *bytes.Buffer, cells ...string) {
	for _, c := range cells {
		if c == "" {
			fmt.Fprint(b, "| ")
			continue
		}
		fmt.Fprintf(b, "| %s ", cell(oneLine(c)))
	}
	fmt.Fprintln(b, "|")
}

// cell makes text fit for a table.
func cell(s string) string { return strings.ReplaceAll(plain(s), "|", `\|`) }

// plain keeps text from being HTML.
func plain(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// wrap breaks a paragraph as the documents of the tree are.
func wrap(text string) string {
	const width = 120
	var out strings.Builder
	at := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case at+1+len(word) > width:
			out.WriteByte('\n')
			at = 0
		default:
			out.WriteByte(' ')
			at++
		}
		out.WriteString(word)
		at += len(word)
	}
	return out.String()
}
