package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Tree is a source tree: every Go file parsed, every other text file read.
type Tree struct {
	Module   string     // import path of the root
	Packages []*Package // by directory, ascending
	Texts    []Text     // all text files, Go files included, by path
	fset     *token.FileSet
}

// Package is the Go files of one directory.
type Package struct {
	Dir   string // relative to the root, "." for the root itself
	Files []*File
}

// File is one Go file.
type File struct {
	Path    string // relative to the root
	Syntax  *ast.File
	Test    bool // name ends in _test.go
	Package *Package
}

// Text is a file that holds text.
type Text struct {
	Path string // relative to the root
	Data []byte
}

// Load reads the tree below fsys. It leaves out what git and the build keep
// for themselves, modules nested in the tree, and, for the rules about Go
// code, directories named testdata. A Go file that does not parse is an error.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet()}
	mod, err := fs.ReadFile(fsys, "go.mod")
	if err != nil {
		return nil, fmt.Errorf("house: load tree: %w", err)
	}
	first, _, _ := strings.Cut(string(mod), "\n")
	t.Module = strings.TrimSpace(strings.TrimPrefix(first, "module "))
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipDir(fsys, name):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		return t.add(fsys, name)
	})
	if err != nil {
		return nil, fmt.Errorf("house: load tree: %w", err)
	}
	slices.SortFunc(t.Packages, func(a, b *Package) int { return strings.Compare(a.Dir, b.Dir) })
	return t, nil
}

// skipDir reports whether a directory is not part of the tree. The fixtures of
// this package break the rules on purpose.
func skipDir(fsys fs.FS, name string) bool {
	switch name {
	case ".":
		return false
	case ".git", ".build", "bin", "internal/house/testdata":
		return true
	}
	_, err := fs.Stat(fsys, path.Join(name, "go.mod"))
	return err == nil
}

// add puts one file where it belongs.
func (t *Tree) add(fsys fs.FS, name string) error {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(data[:min(len(data), 8<<10)], 0) >= 0 {
		return nil // not text
	}
	t.Texts = append(t.Texts, Text{name, data})
	dir := path.Dir(name)
	if path.Ext(name) != ".go" || slices.Contains(strings.Split(dir, "/"), "testdata") {
		return nil
	}
	syntax, err := parser.ParseFile(t.fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	p := t.pkg(dir)
	if p == nil {
		p = &Package{Dir: dir}
		t.Packages = append(t.Packages, p)
	}
	p.Files = append(p.Files, &File{name, syntax, strings.HasSuffix(name, "_test.go"), p})
	return nil
}

// pkg returns the package in dir, or nil.
func (t *Tree) pkg(dir string) *Package {
	for _, p := range t.Packages {
		if p.Dir == dir {
			return p
		}
	}
	return nil
}

// files returns all Go files for which keep holds.
func (t *Tree) files(keep func(*File) bool) []*File {
	var out []*File
	for _, p := range t.Packages {
		for _, f := range p.Files {
			if keep(f) {
				out = append(out, f)
			}
		}
	}
	return out
}

// problem makes a Problem at a place in a parsed file.
func (t *Tree) problem(at token.Pos, format string, args ...any) Problem {
	p := t.fset.Position(at)
	return Problem{fmt.Sprintf("%s:%d", p.Filename, p.Line), fmt.Sprintf(format, args...)}
}

// local returns the directory of an import path of this module, and whether it
// is one.
func (t *Tree) local(importPath string) (string, bool) {
	if importPath == t.Module {
		return ".", true
	}
	return strings.CutPrefix(importPath, t.Module+"/")
}

// Suite reports whether the package is a conformance suite, which tests of
// other packages call: its directory's name ends in "test".
func (p *Package) Suite() bool { return strings.HasSuffix(path.Base(p.Dir), "test") }

// code returns the files of the package that are not tests.
func (p *Package) code() []*File {
	return slices.DeleteFunc(slices.Clone(p.Files), func(f *File) bool { return f.Test })
}

// under reports whether the package lies in one of the top-level directories.
func (p *Package) under(tops ...string) bool {
	return slices.ContainsFunc(tops, func(top string) bool { return p.Dir == top || strings.HasPrefix(p.Dir, top+"/") })
}

// importPath returns the unquoted path of an import.
func importPath(s *ast.ImportSpec) string {
	p, err := strconv.Unquote(s.Path.Value)
	if err != nil {
		return s.Path.Value // the parser has already refused such a file
	}
	return p
}

// importName returns the name under which a file imports a path, or "".
func (f *File) importName(want string) string {
	for _, s := range f.Syntax.Imports {
		if importPath(s) != want {
			continue
		}
		if s.Name != nil {
			return s.Name.Name
		}
		return path.Base(want)
	}
	return ""
}
