package main

import (
	"path"
	"strings"
)

// ignore is a .dockerignore. Of the patterns that match a path or a folder above
// it the last one decides, and one that begins with "!" lets in.
type ignore []string

func newIgnore(text string) ignore {
	var out ignore
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}

// drops reports whether a file is kept out of the context.
func (ig ignore) drops(file string) bool {
	dropped := false
	for _, p := range ig {
		pattern, in := strings.CutPrefix(p, "!")
		if matches(strings.TrimSuffix(pattern, "/"), file) {
			dropped = !in
		}
	}
	return dropped
}

// matches reports whether pattern matches file or a folder above it. "**/"
// stands for any number of folders, at the front alone.
func matches(pattern, file string) bool {
	rest, anywhere := strings.CutPrefix(pattern, "**/")
	for at := file; at != "." && at != "/"; at = path.Dir(at) {
		if ok, err := path.Match(rest, at); err == nil && ok {
			return true
		}
		if anywhere {
			if ok, err := path.Match(rest, path.Base(at)); err == nil && ok {
				return true
			}
		}
	}
	return false
}
