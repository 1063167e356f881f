// Command mutants plants bugs in the GPU path, one at a time, and runs the tests
// that have to catch them. It prints which test caught which bug, and fails if
// one was caught by none, does not build, or no longer fits the source.
//
// A bug in a package is planted by an overlay, so the tree is never changed. A bug
// in a kernel is planted in a copy of the software driver's sources.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// mutant is one planted bug: the one occurrence of old in file becomes new.
type mutant struct {
	name     string
	file     string // relative to the root of the tree
	old, new string
	pkg      string // whose tests have to catch it
	run      string // which of them are run; empty means all
	mode     string // of the software driver; empty means lazy
}

func main() {
	only := flag.String("run", "", "plant the mutants whose name matches this expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := plantAll(ctx, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// plantAll tries all mutants that match, and tells of those that survived.
func plantAll(ctx context.Context, only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	var bad []string
	tried := 0
	fmt.Println("| planted bug | where | caught by |\n| --- | --- | --- |")
	for _, m := range mutants {
		if !match.MatchString(m.name) {
			continue
		}
		tried++
		caught, err := m.plant(ctx, root)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			bad = append(bad, m.name+": "+err.Error())
			fmt.Printf("| %s | `%s` | ERROR: %v |\n", m.name, m.file, err)
		case len(caught) == 0:
			bad = append(bad, m.name+": no test failed")
			fmt.Printf("| %s | `%s` | **nothing** |\n", m.name, m.file)
		default:
			fmt.Printf("| %s | `%s` | %s |\n", m.name, m.file, names(caught))
		}
	}
	if len(bad) > 0 {
		return fmt.Errorf("%d of %d planted bugs:\n%s", len(bad), tried, strings.Join(bad, "\n"))
	}
	fmt.Printf("\n%d planted bugs, each caught\n", tried)
	return nil
}

// names shows the first tests of a list.
func names(tests []string) string {
	const most = 3
	more := ""
	if n := len(tests) - most; n > 0 {
		tests, more = tests[:most], fmt.Sprintf(" and %d more", n)
	}
	return "`" + strings.Join(tests, "`, `") + "`" + more
}

// plant runs the tests with the bug in place and returns those that failed.
func (m mutant) plant(ctx context.Context, root string) (caught []string, err error) {
	dir, err := os.MkdirTemp("", "kvferry-mutant-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	source, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(source), m.old); n != 1 {
		return nil, fmt.Errorf("what it replaces occurs %d times", n)
	}
	changed := strings.Replace(string(source), m.old, m.new, 1)
	if !m.inDriver() {
		overlay, err := m.overlay(root, dir, changed)
		if err != nil {
			return nil, err
		}
		return m.test(ctx, root, []string{"-overlay", overlay}, nil)
	}
	driver, err := m.driver(ctx, root, dir, changed)
	if err != nil {
		return nil, err
	}
	return m.test(ctx, root, nil, []string{"LD_LIBRARY_PATH=" + driver})
}

// inDriver tells whether the file is compiled into the software driver.
func (m mutant) inDriver() bool {
	return !strings.HasSuffix(m.file, ".go") && strings.HasPrefix(m.file, "kernels/")
}

// overlay writes the changed file and the overlay that puts it in place.
func (m mutant) overlay(root, dir, changed string) (string, error) {
	file := filepath.Join(dir, "changed"+filepath.Ext(m.file))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): file}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, text, 0o600)
}

// driver builds the software driver from a copy of its sources in which the
// file is changed, and returns the folder of the library.
func (m mutant) driver(ctx context.Context, root, dir, changed string) (string, error) {
	for _, part := range []string{"internal/softcuda/driver", "kernels", "scripts"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			return "", err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, m.file), []byte(changed), 0o600); err != nil {
		return "", err
	}
	out := filepath.Join(dir, "lib")
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(dir, "scripts", "softcuda"), out)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of the driver: %w\n%s", err, text)
	}
	return out, nil
}

// event is a line of go test -json.
type event struct {
	Action, Test, Output string
}

// test runs the package's tests up to the first that fails, without the sweeps
// of faults, and returns the names of those that failed, the innermost of nested
// ones.
func (m mutant) test(ctx context.Context, root string, args, env []string) ([]string, error) {
	mode := m.mode
	if mode == "" {
		mode = "lazy"
	}
	args = slices.Concat([]string{"test", "-json", "-count=1", "-tags", "cuda", "-timeout", "150s", "-failfast", "-skip", "TestFaults"}, args)
	if m.run != "" {
		args = append(args, "-run", m.run)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, m.pkg)...)
	cmd.Dir = root
	cmd.Env = append(cmd.Environ(), slices.Concat([]string{"CGO_ENABLED=1", "SOFTCUDA_MODE=" + mode, "KVFERRY_CUDA_REQUIRED=1"}, env)...)
	out, err := cmd.Output()
	var failed, open []string
	ran := false
	for line := range strings.Lines(string(out)) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		switch e.Action {
		case "run":
			ran, open = true, append(open, e.Test)
		case "pass", "fail", "skip":
			open = slices.DeleteFunc(open, func(t string) bool { return t == e.Test })
		}
		if e.Action == "fail" && e.Test != "" {
			failed = append(failed, e.Test)
		}
	}
	if !ran {
		return nil, fmt.Errorf("no test ran: %w", errors.Join(err, errors.New(lastLine(string(out)))))
	}
	if err != nil && len(failed) == 0 { // a crash of the process, or its time was over
		failed = open
	}
	return innermost(failed), nil
}

// innermost drops tests of which a subtest failed as well.
func innermost(tests []string) []string {
	return slices.DeleteFunc(slices.Clone(tests), func(t string) bool {
		return slices.ContainsFunc(tests, func(o string) bool { return strings.HasPrefix(o, t+"/") })
	})
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
