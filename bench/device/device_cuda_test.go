//go:build cuda

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/internal/softcuda"
)

// loseAt is the number of the kernel that loses the device of a part.
const loseAt = "DEVICE_TEST_LOSE_AT"

// leave makes a part leave a device open.
const leave = "DEVICE_TEST_LEAVE"

// prepare turns the driver's screws in a child.
func prepare() {
	if n, err := strconv.Atoi(os.Getenv(loseAt)); err == nil {
		softcuda.Fail("op.kernel", n, 700)
	}
	if os.Getenv(leave) != "" {
		if _, err := cuda.Open(0, cuda.Options{}); err != nil {
			panic(err)
		}
	}
}

// unclean is the exit status of a child that left something open, or broke a rule
// of the driver.
const unclean = 97

// conclude is the exit status of a child that did its work. The driver prints
// breaches as they happen, and nobody but this looks for what is left.
func conclude() int {
	if !softcuda.Loaded() {
		return 0
	}
	left := softcuda.Leaks()
	for _, l := range left {
		fmt.Fprintln(os.Stderr, "leaked:", l)
	}
	if len(left) > 0 || len(softcuda.Violations()) > 0 {
		return unclean
	}
	return 0
}

// take reads what a run left.
func take(t *testing.T, dir string) results {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "results.json"))
	require.NoError(t, err)
	var r results
	require.NoError(t, json.Unmarshal(raw, &r))
	page, err := os.ReadFile(filepath.Join(dir, "results.md"))
	require.NoError(t, err)
	require.Contains(t, string(page), "## Goals")
	return r
}

// withPyTorch is a Python that has a PyTorch whose products cost nothing, and
// withoutPyTorch one that has none.
const (
	withPyTorch = `case $1 in
*matmul.py) echo '{"ready":"PyTorch of nobody"}'; while read -r seconds; do echo '{"flops":1e12}'; done ;;
*) exec python3 "$@" ;;
esac
`
	withoutPyTorch = `echo '{"error":"PyTorch is not here: no module"}'`
)

// program makes a shell script.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	require.NoError(t, os.WriteFile(path, []byte("#!/usr/bin/env bash\n"+text), 0o700)) //nolint:gosec // it is to be run
	return path
}

// TestToItsEnd runs the whole suite on a few megabytes. On the software driver
// that shows that every part works: bytes are right, and nothing is a figure.
func TestToItsEnd(t *testing.T) {
	softcuda.Device(t)
	t.Setenv(runSelf, "1")
	dir := t.TempDir()
	var log bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-small", "-out", dir, "-tools", ".", "-commit", "abc", "-python", program(t, withPyTorch)}, os.Stdout, &log), log.String())
	require.NotContains(t, log.String(), "VIOLATION") // those and leaks fail the child, too: conclude

	r := take(t, dir)
	require.Equal(t, "abc", r.Commit)
	require.True(t, r.Small)
	require.Equal(t, softcuda.Loaded(), r.Software)
	ended, measured, checked, right := 0, make(map[goalID]bool), 0, make(map[string]int)
	for _, x := range r.Rows {
		if x.Check != "" {
			require.Equal(t, checkOK, x.Check, x.label())
			right[x.What]++
			checked++
		}
		if x.What == wholePart {
			ended++
		}
		if x.Error == "" {
			measured[x.Goal] = true
			if x.Part == "corun" && len(x.Ratios) > 0 {
				require.Len(t, x.Copies, len(x.Ratios), x.label())
			}
			continue
		}
		// What a machine may lack; everything else has to work.
		require.Contains(t, x.Error, "nvcc", x.label())
	}
	require.Equal(t, len(parts()), ended)
	require.Greater(t, checked, 40)
	for what, n := range map[string]int{
		"canonical pages, read directly": 1, "canonical pages, read through tiles": 1, "canonical pages, some additions as products": 1, "in place": 1,
		"compare, then copy what differs": len(percents()) - 1, // of no page nothing is copied
		"capture into memory":             len(percents()),
		"encode":                          1, "decode": 1, "coded out": 1, "coded back": 1,
	} {
		require.Equal(t, n, right[what], "%s: how often bytes were looked at", what)
	}
	for _, g := range goals() {
		if g.elsewhere != "" || (softcuda.Loaded() && (g.id == goalCorunOne || g.id == goalCorunBoth)) {
			continue
		}
		require.True(t, measured[g.id], "no row answers %s", g.id)
	}
}

