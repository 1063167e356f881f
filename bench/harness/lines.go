package harness

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Line is a figure as people read it.
type Line struct {
	Name, N, Median, Interval string
	// Ratio is to the figure To, with its interval; Peer to the best peer, which
	// it names.
	Ratio, To, Peer string
	// Verdict is the goal and whether it was reached, "" without one.
	Verdict string
	Role    Role
	Note    string
}

// Lines returns the section's figures in their order.
func (s *Section) Lines() []Line {
	out := make([]Line, 0, len(s.Figures))
	for _, f := range s.Figures {
		out = append(out, f.line())
	}
	return out
}

func (f *Figure) line() Line {
	l := Line{Name: Label(f.Name), N: strconv.Itoa(len(f.Samples)), Median: "not measured", Role: f.Role, Note: f.Note}
	if len(f.Samples) > 0 {
		l.Median, l.Interval = f.Unit.Text(Median(f.Samples)), intervalText(f.Samples, f.Unit.Text)
	}
	l.Ratio, l.To = ratioText(f.Ratios), Label(f.To)
	if p := ratioText(f.ToPeer); p != "" {
		l.Peer = p + " of " + Label(f.BestPeer)
	}
	if g, ok := f.goal(); ok {
		l.Verdict = g.Goal + ": " + g.Result()
	}
	return l
}

// Label makes the name of a figure fit to be read: op=encode/codec=fast is
// "encode, codec=fast".
func Label(name string) string {
	return strings.ReplaceAll(strings.TrimPrefix(name, "op="), "/", ", ")
}

// intervalText writes the interval of the median, and its confidence where
// that is not the one it should have; "" of one sample.
func intervalText(v []float64, text func(float64) string) string {
	i := IntervalOf(v)
	t := i.Text(text)
	if t != "" && i.Level < Confidence {
		t += fmt.Sprintf(" (%.0f %%)", 100*i.Level)
	}
	return t
}

// ratioText writes ratios and their interval.
func ratioText(v []float64) string {
	if len(v) == 0 {
		return ""
	}
	t := share(Median(v))
	if i := IntervalOf(v).Text(share); i != "" {
		t += " (" + i + ")"
	}
	return t
}

// GoalLine is a goal and what became of it.
type GoalLine struct {
	Suite, Figure, Goal, Median, Interval, To string
	Reached                                   bool
	// Unjudged is why the goal is neither reached nor missed, "" if it is.
	Unjudged string
	// Close says that the bound lies within the interval: another run may judge
	// otherwise.
	Close bool
}

// Result says whether the goal was reached.
func (g *GoalLine) Result() string {
	if g.Unjudged != "" {
		return "not judged: " + g.Unjudged
	}
	result := "**missed**"
	if g.Reached {
		result = "reached"
	}
	if g.Close {
		result += ", within the interval"
	}
	return result
}

// Tally counts goals by what became of them.
func Tally(goals []GoalLine) (reached, missed, unjudged int) {
	for _, g := range goals {
		switch {
		case g.Unjudged != "":
			unjudged++
		case g.Reached:
			reached++
		default:
			missed++
		}
	}
	return reached, missed, unjudged
}

// order is where a goal stands among others.
func (g *GoalLine) order() int {
	switch {
	case g.Unjudged != "":
		return 1
	case g.Reached:
		return 2
	}
	return 0
}

// Goals returns all goals of a report: those that were missed, those that could
// not be judged, and those that were reached.
func (r *Report) Goals() []GoalLine {
	var out []GoalLine
	for _, s := range r.Sections {
		for _, part := range s.All() {
			for _, f := range part.Figures {
				if g, ok := f.goal(); ok {
					g.Suite = s.Name
					out = append(out, g)
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b GoalLine) int { return a.order() - b.order() })
	return out
}

// Failed names the suites that ended early: goals of theirs may not be among
// those of Goals.
func (r *Report) Failed() []string {
	var out []string
	for _, s := range r.Sections {
		if s.Failed != "" {
			out = append(out, s.Name)
		}
	}
	return out
}

// Missing returns what could not be measured, each with its suite.
func (r *Report) Missing() []string {
	var out []string
	for _, s := range r.Sections {
		for _, part := range s.All() {
			for _, m := range part.Missing {
				out = append(out, s.Name+": "+m)
			}
		}
	}
	return out
}

// goal judges a figure, if it has a goal.
func (f *Figure) goal() (GoalLine, bool) {
	if f.Goal == (Goal{}) {
		return GoalLine{}, false
	}
	v, text := f.judged()
	g := GoalLine{Figure: Label(f.Name), To: Label(f.To), Goal: "≥ " + text(f.Goal.AtLeast)}
	bound := f.Goal.AtLeast
	if f.Goal.AtMost > 0 {
		bound, g.Goal = f.Goal.AtMost, "≤ "+text(f.Goal.AtMost)
	}
	if g.Unjudged = f.Unjudged; g.Unjudged == "" && len(v) == 0 {
		g.Unjudged = "it was not measured"
	}
	if g.Unjudged != "" {
		return g, true
	}
	m, i := Median(v), IntervalOf(v)
	g.Median, g.Interval = text(m), intervalText(v, text)
	if g.Reached = m >= bound; f.Goal.AtMost > 0 {
		g.Reached = m <= bound
	}
	g.Close = i.Level > 0 && i.Low < bound && bound < i.High
	return g, true
}
