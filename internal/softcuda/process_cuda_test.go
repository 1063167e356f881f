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
