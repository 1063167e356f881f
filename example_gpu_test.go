package kvferry_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/capture"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/mem"
	"github.com/kvferry/kvferry/cuda"
	"github.com/kvferry/kvferry/kernels"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

// docs/gpu.md shows this function; a test compares the two.
func captureFromGPU(ctx context.Context, engine gpu.Engine, layout *pager.Layout, regions []cuda.Ptr,
	streams []uintptr, kernelsDir string, store cas.Store) (err error) {
	device, err := cuda.Open(0, cuda.Options{})
	if err != nil {
		return err // what is missing, and what to do
	}
	defer func() { err = errors.Join(err, device.Close()) }()

	cache, err := disk.Open(kernelsDir, disk.Options{}) // compiled once for a device and driver
	if err != nil {
		return err
	}
	set, err := kernels.Open(ctx, device, cache)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, set.Close()) }()

	p, err := gpu.New(gpu.Config{
		Device: device, Kernels: set, Layout: layout, Regions: regions, Engine: engine, Streams: streams,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	pinned := capture.Transfer{Allocator: device.Allocator(cuda.PinOptions{})}
	first, err := capture.Capture(ctx, p.View(), store, capture.Options{Transfer: pinned})
	if err != nil {
		return err
	}
	// Later: what is unchanged stays on the device.
	second, err := capture.Capture(ctx, p.View(), store, capture.Options{Since: first.Root, Transfer: pinned})
	if err != nil {
		return err
	}
	fmt.Printf("%d of %d pages copied\n", second.CopiedPages, second.Pages)
	return nil
}

// TestGPUPageShowsTheExample keeps the program of docs/gpu.md one that compiles.
func TestGPUPageShowsTheExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_gpu_test.go")
	require.NoError(t, err)
	_, after, found := strings.Cut(string(source), "\nfunc captureFromGPU")
	require.True(t, found)
	body, _, found := strings.Cut(after, "\n}\n")
	require.True(t, found)
	require.Contains(t, gpuPage(t), "```go\nfunc captureFromGPU"+body+"\n}\n```\n", "copy captureFromGPU from example_gpu_test.go into docs/gpu.md")
}

// TestWithoutGPU: the program of docs/gpu.md ends with an error that says what is
// missing.
func TestWithoutGPU(t *testing.T) {
	t.Parallel()
	if cuda.Status() == nil {
		t.Skip("there is a device")
	}
	store, err := mem.Open(mem.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	err = captureFromGPU(t.Context(), nil, nil, nil, nil, t.TempDir(), store)
	require.ErrorIs(t, err, kvferry.ErrNoDevice)
}

func gpuPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("docs/gpu.md")
	require.NoError(t, err)
	return string(page)
}

// rootNames are the root errors as the page calls them.
func rootNames() map[string]error {
	return map[string]error{
		"ErrNoDevice": kvferry.ErrNoDevice, "ErrDeviceLost": kvferry.ErrDeviceLost, "ErrOutOfMemory": kvferry.ErrOutOfMemory,
		"ErrUnsupported": kvferry.ErrUnsupported, "ErrInvalid": kvferry.ErrInvalid, "ErrExists": kvferry.ErrExists,
	}
}

// TestTroubleshooting holds the codes of the page's table against package cuda:
// number, name and root error of each, and every code by which a device is missing
// is there.
func TestTroubleshooting(t *testing.T) {
	t.Parallel()
	page := gpuPage(t)
	told := make(map[int]bool)
	line := regexp.MustCompile(`(?m)^\|.*` + "`(CUDA_ERROR_[A-Z_]+) \\((\\d+)\\)`.*\\| `(Err\\w+)` \\|")
	for _, m := range line.FindAllStringSubmatch(page, -1) {
		n, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		told[n] = true
		e := &cuda.Error{Op: "cuX", Code: n}
		require.Equal(t, m[1], e.Name())
		want, ok := rootNames()[m[3]]
		require.True(t, ok, m[3])
		require.ErrorIs(t, e, want, m[1])
	}
	require.Len(t, told, strings.Count(page, "`CUDA_ERROR_"), "each code is in one line of the table, with its root error")
	for n := range 1000 {
		if e := (&cuda.Error{Op: "cuX", Code: n}); errors.Is(e, kvferry.ErrNoDevice) {
			require.True(t, told[n], "docs/gpu.md does not tell of %v", e)
		}
	}
}

// TestTroubleshootingTexts: what the page quotes of errors is what they say.
func TestTroubleshootingTexts(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, pattern := range []string{"cuda/*.go", "pager/gpu/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, f := range files {
			text, err := os.ReadFile(f)
			require.NoError(t, err)
			source.Write(text)
		}
	}
	quoted := 0
	for line := range strings.Lines(gpuPage(t)) {
		cell, ok := strings.CutPrefix(line, `| "`)
		if !ok {
			continue
		}
		cell, _, _ = strings.Cut(cell, " |")
		for i, text := range strings.Split(cell, `"`) {
			if i%2 == 1 { // between quotes
				continue
			}
			for piece := range strings.SplitSeq(text, "...") {
				require.Contains(t, source.String(), strings.TrimSpace(piece), "docs/gpu.md quotes %q", text)
				quoted++
			}
		}
	}
	require.Greater(t, quoted, 8)
}
