//go:build cuda

package cuda_test

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// tell runs this binary with a folder, or none, in which a driver may lie, and
// returns what it tells of the driver. The process has to end well.
func tell(t *testing.T, folder string, more ...string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), self, "-test.run=^$")
	c.Env = append([]string{"PATH=" + os.Getenv("PATH"), tellStatus + "=1", "LD_LIBRARY_PATH=" + folder}, more...)
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// hidden is a setting that hides the machine's own driver from tell, so that a test
// sees the same whether there is one or not.
func hidden(t *testing.T) string {
	t.Helper()
	return "LD_PRELOAD=" + compiled(t, "hide.c", "hide.so", "-ldl")
}

// TestNoDriver: a program with the tag starts where there is no driver, also if all
// symbols are looked up at its start, and says what to do.
func TestNoDriver(t *testing.T) {
	hide := hidden(t)
	for _, more := range []string{"X=1", "LD_BIND_NOW=1"} {
		out := tell(t, "", hide, more)
		for _, says := range []string{
			"status: cuda: no NVIDIA driver: libcuda.so.1 could not be opened (libcuda.so.1",
			"--gpus all", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES with compute", "LD_LIBRARY_PATH",
			"count: 0 cuda: no NVIDIA driver", "open: cuda: no NVIDIA driver", "kvferry: no device",
		} {
			require.Contains(t, out, says)
		}
	}
}

// stub builds a driver that does not start.
func stub(t *testing.T, flags ...string) (folder string) {
	t.Helper()
	return filepath.Dir(compiled(t, "driver.c", "libcuda.so.1", flags...))
}

// compiled builds a library of a source in testdata, in a folder of its own.
func compiled(t *testing.T, source, library string, flags ...string) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler: ", err)
	}
	path := filepath.Join(t.TempDir(), library)
	args := append([]string{"-shared", "-fPIC", "-o", path, filepath.Join("testdata", source)}, flags...)
	out, err := exec.CommandContext(t.Context(), cc, args...).CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// TestDriverStartsWhenUsed, and once: a process that has the library and does not use
// it may still fork, and choose its devices.
func TestDriverStartsWhenUsed(t *testing.T) {
	folder := stub(t, "-DINIT=0", "-DCOUNT=0", "-DDEVICES=1")
	const started = "the driver is started"
	require.Empty(t, tell(t, folder, tellStatus+"="+idle))
	require.Equal(t, 1, strings.Count(tell(t, folder), started))
	// One that does not start is tried again: its module may be loaded by now.
	require.Equal(t, 3, strings.Count(tell(t, stub(t, "-DINIT=100", "-DCOUNT=0")), started))
}

func TestDriverThatDoesNotStart(t *testing.T) {
	for _, c := range []struct {
		init, count int
		says        string
	}{
		{100, 0, "CUDA_ERROR_NO_DEVICE (100): no GPU is visible"},
		{0, 0, "CUDA_ERROR_NO_DEVICE (100): no GPU is visible"},
		{0, 3, "CUDA_ERROR_NOT_INITIALIZED (3)"},
		{803, 0, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803): the driver's library and its kernel module are of different versions"},
		{804, 0, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE (804): the compatibility library"},
		{802, 0, "CUDA_ERROR_SYSTEM_NOT_READY (802)"},
		{34, 0, "CUDA_ERROR_STUB_LIBRARY (34): the toolkit's stub"},
		{999, 0, "CUDA_ERROR_UNKNOWN (999)"},
		{304, 0, "CUDA_ERROR_OPERATING_SYSTEM (304): the system refused"},
	} {
		folder := stub(t, fmt.Sprint("-DINIT=", c.init), fmt.Sprint("-DCOUNT=", c.count))
		out := tell(t, folder)
		require.Contains(t, out, "status: cuda: the driver "+folder+"/libcuda.so.1 does not start: ")
		require.Contains(t, out, c.says)
		require.Len(t, regexp.MustCompile(`(?m)^(status|count|open): .*does not start`).FindAllString(strings.ReplaceAll(out, "count: 0 ", "count: "), -1), 3, out)
	}
}

// TestDriverThatLacksFunctions: one that is called answers for itself, and the
// program goes on.
func TestDriverThatLacksFunctions(t *testing.T) {
	out := tell(t, stub(t, "-DINIT=0", "-DCOUNT=0", "-DDEVICES=1"), "LD_BIND_NOW=1")
	require.Contains(t, out, "status: <nil>\ncount: 1 <nil>\n")
	require.Contains(t, out, "open: cuda: open device 0: kvferry: no device: cuda: cuDeviceGet: CUDA_ERROR_NOT_FOUND (500): the driver has no such function")
}

// TestFileThatIsNoDriver is passed by.
func TestFileThatIsNoDriver(t *testing.T) {
	hide := hidden(t)
	folder := stub(t, "-DEMPTY")
	require.Contains(t, tell(t, folder, hide), "undefined symbol: cuInit")
	require.NoError(t, os.WriteFile(filepath.Join(folder, "libcuda.so.1"), []byte("no library"), 0o755))
	require.Contains(t, tell(t, folder, hide), folder+"/libcuda.so.1: ")
}

// TestNeedsNoDriver: the program names no libcuda, wants no symbol of it, and
// offers none: in a process that loads it, the driver stays the driver.
func TestNeedsNoDriver(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	f, err := elf.Open(self)
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	libraries, err := f.ImportedLibraries()
	require.NoError(t, err)
	require.NotEmpty(t, libraries)
	for _, l := range libraries {
		require.NotContains(t, l, "libcuda")
	}
	symbols, err := f.DynamicSymbols()
	require.NoError(t, err)
	require.NotEmpty(t, symbols)
	for _, s := range symbols {
		require.NotRegexp(t, `^(cu[A-Z]|kv_)`, s.Name)
	}
}
