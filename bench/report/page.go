package main

import (
	_ "embed"
	"html/template"
	"io"
	"strings"

	"github.com/kvferry/kvferry/bench/harness"
)

//go:embed page.html
var pageText string

// view is what the template shows.
type view struct {
	Explanation string
	Conditions  []harness.Condition
	Goals       []harness.GoalLine
	Reached     int
	Missed      int
	Unjudged    int
	Missing     []string
	Failed      []string
	Suites      []suite
}

// suite is a section and its parts.
type suite struct {
	Name  string
	Parts []part
}

// part is one section as it is shown.
type part struct {
	*harness.Section
	Top    bool // the section itself, not one of its parts
	Charts []chart
}

// chart is a plot: an SVG that this program made.
type chart struct {
	Title string
	SVG   template.HTML
}

// write makes the page.
func write(w io.Writer, r *harness.Report) error {
	v := view{
		Explanation: strings.ReplaceAll(harness.Explanation, "`", ""),
		Conditions:  r.Conditions, Goals: r.Goals(), Missing: r.Missing(), Failed: r.Failed(),
	}
	v.Reached, v.Missed, v.Unjudged = harness.Tally(v.Goals)
	for _, s := range r.Sections {
		out := suite{Name: s.Name}
		for i, p := range s.All() {
			charts, err := plots(p)
			if err != nil {
				return err
			}
			out.Parts = append(out.Parts, part{p, i == 0, charts})
		}
		v.Suites = append(v.Suites, out)
	}
	t, err := template.New("page").Funcs(template.FuncMap{
		// plain takes Markdown's marks away.
		"plain": func(s string) string { return strings.NewReplacer("**", "", "`", "").Replace(s) },
		"state": state,
	}).Parse(pageText)
	if err != nil {
		return err
	}
	return t.Execute(w, v)
}

// state is the class of a verdict.
func state(verdict string) string {
	switch {
	case strings.Contains(verdict, "not judged"):
		return "" // whatever the reason says
	case strings.Contains(verdict, "missed"):
		return "missed"
	case strings.Contains(verdict, "reached"):
		return "reached"
	}
	return ""
}
