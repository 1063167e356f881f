// Package house holds the rules that the source tree keeps, as code.
//
// Each rule looks at the parsed tree and returns what breaks it; the tests of
// this package run every rule over the repository, so that a breach fails the
// build and prints how to mend it. Rules judge source text alone: build tags
// hide nothing from them and nothing has to compile.
package house

import "fmt"

// Problem is one breach of one rule.
type Problem struct {
	Pos  string // file:line, relative to the root of the tree
	Text string // what is wrong there
}

// String returns the problem on one line.
func (p Problem) String() string { return p.Pos + ": " + p.Text }

// Rule is one thing that the tree keeps.
type Rule struct {
	Name  string                // short name, as a subtest shows it
	Fix   string                // what to do about a breach
	Check func(*Tree) []Problem // finds every breach, in the order of the tree
}

// Rules returns all rules.
func Rules() []Rule {
	return []Rule{
		{"imports", "depend on the package that the picture allows, or draw the new arrow in the block ```imports of " + drawing + " and say there why it points that way", checkImports},
		{"cgo", "move the driver call to cuda/ or the C export to capi/: every other package builds without a C compiler; a test program that cannot do without it, like internal/sqlitehost, is a module of its own", checkCgo},
		{"package-comment", "give the package exactly one comment, in one file, that begins `Package NAME` (`Command NAME` for a main package)", checkPackageComments},
		{"doc-comment", "write a comment above the exported name that begins with the name and gives units, ownership and errors; or do not export it", checkDocComments},
		{"package-name", "name the package after the thing that it holds", checkPackageNames},
		{"init", "replace init by an explicit call or a list: registration by init hides order and dead code", checkInit},
		{"environment", "read the environment in cmd/ (or a test) and pass the value down", checkEnvironment},
		{"sleep", "wait for the event itself (a channel, a WaitGroup, a fake clock), or use testing/synctest", checkSleep},
		{"testing-import", "move the code to a _test.go file, or to a suite package whose name ends in \"test\"", checkTestingImport},
		{"goroutine-leak", "add `func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }` to a _test.go file of the package", checkGoroutineLeak},
		{"file-length", fmt.Sprintf("split the file by what its parts are about; %d lines are the limit, 100 the habit", maxLines), checkFileLength},
		{"machine-path", "use a path relative to the repository, t.TempDir(), or a setting", checkMachinePaths},
	}
}
