package main

import (
	"fmt"
	"strings"
)

// instruction is one line of a Dockerfile, continued lines joined.
type instruction struct {
	op   string // in capitals
	args string
}

// stage is what follows one FROM.
type stage struct {
	name, base string
	lines      []instruction
}

// parse splits a Dockerfile into its stages. What stands before the first FROM
// is the stage "".
func parse(text string) ([]stage, error) {
	out := []stage{{}}
	joined := strings.ReplaceAll(dropComments(text), "\\\n", " ")
	for line := range strings.Lines(joined) {
		op, args, _ := strings.Cut(strings.TrimSpace(line), " ")
		if op == "" {
			continue
		}
		i := instruction{strings.ToUpper(op), strings.Join(strings.Fields(args), " ")}
		if i.op == "FROM" {
			base, name, _ := strings.Cut(i.args, " AS ")
			out = append(out, stage{name: name, base: base})
			continue
		}
		s := &out[len(out)-1]
		s.lines = append(s.lines, i)
	}
	if len(out) == 1 {
		return nil, fmt.Errorf("no FROM")
	}
	return out, nil
}

// dropComments removes comment lines, those within continued lines included.
func dropComments(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// of returns the arguments of every instruction op.
func (s stage) of(op string) []string {
	var out []string
	for _, i := range s.lines {
		if i.op == op {
			out = append(out, i.args)
		}
	}
	return out
}

// script returns the RUN commands as they stand. ARGs are taken from the
// environment if they are there; of ENV the PATH is left as it is, since the
// tools lie elsewhere.
func (s stage) script() string {
	var b strings.Builder
	b.WriteString("set -euo pipefail\n")
	for _, i := range s.lines {
		switch i.op {
		case "ARG":
			if name, value, ok := strings.Cut(i.args, "="); ok {
				fmt.Fprintf(&b, "%s=${%s:-%s}\n", name, name, value)
			}
		case "ENV":
			for _, pair := range strings.Fields(i.args) {
				if !strings.HasPrefix(pair, "PATH=") {
					fmt.Fprintf(&b, "export %s\n", pair)
				}
			}
		case "RUN":
			fmt.Fprintf(&b, "%s\n", i.args)
		}
	}
	return b.String()
}
