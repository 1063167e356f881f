package main

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// carried makes a folder as scripts/device-build does, of shell scripts.
func carried(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	for name, script := range programs {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, err := w.Write([]byte("#!/usr/bin/env bash\n" + script))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		write(name+".gz", packed.Bytes())
		if folder, ok := strings.CutSuffix(name, ".test"); ok {
			write(folder+".tests", []byte(folder+"\n^(TestX)$\n"))
		}
	}
	write("glibc", []byte("2.17\n"))
	write("commit", []byte("abc\n"))
	return dir
}

// device runs scripts/device.sh.
func device(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	for _, tool := range []string{"bash", "timeout", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("scripts/device.sh needs", tool)
		}
	}
	cmd := exec.CommandContext(t.Context(), "bash", append([]string{filepath.Join("..", "..", "scripts", "device.sh")}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// good is a benchmark that says how it was called.
const good = `while [[ $1 != -out ]]; do shift; done
echo "# results of $*" >"$2/results.md"; echo "## The machine" >>"$2/results.md"`

// TestScript: tests, the benchmark, and what is said of them.
func TestScript(t *testing.T) {
	t.Parallel()
	dir, out := carried(t, map[string]string{
		"cuda.test":  `echo "--- PASS: TestX ($PWD $KVFERRY_CUDA_REQUIRED)"; echo "--- SKIP: TestY"`,
		"bench":      good,
		"pager.test": `echo "--- PASS: TestX $*"`,
	}), t.TempDir()
	text, err := device(t, []string{"DEVICE_FLAGS=-small -only link"}, dir, out)
	require.NoError(t, err, text)
	require.Contains(t, text, "device: cuda: 1 passed, 0 failed, 1 skipped, exit status 0")
	require.Contains(t, text, "device: pager: 1 passed, 0 failed, 0 skipped, exit status 0")
	require.Regexp(t, "# results of -out .* -tools bench/device -commit abc -budget [1-9][0-9]+s -small -only link", text)
	require.NotContains(t, text, "## The machine")
	require.Contains(t, text, "0 parts failed")
	log, err := os.ReadFile(filepath.Join(out, "tests.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "/cuda 1)", "in the folder of the package, and a device is required")
	require.Contains(t, string(log), "-test.run ^(TestX)$")
}

// TestScriptFails: a failed test and a failed benchmark each make the run fail,
// and the rest of it goes on.
func TestScriptFails(t *testing.T) {
	t.Parallel()
	dir, out := carried(t, map[string]string{
		"cuda.test":  `echo "--- FAIL: TestX"; exit 1`,
		"pager.test": `echo "--- PASS: TestX"`,
		"bench":      good + "\nexit 1",
	}), t.TempDir()
	text, err := device(t, nil, dir, out)
	require.Error(t, err)
	require.Contains(t, text, "device: cuda: 0 passed, 1 failed, 0 skipped, exit status 1\n--- FAIL: TestX\n")
	require.Contains(t, text, "device: pager: 1 passed")
	require.Contains(t, text, "2 parts failed")
	text, err = device(t, nil, dir, out, "nonsense")
	require.Error(t, err)
	require.Contains(t, text, "usage:")
}

// TestScriptOutOfTime: what there is no time for is told and fails.
func TestScriptOutOfTime(t *testing.T) {
	t.Parallel()
	dir := carried(t, map[string]string{"cuda.test": "echo never", "bench": "echo never"})
	text, err := device(t, []string{"DEVICE_SECONDS=3"}, dir, t.TempDir())
	require.Error(t, err)
	require.Contains(t, text, "cuda: not tested: time is up")
	require.Contains(t, text, "not measured: time is up")
	require.NotContains(t, text, "never")
}

// TestScriptOldLibc: binaries that cannot start here are not started.
func TestScriptOldLibc(t *testing.T) {
	t.Parallel()
	dir := carried(t, map[string]string{"cuda.test": "echo never", "bench": "echo never"})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "glibc"), []byte("9.99\n"), 0o600))
	text, err := device(t, nil, dir, t.TempDir())
	require.Error(t, err)
	require.Contains(t, text, "the binaries want libc 9.99")
	require.NotContains(t, text, "never")
}

// TestScriptSanitizer: errors that a checker finds fail the run, and so do tests
// that fail or die under it; one that does not work here, or was not done in time,
// does not, and the last line says so.
func TestScriptSanitizer(t *testing.T) {
	t.Parallel()
	const begun, passes = `echo "=== RUN   TestX"; `, `echo "--- PASS: TestX"; `
	dir := carried(t, map[string]string{"kernels.test": begun + passes, "bench": good})
	for _, c := range []struct {
		checker, want string
		fails         bool
		unfinished    string
	}{
		{checker: `shift 4; exec "$@"`, want: "device: synccheck: no errors: 1 passed, 0 failed, exit status 0"},
		{checker: "exit 9", want: "device: memcheck: ERRORS: 0 passed", fails: true},
		{checker: begun + passes + "exit 9", want: "device: synccheck: ERRORS: 1 passed", fails: true},
		{checker: "exit 1", want: "device: initcheck: not run: no test began under it, exit status 1", unfinished: "memcheck racecheck synccheck initcheck"},
		{checker: "exit 0", want: "device: racecheck: not run: no test began under it, exit status 0", unfinished: "memcheck racecheck synccheck initcheck"},
		{checker: begun + `echo "--- FAIL: TestX"; exit 1`, want: "device: racecheck: tests FAIL under it: 0 passed, 1 failed", fails: true},
		{checker: begun + `echo "    --- FAIL: TestX/y"; exit 0`, want: "device: racecheck: tests FAIL under it", fails: true},
		{checker: begun + "exit 2", want: "device: memcheck: the tests END EARLY under it: 0 passed, 0 failed, exit status 2", fails: true},
		{checker: begun + passes + "exit 124", want: "device: memcheck: not finished, no error until then: 1 passed", unfinished: "memcheck racecheck synccheck initcheck"},
		{checker: begun + "[[ $2 == initcheck ]] && exit 137; exit 0", want: "device: initcheck: not finished", unfinished: "initcheck"},
		{checker: begun + `echo "--- FAIL: TestX"; exit 124`, want: "device: memcheck: tests FAIL under it", fails: true},
	} {
		tools, out := t.TempDir(), t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(tools, "compute-sanitizer"), []byte("#!/usr/bin/env bash\n"+c.checker+"\n"), 0o700)) //nolint:gosec // it is to be run
		text, err := device(t, []string{"PATH=" + tools + ":" + os.Getenv("PATH")}, dir, out, "sanitizer")
		require.Contains(t, text, c.want)
		require.Equal(t, c.fails, err != nil, text)
		if c.unfinished != "" {
			require.Contains(t, text, "; not finished: "+c.unfinished+"; results in")
		} else {
			require.NotContains(t, text, "not finished")
		}
		log, err := os.ReadFile(filepath.Join(out, "sanitizer.log"))
		require.NoError(t, err)
		require.Contains(t, string(log), c.want)
	}
}
