package house

import (
	"go/ast"
	"path"
	"slices"
)

// checkCgo keeps cgo where a C toolchain is expected. Modules nested in the tree
// are not looked at: internal/sqlitehost, which proves the page cache by SQLite
// itself, is one, so that the product needs neither SQLite nor a C compiler. The
// software driver of the tests speaks to its C side from internal/softcuda.
func checkCgo(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.files(func(f *File) bool { return !f.Package.under("cuda", "capi", "internal/softcuda") }) {
		for _, s := range f.Syntax.Imports {
			if importPath(s) == "C" {
				out = append(out, t.problem(s.Pos(), `import "C" outside cuda/, capi/ and internal/softcuda/`))
			}
		}
	}
	return out
}

// checkPackageNames refuses names that say nothing.
func checkPackageNames(t *Tree) []Problem {
	drawers := []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "types"}
	var out []Problem
	for _, p := range t.Packages {
		name := p.Files[0].Syntax.Name
		if slices.Contains(drawers, name.Name) || slices.Contains(drawers, path.Base(p.Dir)) {
			out = append(out, t.problem(name.Pos(), "a package named %s says nothing about what is in it", name.Name))
		}
	}
	return out
}

// checkInit refuses init functions.
func checkInit(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.files(func(*File) bool { return true }) {
		for _, d := range f.Syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, t.problem(fn.Pos(), "init function"))
			}
		}
	}
	return out
}

// checkEnvironment keeps reads of the environment in commands, tests and suites.
func checkEnvironment(t *Tree) []Problem {
	keep := func(f *File) bool { return !f.Test && !f.Package.Suite() && !f.Package.under("cmd") }
	var out []Problem
	for _, f := range t.files(keep) {
		for _, from := range []string{"os", "syscall"} {
			for _, name := range []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"} {
				out = append(out, t.uses(f, from, name)...)
			}
		}
	}
	return out
}

// checkSleep refuses to wait by the clock in tests and suites.
func checkSleep(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.files(func(f *File) bool { return f.Test || f.Package.Suite() }) {
		out = append(out, t.uses(f, "time", "Sleep")...)
	}
	return out
}

// checkTestingImport keeps package testing out of what is shipped.
func checkTestingImport(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.files(func(f *File) bool { return !f.Test && !f.Package.Suite() }) {
		for _, s := range f.Syntax.Imports {
			if importPath(s) == "testing" {
				out = append(out, t.problem(s.Pos(), "package testing is imported by code that ships"))
			}
		}
	}
	return out
}

// uses returns each place where a file names a symbol of an imported package.
func (t *Tree) uses(f *File, from, symbol string) []Problem {
	pkg := f.importName(from)
	if pkg == "" {
		return nil
	}
	var out []Problem
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if isSelector(n, pkg, symbol) {
			out = append(out, t.problem(n.Pos(), "%s.%s is used", from, symbol))
		}
		return true
	})
	return out
}

// isSelector reports whether a node is pkg.name.
func isSelector(n ast.Node, pkg, name string) bool {
	s, ok := n.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}
