// Package harness is what kvferry's benchmarks have in common: figures with a
// sample of each round, ratios of things measured in turns in one run, goals,
// and the report that a run makes.
//
// A suite measures one part of kvferry beside the limit that physics sets it
// (a copy, a hash, a disk, a link) and beside its peers, which are programs
// that print lines of JSON; see Peer. Every figure is a list of samples, one
// for each round, and a ratio is the median of the rounds' own ratios, so that
// both sides of it saw the same machine.
package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Suite is one part of kvferry that can be measured.
type Suite struct {
	Name  string // one lower-case word, as in "kvferry bench NAME"
	Title string
	// Run measures and adds what it found to s. It leaves nothing behind in
	// e.Dir. When ctx ends it returns soon, and what it added is kept.
	Run func(ctx context.Context, e *Env, s *Section) error
}

// Scale says how much is moved.
type Scale uint8

// The scales.
const (
	// Quick takes seconds to a minute for each suite: all of them, without
	// peers, at most five minutes on two cores.
	Quick Scale = iota
	// Full is what a report is made of: all suites with their peers take at
	// most half an hour on two cores.
	Full
	// Smoke only shows that everything works; its figures mean nothing.
	Smoke
)

// String returns the scale's name as the command line spells it.
func (s Scale) String() string {
	switch s {
	case Quick:
		return "quick"
	case Full:
		return "full"
	case Smoke:
		return "smoke"
	}
	return fmt.Sprintf("scale %d", uint8(s))
}

// Env is what a suite may use.
type Env struct {
	// Dir is an empty folder on the disk to measure.
	Dir string
	// Rounds is how often everything is measured, in turns; 1 or more.
	Rounds int
	Scale  Scale
	// Peers is the folder that make bench-peers fills, "" for none: a peer is
	// the executable of its name in there.
	Peers string
	// Models is a folder with real page files (NAME.kv beside NAME.json), ""
	// for those that are built in.
	Models string
	// Self is the command that does a task in a process of its own: the suite's
	// name, "child" and the task are added to it. Empty where there is none; a
	// suite that needs it says so then.
	Self []string
	// Log tells what is under way. It may be called from any goroutine.
	Log func(format string, args ...any)
}

// Folder makes a new empty folder below Dir; the caller removes it.
func (e *Env) Folder(name string) (string, error) {
	return os.MkdirTemp(e.Dir, name+"-")
}

// PeerPath returns the executable of a peer, "" if it is not installed.
func (e *Env) PeerPath(name string) string {
	if e.Peers == "" {
		return ""
	}
	path := filepath.Join(e.Peers, name)
	if st, err := os.Stat(path); err != nil || !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0 {
		return ""
	}
	return path
}

// Report is what a run found.
type Report struct {
	Conditions []Condition `json:"conditions"`
	Sections   []*Section  `json:"sections"`
}

// Condition is something that a reader needs to know to repeat the run.
type Condition struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Section is what one suite found.
type Section struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Notes   []string  `json:"notes,omitempty"`
	Figures []*Figure `json:"figures"`
	// Tables show what is no measurement: statistics of the data, say.
	Tables []*Table `json:"tables,omitempty"`
	// Parts are sections below this one, of one level.
	Parts []*Section `json:"parts,omitempty"`
	// Versions are those of the peers that ran, be it to fail later: "zipnn 0.5.3".
	Versions []string `json:"versions,omitempty"`
	// Missing are the peers that were not installed or failed, and why if that is
	// known.
	Missing []string `json:"missing,omitempty"`
	// Failed is why the suite ended early, "" if it did not.
	Failed  string  `json:"failed,omitempty"`
	Seconds float64 `json:"seconds,omitempty"` // that the suite took
}

// Table is a head and rows of as many cells.
type Table struct {
	Title string     `json:"title"`
	Head  []string   `json:"head"`
	Rows  [][]string `json:"rows"`
}

// Part adds a section below this one, for a suite with many figures.
func (s *Section) Part(name, title string) *Section {
	p := &Section{Name: name, Title: title}
	s.Parts = append(s.Parts, p)
	return p
}

// All returns the section and its parts.
func (s *Section) All() []*Section { return append([]*Section{s}, s.Parts...) }

// Figure adds a line to the section's table. Its name is key=value pairs with
// slashes between them, op first, as in "op=encode/codec=fast/data=kvlab", so
// that it is the name of a Go benchmark too.
func (s *Section) Figure(name string, u Unit) *Figure {
	f := &Figure{Name: name, Unit: u}
	s.Figures = append(s.Figures, f)
	return f
}

// Note adds a paragraph above the table.
func (s *Section) Note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// Miss tells that a peer could not be measured.
func (s *Section) Miss(peer, why string) {
	s.Missing = append(s.Missing, peer+": "+why)
}

// Fail tells that a peer failed, and takes its figures out of the section: the
// rounds that it did before are held against nothing.
func (s *Section) Fail(peer string, err error, figures ...*Figure) {
	s.Miss(peer, "failed: "+err.Error())
	s.Drop(figures...)
}

// Drop takes figures and their samples out of the section.
func (s *Section) Drop(figures ...*Figure) {
	for _, f := range figures {
		f.Samples = nil
	}
	s.Figures = slices.DeleteFunc(s.Figures, func(f *Figure) bool { return slices.Contains(figures, f) })
}

// Table adds a table behind the section's figures; the caller fills its rows.
func (s *Section) Table(title string, head ...string) *Table {
	t := &Table{Title: title, Head: head}
	s.Tables = append(s.Tables, t)
	return t
}

// Row adds a row.
func (t *Table) Row(cells ...string) { t.Rows = append(t.Rows, cells) }

// Version notes which version of a peer ran, each once.
func (s *Section) Version(v string) {
	if v != "" && !slices.Contains(s.Versions, v) {
		s.Versions = append(s.Versions, v)
	}
}
