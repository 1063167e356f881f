package house

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
)

// maxLines is the length that no Go file may pass.
const maxLines = 400

// checkFileLength refuses long Go files, tests included.
func checkFileLength(t *Tree) []Problem {
	var out []Problem
	for _, f := range t.Texts {
		if n := bytes.Count(f.Data, []byte("\n")); path.Ext(f.Path) == ".go" && n > maxLines {
			out = append(out, Problem{f.Path, fmt.Sprintf("%d lines", n)})
		}
	}
	return out
}

// checkMachinePaths refuses paths that exist on one machine only. What Linux
// itself promises (/dev/shm, /proc, /tmp) is fine.
func checkMachinePaths(t *Tree) []Problem {
	// Written so that the pattern does not match itself.
	private := regexp.MustCompile(`(^|[^\w.*)\]}/-])/(work|home|Users|root|mnt|media)/\w[\w./-]*|[A-Z]:\\[A-Z]\w[\w\\]*`)
	var out []Problem
	for _, f := range t.Texts {
		for n, line := range bytes.Split(f.Data, []byte("\n")) {
			if at := private.Find(line); at != nil {
				out = append(out, Problem{fmt.Sprintf("%s:%d", f.Path, n+1), fmt.Sprintf("path of one machine: %s", bytes.TrimLeft(at, "\t \"'`("))})
			}
		}
	}
	return out
}
