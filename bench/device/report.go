package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// results is the document that a run makes.
type results struct {
	Commit string `json:"commit"`
	Go     string `json:"go"`
	Small  bool   `json:"small,omitempty"`
	// Software says that the driver was one for tests: then no figure means
	// anything.
	Software bool   `json:"software_driver,omitempty"`
	Rows     []*row `json:"rows"`
}

// softwareDriver is what a row of part facts is called that says so.
const softwareDriver = "software driver"

// writeResults writes results.json and results.md from what the journal has.
func writeResults(o options) error {
	rows, err := journalIn(o.out).rows()
	if err != nil {
		return err
	}
	r := results{Commit: o.commit, Go: runtime.Version(), Small: o.small, Rows: rows}
	r.Software = slices.ContainsFunc(rows, func(r *row) bool { return r.What == softwareDriver })
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return errors.Join(
		replace(filepath.Join(o.out, "results.json"), append(raw, '\n')),
		replace(filepath.Join(o.out, "results.md"), r.markdown()))
}

// replace writes a file so that a reader, or a copy made when the run is
// stopped, sees the old one or the new one.
func replace(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// markdown writes the page.
func (r *results) markdown() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The GPU path on %s\n\n", r.device())
	fmt.Fprintf(&b, "Made by `scripts/device.sh` at commit %s with %s. Medians; a ratio is the median of the rounds' own\n"+
		"ratios, each of two things measured in turns in one process. Rates are decimal.\n", r.Commit, r.Go)
	if r.Software {
		b.WriteString("\n**On the software driver: the run shows that the suite works. Its figures mean nothing.**\n")
	} else if r.Small {
		b.WriteString("\n**With -small: the run shows that the suite works. Its figures mean nothing.**\n")
	}
	fmt.Fprintf(&b, "\n## Goals\n\n%s", goalTable(r.Rows, r.Software || r.Small))
	for _, p := range parts() {
		// How long a part took is in the JSON; the page tells how one failed.
		mine := slices.DeleteFunc(slices.Clone(r.Rows), func(x *row) bool {
			return x.Part != p.name || (x.What == wholePart && x.Error == "")
		})
		if len(mine) > 0 {
			fmt.Fprintf(&b, "\n## %s\n\n", p.title)
			writeRows(&b, mine)
		}
	}
	return b.Bytes()
}

// device is the name of the GPU.
func (r *results) device() string {
	for _, x := range r.Rows {
		if x.Part == "facts" && x.What == "device" {
			name, _, _ := strings.Cut(x.Text, ",")
			return name
		}
	}
	return "a device that is not known"
}

// writeRows writes facts as a list and figures as a table.
func writeRows(b *bytes.Buffer, rows []*row) {
	facts := 0
	for _, r := range rows {
		if r.Text != "" {
			fmt.Fprintf(b, "* %s: %s\n", r.label(), r.Text)
			facts++
		}
	}
	if facts == len(rows) {
		return
	}
	if facts > 0 {
		b.WriteByte('\n')
	}
	b.WriteString("| what | bytes | n | median | range | ratio | to | bytes checked | |\n| --- | ---: | ---: | --- | --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		if r.Text == "" {
			r.line(b)
		}
	}
}

// line writes one row of the table.
func (r *row) line(b *bytes.Buffer) {
	value, size := "", ""
	if len(r.Samples) > 0 {
		value = r.Unit.text(median(r.Samples))
	}
	if r.Bytes > 0 {
		size = bytesText(r.Bytes)
	}
	ratio := ""
	if len(r.Ratios) > 0 {
		ratio = significant(median(r.Ratios)) + spread(r.Ratios, significant, " (%s to %s)")
	}
	remark := strings.TrimPrefix(strings.TrimSuffix(r.Note+"; "+r.Error, "; "), "; ")
	fmt.Fprintf(b, "| %s | %s | %d | %s | %s | %s | %s | %s | %s |\n", cell(r.label()), size, len(r.Samples),
		value, spread(r.Samples, r.Unit.text, "%s to %s"), ratio, cell(r.Limit), cell(r.Check), cell(remark))
}

// label is the row's name and conditions.
func (r *row) label() string {
	if r.With == "" {
		return r.What
	}
	return r.What + ", " + r.With
}

// spread writes least and most of several values.
func spread(v []float64, text func(float64) string, format string) string {
	if len(v) < 2 {
		return ""
	}
	return fmt.Sprintf(format, text(slices.Min(v)), text(slices.Max(v)))
}

// cell makes text fit for a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s)
}
