package house

import (
	"go/ast"
	"go/token"
	"strings"
)

// checkPackageComments wants one package comment per package that has code.
func checkPackageComments(t *Tree) []Problem {
	var out []Problem
	for _, p := range t.Packages {
		var first *File
		for _, f := range p.code() {
			switch {
			case f.Syntax.Doc == nil:
			case first != nil:
				out = append(out, t.problem(f.Syntax.Doc.Pos(), "second package comment; the first is in %s", first.Path))
			default:
				first = f
				out = append(out, t.packageOpening(f)...)
			}
		}
		if first == nil && len(p.code()) > 0 {
			out = append(out, Problem{p.Dir, "package has no package comment"})
		}
	}
	return out
}

// packageOpening checks how a package comment begins.
func (t *Tree) packageOpening(f *File) []Problem {
	want := "Package " + f.Syntax.Name.Name + " "
	if f.Syntax.Name.Name == "main" {
		want = "Command "
	}
	if text := strings.ReplaceAll(f.Syntax.Doc.Text(), "\n", " "); !strings.HasPrefix(text, want) {
		return []Problem{t.problem(f.Syntax.Doc.Pos(), "package comment does not begin %q", want)}
	}
	return nil
}

// checkDocComments wants a comment on each exported name that begins with it.
func checkDocComments(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.files(func(f *File) bool { return !f.Test }) {
		for _, d := range f.Syntax.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) {
					out = append(out, t.wantDoc(d.Name, d.Doc)...)
				}
			case *ast.GenDecl:
				out = append(out, t.wantGenDoc(d)...)
			}
		}
	}
	return out
}

// wantGenDoc checks the types, constants and variables of one declaration.
func (t *Tree) wantGenDoc(d *ast.GenDecl) []Problem {
	var out []Problem
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() {
				out = append(out, t.wantDoc(s.Name, own(s.Doc, d))...)
				out = append(out, t.wantMethodDocs(s)...)
			}
		case *ast.ValueSpec:
			out = append(out, t.wantValueDoc(d, s)...)
		}
	}
	return out
}

// wantValueDoc checks a constant or variable. In a group, the comment of the
// group serves its members that need no words of their own.
func (t *Tree) wantValueDoc(d *ast.GenDecl, s *ast.ValueSpec) []Problem {
	if d.Lparen.IsValid() && s.Doc == nil && (d.Doc != nil || s.Comment != nil) {
		return nil
	}
	for _, n := range s.Names {
		if n.IsExported() {
			return t.wantDoc(n, own(s.Doc, d))
		}
	}
	return nil
}

// wantMethodDocs checks the methods that an interface declares. An interface
// of one method is described by its own comment.
func (t *Tree) wantMethodDocs(s *ast.TypeSpec) []Problem {
	iface, ok := s.Type.(*ast.InterfaceType)
	if !ok || iface.Methods.NumFields() < 2 {
		return nil
	}
	var out []Problem
	for _, m := range iface.Methods.List {
		for _, n := range m.Names {
			if n.IsExported() {
				out = append(out, t.wantDoc(n, m.Doc)...)
			}
		}
	}
	return out
}

// own returns the comment of a spec, or that of its declaration if the spec
// stands alone.
func own(doc *ast.CommentGroup, d *ast.GenDecl) *ast.CommentGroup {
	if doc == nil && !d.Lparen.IsValid() {
		return d.Doc
	}
	return doc
}

// wantDoc checks one comment.
func (t *Tree) wantDoc(name *ast.Ident, doc *ast.CommentGroup) []Problem {
	text := doc.Text()
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name.Name)
	if ok && (rest == "" || !token.IsIdentifier("x"+rest[:1])) {
		return nil
	}
	return []Problem{t.problem(name.Pos(), "exported name %s has no comment that begins with it", name.Name)}
}

// exportedReceiver reports whether a function is no method, or a method of an
// exported type.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return true
		}
	}
}
