// Command dockerfile reads Dockerfile.cuda and .dockerignore where no Docker is,
// so that what an image would be made of can be built and tested.
//
//	dockerfile context <LIST     of the paths in LIST, those that a build is sent
//	dockerfile run STAGE         the RUN commands of a stage, as a shell script
//
// It is started in the root of the tree.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dockerfile:", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case len(args) == 1 && args[0] == "context":
		text, err := os.ReadFile(".dockerignore")
		if err != nil {
			return err
		}
		return filter(newIgnore(string(text)), in, out)
	case len(args) == 2 && args[0] == "run":
		text, err := os.ReadFile("Dockerfile.cuda")
		if err != nil {
			return err
		}
		stages, err := parse(string(text))
		if err != nil {
			return err
		}
		for _, s := range stages {
			if s.name == args[1] {
				_, err := io.WriteString(out, s.script())
				return err
			}
		}
		return fmt.Errorf("no stage %q", args[1])
	}
	return errors.New("usage: dockerfile context <LIST | dockerfile run STAGE")
}

// filter copies the lines that ig lets into the context.
func filter(ig ignore, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if ig.drops(lines.Text()) {
			continue
		}
		if _, err := fmt.Fprintln(out, lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}
