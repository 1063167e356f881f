package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// judge runs the check that the image's build runs.
func judge(t *testing.T, binary string) (string, error) {
	t.Helper()
	for _, tool := range []string{"bash", "readelf", "sed", "grep"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("scripts/check-artefact needs", tool)
		}
	}
	out, err := exec.CommandContext(t.Context(), "bash", filepath.Join(root, "scripts", "check-artefact"), binary).CombinedOutput()
	return string(out), err
}

// TestArtefactGood: a program that links nothing may be shipped.
func TestArtefactGood(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "good")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./scripts/totals")
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := judge(t, binary)
	require.NoError(t, err, text)
}

// TestArtefactWithSoftwareDriver: this test itself names softcuda, and may not.
func TestArtefactWithSoftwareDriver(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	text, err := judge(t, self)
	require.Error(t, err)
	require.Contains(t, text, "contains the software driver")
}

// TestArtefactThatNeedsMore: a program with libraries of others may not.
func TestArtefactThatNeedsMore(t *testing.T) {
	t.Parallel()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc")
	}
	dir := t.TempDir()
	source, binary := filepath.Join(dir, "x.c"), filepath.Join(dir, "x")
	require.NoError(t, os.WriteFile(source, []byte("#include <math.h>\nint main(int n, char **v) { return (int)cos(n); }\n"), 0o600))
	out, err := exec.CommandContext(t.Context(), gcc, "-O0", "-o", binary, source, "-lm").CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := judge(t, binary)
	require.Error(t, err)
	require.Contains(t, text, "needs libm.so.6")
}
