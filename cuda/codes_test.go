package cuda

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

func TestCodes(t *testing.T) {
	t.Parallel()
	names := map[string]int{}
	for n, c := range codes {
		require.Positive(t, n)
		require.Regexp(t, `^CUDA_ERROR_[A-Z_]+$`, c.name)
		require.NotContains(t, names, c.name)
		names[c.name] = n
		require.NotEmpty(t, c.advice)
		require.Error(t, c.is)
		require.Equal(t, c.is == kvferry.ErrDeviceLost, (&Error{"cuX", n}).Sticky(), c.name) //nolint:errorlint // the root error itself
	}
	e := &Error{"cuMemAlloc", 2}
	require.EqualError(t, e, "cuda: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2): device or pinned memory is used up: free some, or ask for less")
	require.ErrorIs(t, e, kvferry.ErrOutOfMemory)
	unknown := &Error{"cuX", 12345}
	require.Equal(t, "CUDA_ERROR_12345", unknown.Name())
	require.ErrorIs(t, unknown, kvferry.ErrUnsupported)
	require.ErrorIs(t, &Error{"cuInit", 999}, kvferry.ErrNoDevice)
	require.NotErrorIs(t, &Error{"cuInit", 999}, kvferry.ErrDeviceLost)
	require.ErrorIs(t, &Error{"cuCtxPushCurrent", 201}, kvferry.ErrDeviceLost)
	require.ErrorIs(t, &Error{"cuMemHostRegister", 999}, kvferry.ErrUnsupported)
	require.False(t, (&Error{"cuMemHostRegister", 999}).Sticky())
	require.ErrorIs(t, &Error{"cuMemAlloc", 201}, kvferry.ErrInvalid)
}

// TestStickyCodes are those of which cuda.h says that the process has to end, and
// those after which nothing is known to work.
func TestStickyCodes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999} {
		require.True(t, (&Error{"cuX", n}).Sticky(), n)
	}
	for _, n := range []int{1, 2, 100, 201, 400, 500, 600, 701, 712, 801, 901} {
		require.False(t, (&Error{"cuX", n}).Sticky(), n)
	}
}

// TestCodesOfHeader compares names and numbers with the cuda.h that the package is compiled
// with, and for a header of CUDA 13 in both directions.
func TestCodesOfHeader(t *testing.T) {
	t.Parallel()
	text := header(t)
	version, err := strconv.Atoi(regexp.MustCompile(`(?m)^#define CUDA_VERSION (\d+)`).FindStringSubmatch(text)[1])
	require.NoError(t, err)
	_, text, found := strings.Cut(text, "typedef enum cudaError_enum {")
	require.True(t, found)
	text, _, found = strings.Cut(text, "} CUresult;")
	require.True(t, found)
	known := map[int]string{}
	for _, m := range regexp.MustCompile(`(?m)^\s*(CUDA_ERROR_\w+)\s*=\s*(\d+)`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		known[n] = m[1]
	}
	require.Greater(t, len(known), 80)
	for n, name := range known {
		require.Equal(t, name, codes[n].name, n)
	}
	if version >= 13000 {
		for n, c := range codes {
			require.Equal(t, c.name, known[n], n)
		}
	}
}

// header returns the cuda.h of the folders that the C compiler is told.
func header(t *testing.T) string {
	t.Helper()
	for _, flag := range strings.Fields(os.Getenv("CGO_CFLAGS")) {
		dir, is := strings.CutPrefix(flag, "-I")
		if !is {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "cuda.h"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		if strings.Contains(string(text), "typedef enum cudaError_enum {") {
			return string(text)
		}
	}
	t.Skip("no CUDA header in CGO_CFLAGS: make test-cuda has one")
	return ""
}
