package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// report is the page that a run makes.
type report struct {
	Conditions []condition `json:"conditions"`
	Sections   []*section  `json:"sections"`
}

// condition is something that a reader needs to know to repeat the run.
type condition struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// section is what one measurement found.
type section struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Notes   []string  `json:"notes"`
	Figures []*figure `json:"figures"`
}

func newReport(c []condition) *report { return &report{Conditions: c} }

func (r *report) section(name, title string) *section {
	s := &section{Name: name, Title: title}
	r.Sections = append(r.Sections, s)
	return s
}

// figure adds a line to the section's table.
func (s *section) figure(what string, u unit) *figure {
	f := &figure{What: what, Unit: u}
	s.Figures = append(s.Figures, f)
	return f
}

// note adds a paragraph above the table.
func (s *section) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// conditions collects what a reader needs to know.
func conditions(ctx context.Context, b *bench, o options) []condition {
	c := []condition{
		{"date", time.Now().UTC().Format(time.DateOnly)},
		{"commit", o.commit},
		{"machine", fmt.Sprintf("%d cores, %s", runtime.NumCPU(), machine(ctx, b.root))},
		{"Go", fmt.Sprintf("%s, %s/%s", runtime.Version(), runtime.GOOS, runtime.GOARCH)},
		{"flags", o.flags()},
		{"rounds", fmt.Sprintf("%d, unless a table says otherwise", b.rounds)},
	}
	for _, name := range []string{b.fio, b.peer("restic"), b.peer("kopia")} {
		if name != "" {
			c = append(c, condition{filepath.Base(name), version(ctx, name)})
		}
	}
	if o.scale != "full" {
		c = append(c, condition{"scale", o.scale + ": these figures mean nothing"})
	}
	return c
}

// flags are those that decide what was measured.
func (o options) flags() string {
	text := "-store " + o.store + " -scale " + o.scale
	if o.rounds > 0 {
		text += " -rounds " + strconv.Itoa(o.rounds)
	}
	if o.only != "" {
		text += " -only '" + o.only + "'"
	}
	return "`" + text + "`"
}

// version is the first line that a program says of itself.
func version(ctx context.Context, program string) string {
	for _, arg := range []string{"version", "--version"} {
		out, err := exec.CommandContext(ctx, program, arg).Output()
		if line, _, _ := strings.Cut(string(out), "\n"); err == nil && line != "" {
			line, _, _ = strings.Cut(line, " build:") // kopia goes on with what it does not know
			return strings.TrimSpace(line)
		}
	}
	return "unknown version"
}

// write puts the page and the samples where the flags say.
func (r *report) write(o options, stdout io.Writer) error {
	page := r.markdown()
	if o.raw != "" {
		raw, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.raw, append(raw, '\n'), 0o644); err != nil {
			return err
		}
	}
	if o.out == "" {
		_, err := stdout.Write(page)
		return err
	}
	return os.WriteFile(o.out, page, 0o644)
}

// markdown writes the page.
func (r *report) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprint(&b, "# The store beside its disk and others\n\n")
	fmt.Fprint(&b, "Made by `make bench-store`. Medians; a ratio is the median of the rounds' own ratios, each of two things\n"+
		"measured in turns in one round, on one directory. Rates are decimal and count plain bytes.\n\n")
	fmt.Fprint(&b, "| | |\n| --- | --- |\n")
	for _, c := range r.Conditions {
		fmt.Fprintf(&b, "| %s | %s |\n", c.Name, cell(c.Text))
	}
	for _, s := range r.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Title)
		for _, n := range s.Notes {
			fmt.Fprintf(&b, "%s\n\n", wrap(n))
		}
		s.table(&b)
	}
	return b.Bytes()
}

// table writes the section's figures.
func (s *section) table(b *bytes.Buffer) {
	fmt.Fprint(b, "| what | median | range | ratio | to | goal | |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, f := range s.Figures {
		ratio := ""
		if len(f.Ratios) > 0 {
			ratio = share(median(f.Ratios))
			if r := spread(f.Ratios, share); r != "" {
				ratio += " (" + r + ")"
			}
		}
		value := "not measured"
		if len(f.Samples) > 0 {
			value = f.Unit.text(median(f.Samples))
		}
		goalText, result := f.verdict()
		if f.Note != "" {
			result = strings.TrimPrefix(result+"; "+f.Note, "; ")
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s |\n",
			cell(f.What), value, spread(f.Samples, f.Unit.text), ratio, cell(f.Limit), goalText, cell(result))
	}
}

// cell makes text fit for a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

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
