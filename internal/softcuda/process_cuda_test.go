//go:build cuda

package softcuda_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
)

const exporting = "SOFTCUDA_TEST_EXPORTING"

const ending = "SOFTCUDA_TEST_ENDING"

// TestStrict: breaches and leaks are the exit status of a process that is told to
// be strict, whatever it ends with.
func TestStrict(t *testing.T) {
	softcuda.Only(t)
	if how := os.Getenv(ending); how != "" {
		end(newRig(t), how)
	}
	for _, c := range []struct {
		how, strict string
		status      int
		says        string
	}{
		{"clean", "1", 3, ""},
		{"leak", "1", 97, "softcuda: LEAK: device memory by cuMemAlloc (call "},
		{"violation", "1", 97, "softcuda: strict: 1 violations; the exit status is 97 instead of 3"},
		{"leak", "0", 3, ""},
	} {
		other := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestStrict$")
		other.Env = append(os.Environ(), ending+"="+c.how, "SOFTCUDA_STRICT="+c.strict)
		out, err := other.CombinedOutput()
		var ended *exec.ExitError
		require.ErrorAs(t, err, &ended, string(out))
		require.Equal(t, c.status, ended.ExitCode(), "%s: %s", c.how, out)
		require.Contains(t, string(out), c.says)
		require.Equal(t, c.says != "", strings.Contains(string(out), "softcuda: "), "%s: %s", c.how, out)
	}
}

// end ends the process with 3, and with what it leaves as TestStrict asks.
func end(r *rig, how string) {
	p := r.bare(page)
	switch how {
	case "violation":
		r.fails(1, "cuMemFree_v2", p+1)
		r.ok("cuMemFree_v2", p)
	case "clean":
		r.ok("cuMemFree_v2", p)
	}
	if how != "leak" {
		r.ok("cuCtxPopCurrent_v2", r.outAt)
		r.ok("cuDevicePrimaryCtxRelease_v2", 0)
	}
	os.Exit(3)
}

// TestMemoryOfAnotherProcess: a handle works there, and both see the same bytes.
func TestMemoryOfAnotherProcess(t *testing.T) {
	softcuda.Only(t)
	if os.Getenv(exporting) != "" {
		export(newRig(t))
		return
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestMemoryOfAnotherProcess$")
	other.Env = append(os.Environ(), exporting+"=1")
	other.Stderr = os.Stderr
	in, err := other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan())
	handle, err := hex.DecodeString(lines.Text())
	require.NoError(t, err)

	r := newRig(t)
	m, at := softcuda.Scratch(t, 64)
	copy(m, handle)
	require.Zero(t, softcuda.OpenHandle(r.outAt, at, 1))
	p, s := r.result(), r.stream()
	host, h := r.pinned(page)
	r.ok("cuMemcpyDtoHAsync_v2", h, p, page, s)
	r.ok("cuStreamSynchronize", s)
	require.Equal(t, strings.Repeat("\x07", page), string(host))
	r.ok("cuMemsetD8_v2", p+100, 9, 1)
	r.ok("cuIpcCloseMemHandle", p)
	require.NoError(t, in.Close())
	rest, err := io.ReadAll(out)
	require.NoError(t, err)
	require.NoError(t, other.Wait(), string(rest)+lines.Text())
}

// export gives a handle away, and looks at what came of it when the other side is
// done.
func export(r *rig) {
	d := r.filled(page)
	m, at := softcuda.Scratch(r, 64)
	r.ok("cuIpcGetMemHandle", at, d)
	fmt.Println(hex.EncodeToString(m))
	_, err := io.ReadAll(os.Stdin)
	require.NoError(r, err)
	host, h := r.pinned(page)
	r.ok("cuMemcpyDtoH_v2", h, d, page)
	require.Equal(r, []byte{7, 9, 7}, host[99:102])
}
