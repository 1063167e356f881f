package house

import (
	"fmt"
	"slices"
	"strings"
)

// drawing is the file whose block of arrows is the one source of what may
// import what.
const drawing = "ARCHITECTURE.md"

// arrows is the block as data: for each left side what it may import.
//
//	PACKAGE -> A B     code of PACKAGE may import A and B
//	PACKAGE_test -> A  so may its tests, beyond what its code may
//	* -> A             every package may import A
//	*_test -> A        the tests of every package may import A
//
// Packages are directories relative to the root; "." is the root.
type arrows map[string][]string

// checkImports holds every import within the module against the drawing, and
// the drawing against the packages that exist.
func checkImports(t *Tree) []Problem {
	allowed, problems := t.arrows()
	if len(allowed) == 0 {
		return problems
	}
	for _, p := range t.Packages {
		if _, drawn := allowed[p.Dir]; !drawn && len(p.code()) > 0 {
			problems = append(problems, Problem{p.Dir, "package has no line in the block of arrows of " + drawing})
		}
		for _, f := range p.Files {
			problems = append(problems, t.undrawn(f, allowed)...)
		}
	}
	return problems
}

// undrawn returns the imports of one file that have no arrow.
func (t *Tree) undrawn(f *File, allowed arrows) []Problem {
	may := slices.Concat(allowed["*"], allowed[f.Package.Dir])
	if f.Test {
		may = append(may, f.Package.Dir)
		may = slices.Concat(may, allowed["*_test"], allowed[f.Package.Dir+"_test"])
	}
	var out []Problem
	for _, s := range f.Syntax.Imports {
		to, ok := t.local(importPath(s))
		if ok && !slices.Contains(may, to) {
			out = append(out, t.problem(s.Pos(), "no arrow is drawn from %s to %s", f.Package.Dir, to))
		}
	}
	return out
}

// arrows parses the block of the drawing and checks that what it names exists.
func (t *Tree) arrows() (arrows, []Problem) {
	i := slices.IndexFunc(t.Texts, func(x Text) bool { return x.Path == drawing })
	if i < 0 {
		return nil, []Problem{{drawing, "file is missing"}}
	}
	var (
		out      = arrows{}
		problems []Problem
		inside   bool
	)
	for n, line := range strings.Split(string(t.Texts[i].Data), "\n") {
		at := fmt.Sprintf("%s:%d", drawing, n+1)
		switch line = strings.TrimSpace(line); {
		case line == "```imports":
			inside = true
			continue
		case line == "```":
			inside = false
		}
		if !inside || line == "" {
			continue
		}
		from, to, ok := strings.Cut(line, "->")
		from = strings.TrimSpace(from)
		if _, twice := out[from]; !ok || twice {
			problems = append(problems, Problem{at, fmt.Sprintf("want one line `PACKAGE -> PACKAGES` per package, have %q", line)})
			continue
		}
		out[from] = strings.Fields(to)
		problems = append(problems, t.missing(at, from, out[from])...)
	}
	if len(out) == 0 {
		problems = append(problems, Problem{drawing, "block ```imports is missing or empty"})
	}
	return out, problems
}

// missing returns a problem for each drawn package that the tree does not have.
func (t *Tree) missing(at, from string, to []string) []Problem {
	var out []Problem
	if from = strings.TrimSuffix(from, "_test"); from != "*" {
		to = slices.Concat([]string{from}, to)
	}
	for _, dir := range to {
		if t.pkg(dir) == nil {
			out = append(out, Problem{at, "drawn package " + dir + " does not exist"})
		}
	}
	return out
}