// TestWithoutPyTorch: what it is needed for is missing, and the rest is measured.
func TestWithoutPyTorch(t *testing.T) {
	softcuda.Device(t)
	t.Setenv(runSelf, "1")
	dir := t.TempDir()
	var log bytes.Buffer
	args := []string{"-small", "-out", dir, "-tools", ".", "-only", "corun|torch", "-python", program(t, withoutPyTorch)}
	require.NoError(t, run(t.Context(), args, os.Stdout, &log), log.String())
	missing, measured := 0, 0
	for _, x := range take(t, dir).Rows {
		if strings.Contains(x.Error, "PyTorch is not here") {
			missing++
		} else if len(x.Ratios) > 0 {
			measured++
		}
	}
	require.Equal(t, 2, missing)
	require.GreaterOrEqual(t, measured, 3)
}

// TestLeftOpen: a part that leaves something in the driver fails.
func TestLeftOpen(t *testing.T) {
	softcuda.Device(t)
	softcuda.Only(t)
	t.Setenv(runSelf, "1")
	t.Setenv(leave, "1")
	var log bytes.Buffer
	require.ErrorContains(t, run(t.Context(), []string{"-small", "-out", t.TempDir(), "-tools", ".", "-only", "facts"}, os.Stdout, &log), "exit status 97")
	require.Contains(t, log.String(), "leaked: ")
}

// TestStopped: a run that is told to stop leaves what it had.
func TestStopped(t *testing.T) {
	softcuda.Device(t)
	dir := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, "-small", "-out", dir, "-tools", ".")
	cmd.Env = append(os.Environ(), runSelf+"=1")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines, told := bufio.NewScanner(stderr), false
	for lines.Scan() {
		if !told && strings.Contains(lines.Text(), "device: link: ") {
			require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
			told = true
		}
	}
	require.True(t, told)
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 1, exit.ExitCode(), "it ended by itself")

	r := take(t, dir)
	have, late := make(map[string]int), 0
	for _, x := range r.Rows {
		have[x.Part]++
		if strings.Contains(x.Error, "time is up") {
			late++
		}
	}
	require.Greater(t, have["link"], 3)
	require.Positive(t, late, "parts that were not begun are told of")
	require.Len(t, have, len(parts()))
}

// TestLostDevice: a part whose device is lost ends, and the others are measured.
func TestLostDevice(t *testing.T) {
	softcuda.Device(t)
	softcuda.Only(t)
	t.Setenv(runSelf, "1")
	t.Setenv(loseAt, "3")
	dir := t.TempDir()
	var log bytes.Buffer
	require.ErrorContains(t, run(t.Context(), []string{"-small", "-out", dir, "-tools", ".", "-only", "link|cache|paths|pinning"}, os.Stdout, &log), "cache: part: ended early")
	failed := make(map[string]bool)
	for _, x := range take(t, dir).Rows {
		failed[x.Part] = failed[x.Part] || strings.Contains(x.Error, "CUDA_ERROR_ILLEGAL_ADDRESS")
	}
	require.Equal(t, map[string]bool{"link": false, "cache": true, "paths": true, "pinning": false}, failed)
}

// TestNoDevice: without a driver the run ends, and says in each part why.
func TestNoDevice(t *testing.T) {
	softcuda.Device(t)
	softcuda.Only(t)
	t.Setenv(runSelf, "1")
	t.Setenv("SOFTCUDA_DEVICES", "0")
	dir := t.TempDir()
	var log bytes.Buffer
	require.ErrorContains(t, run(t.Context(), []string{"-small", "-out", dir, "-tools", ".", "-only", "link|digest"}, os.Stdout, &log), "digest: part: ended early")
	why := 0
	for _, x := range take(t, dir).Rows {
		if strings.Contains(x.Error, "CUDA_ERROR_NO_DEVICE") {
			why++
		}
	}
	require.GreaterOrEqual(t, why, 2)
}
