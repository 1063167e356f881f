package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/kvferry/kvferry/cmd/kvferry/internal/demo/demotest"
	"github.com/kvferry/kvferry/cuda"
)

func TestMain(m *testing.M) {
	testscript.Main(leakTested{m}, map[string]func(){"kvferry": main})
}

// leakTested runs tests that must leave no goroutine behind.
type leakTested struct{ m *testing.M }

// Run implements testscript.TestingM.
func (l leakTested) Run() (code int) {
	goleak.VerifyTestMain(l.m, goleak.Cleanup(func(c int) { code = c }))
	return code
}

// TestScripts runs the command as its users do. Beside testscript's own
// commands the scripts have:
//
//	code N CMD ARGS…       run CMD and want exit code N
//	json FILE PATH OP …    look into a JSON document (see jsonCommand)
//	blob DIR DIGEST VAR    set VAR to the file below DIR with the digest in its name
//	cutdigest D N P H      set P to a digest's first N digits, H to them without algorithm
//	flip FILE OFFSET       invert the lowest bit of a byte; negative counts from the end
//	cut FILE BYTES         shorten a file
//	newer FILE             make a snapshot's record one of the next version
//	spoil DIR DIGEST       damage a blob in a store of any kind
//	model DIR              write a small model and its tokenizer
//	kernel DIR ARTIFACT V  keep a kernel in a directory, set V to its fingerprint
//	untar FILE DIR         unpack a .tar.gz of the test data
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, params(t, "script"))
}

// scriptsOfKinds runs the scripts in a folder of the test data for each kind,
// which they find in a variable. Under the race detector each script has one of
// the kinds in turn: the goroutines of a command are the same for all of them,
// and those beneath are tested where they are.
func scriptsOfKinds(t *testing.T, folder, variable string, kinds ...string) {
	t.Helper()
	scripts, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	for i, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := params(t, folder, variable, kind)
			if raceEnabled {
				p.Dir = ""
				for k := i; k < len(scripts); k += len(kinds) {
					p.Files = append(p.Files, scripts[k])
				}
			}
			testscript.Run(t, p)
		})
	}
}

// params are those of the scripts in a folder of the test data, with more
// variables.
func params(t *testing.T, folder string, env ...string) testscript.Params {
	t.Helper()
	data, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	return testscript.Params{
		Dir:                 filepath.Join("testdata", folder),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("DATA", data)
			// Else each process of the race detector's ends with a second of sleep.
			e.Setenv("GORACE", "atexit_sleep_ms=0")
			// Where the driver of the GPUs is, and how the software one works.
			for _, name := range []string{"LD_LIBRARY_PATH", "SOFTCUDA_MODE", "SOFTCUDA_SEED", "CUDA_VISIBLE_DEVICES"} {
				if v, ok := os.LookupEnv(name); ok {
					e.Setenv(name, v)
				}
			}
			for i := 0; i < len(env); i += 2 {
				e.Setenv(env[i], env[i+1])
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "race":
				return raceEnabled, nil
			case "device":
				return cuda.Status() == nil, nil
			case "superuser":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":      codeCommand,
			"json":      jsonCommand,
			"blob":      blobCommand,
			"cutdigest": cutDigestCommand,
			"flip":      flipCommand,
			"cut":       cutCommand,
			"newer":     newerCommand,
			"spoil":     spoilCommand,
			"model":     modelCommand,
			"kernel":    kernelCommand,
			"untar":     untarCommand,
		},
	}
}

func arguments(ts *testscript.TestScript, neg bool, args []string, n int, usage string) {
	if neg || len(args) < n {
		ts.Fatalf("usage: %s", usage)
	}
}

func codeCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "code N CMD ARGS…")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func blobCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 3, "blob DIR DIGEST VAR")
	_, hex, _ := strings.Cut(args[1], ":")
	found := ""
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(d.Name(), hex) {
			found = path
		}
		return err
	}))
	if found == "" {
		ts.Fatalf("no file of blob %s below %s", args[1], args[0])
	}
	ts.Setenv(args[2], found)
}

func cutDigestCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 4, "cutdigest DIGEST DIGITS VAR VAR")
	alg, hex, _ := strings.Cut(args[0], ":")
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	ts.Setenv(args[2], alg+":"+hex[:n])
	ts.Setenv(args[3], hex[:n])
}

func flipCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "flip FILE OFFSET")
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o666))
}

func cutCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "cut FILE BYTES")
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

func modelCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 1, "model DIR")
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o777))
	_, _, err := demotest.WriteModel(ts.MkAbs(args[0]))
	ts.Check(err)
}

func untarCommand(ts *testscript.TestScript, neg bool, args []string) {
	arguments(ts, neg, args, 2, "untar FILE DIR")
	f, err := os.Open(args[0])
	ts.Check(err)
	defer func() { ts.Check(f.Close()) }()
	z, err := gzip.NewReader(f)
	ts.Check(err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		ts.Check(err)
		name := filepath.Join(ts.MkAbs(args[1]), filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			ts.Check(os.MkdirAll(name, 0o777))
			continue
		}
		b, err := io.ReadAll(r)
		ts.Check(err)
		ts.Check(os.MkdirAll(filepath.Dir(name), 0o777))
		ts.Check(os.WriteFile(name, b, 0o666))
	}
}
