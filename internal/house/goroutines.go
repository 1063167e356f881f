package house

import (
	"go/ast"
	"go/token"
)

// leakChecker is the module whose VerifyTestMain looks for goroutines that
// outlive the tests.
const leakChecker = "go.uber.org/goleak"

// checkGoroutineLeak wants a leak check in each package whose code, or a suite
// that its tests call, starts goroutines. Suites themselves have no tests.
func checkGoroutineLeak(t *Tree) []Problem {
	var out []Problem
	for _, p := range t.Packages {
		at := t.spawns(p)
		if at.IsValid() && !p.Suite() && !verifiesLeaks(p) {
			out = append(out, t.problem(at, "a goroutine starts here, and the tests of %s do not look for leaked ones", p.Dir))
		}
	}
	return out
}

// spawns returns the first place where a package, or a suite that its tests
// call, starts a goroutine.
func (t *Tree) spawns(p *Package) token.Pos {
	for _, f := range p.Files {
		if !f.Test {
			if at := spawn(f.Syntax); at.IsValid() {
				return at
			}
			continue
		}
		for _, s := range f.Syntax.Imports {
			dir, ok := t.local(importPath(s))
			if suite := t.pkg(dir); ok && suite != nil && suite != p && suite.Suite() {
				if at := t.spawns(suite); at.IsValid() {
					return at
				}
			}
		}
	}
	return token.NoPos
}

// spawn returns the first go statement of a file, or the first call of a
// method Go (of a sync.WaitGroup or an error group), which hides one.
func spawn(file *ast.File) token.Pos {
	at := token.NoPos
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			at = n.Pos()
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "Go" && len(n.Args) == 1 {
				at = n.Pos()
			}
		}
		return !at.IsValid()
	})
	return at
}

// verifiesLeaks reports whether a test of the package calls VerifyTestMain.
func verifiesLeaks(p *Package) bool {
	found := false
	for _, f := range p.Files {
		pkg := f.importName(leakChecker)
		if !f.Test || pkg == "" {
			continue
		}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			found = found || isSelector(n, pkg, "VerifyTestMain")
			return !found
		})
	}
	return found
}
