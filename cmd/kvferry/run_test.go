package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// result is what a command line did in this process.
type result struct {
	code     int
	out, err string
}

func command(ctx context.Context, args ...string) result {
	var out, err bytes.Buffer
	code := run(ctx, args, console{in: strings.NewReader(""), out: &out, err: &err, getenv: func(string) string { return "" }})
	return result{code, out.String(), err.String()}
}

// cancelling cancels a context when something is written to it.
type cancelling struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	c.cancel()
	return c.Buffer.Write(p)
}

// kinds calls f with a new store of each kind that lies in a directory.
func kinds(t *testing.T, f func(t *testing.T, store string)) {
	t.Helper()
	for _, k := range []string{schemePack, schemeDir} {
		t.Run(k, func(t *testing.T) {
			t.Parallel()
			f(t, k+":"+filepath.Join(t.TempDir(), "store"))
		})
	}
}

func TestCancelledCaptureLeavesNothingVisible(t *testing.T) {
	t.Parallel()
	kinds(t, cancelledCapture)
}

func cancelledCapture(t *testing.T, store string) {
	t.Helper()
	require.Zero(t, command(t.Context(), "capture", "--pager", "synthetic:pages=1", "--store", store, "--name", "before").code)
	ctx, cancel := context.WithCancel(t.Context())
	// The first log record, before the capture begins, is the signal.
	stderr := &cancelling{cancel: cancel}
	var out bytes.Buffer
	code := run(ctx, []string{"capture", "--pager", "synthetic:pages=64,seed=9", "--store", store, "--name", "never", "--json", "--log-level", "info"},
		console{in: strings.NewReader(""), out: &out, err: stderr, getenv: func(string) string { return "" }})
	require.Equal(t, exitFailed, code)
	require.Empty(t, out.String())
	require.Contains(t, stderr.String(), `"kind":"cancelled"`)

	got := command(t.Context(), "ls", "--store", store, "--json")
	require.Zero(t, got.code)
	var l listing
	require.NoError(t, json.Unmarshal([]byte(got.out), &l))
	require.Len(t, l.Snapshots, 1)
	require.Equal(t, []string{"before"}, l.Snapshots[0].Names)
}

func TestCancelledContextEndsEveryCommand(t *testing.T) {
	t.Parallel()
	kinds(t, cancelledCommands)
}

func cancelledCommands(t *testing.T, store string) {
	t.Helper()
	require.Zero(t, command(t.Context(), "capture", "--pager", "synthetic:pages=8", "--store", store, "--name", "a").code)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, line := range []string{
		"capture --pager synthetic:pages=8", "restore a", "verify a", "verify --all", "ls", "inspect a", "diff a a",
		"rm a", "gc", "check", "check --deep", "check --repair", "check --repair --from " + store, "stats", "convert a --to mem: --format native", "demo",
	} {
		got := command(ctx, append(strings.Fields(line), "--store", store)...)
		require.Equal(t, exitFailed, got.code, "%s: %s", line, got.err)
		require.Empty(t, got.out, line)
	}
	require.Zero(t, command(t.Context(), "restore", "a", "--store", store).code)
}

func TestAmbiguousReferenceIsWrongUsage(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	a, b := alike(t)
	s, err := dir.Open(path, dir.Options{})
	require.NoError(t, err)
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	for _, root := range []string{a, b} {
		session, err := s.Begin(t.Context(), cas.SessionOptions{})
		require.NoError(t, err)
		d := h.Sum([]byte(root))
		_, err = session.Put(t.Context(), d, []byte(root))
		require.NoError(t, err)
		require.NoError(t, session.Commit(t.Context(), cas.Entry{Root: d, Format: cas.FormatNative, Created: time.Now()}))
	}
	require.NoError(t, s.Close())
	full := h.Sum([]byte(a)).Hex()
	got := command(t.Context(), "inspect", "blake3:"+full[:4], "--store", path, "--json")
	require.Equal(t, exitUsage, got.code)
	require.Contains(t, got.err, "ambiguous")
	// One of them, named in full, is found, and is no manifest.
	require.Equal(t, exitCorrupt, command(t.Context(), "inspect", full, "--store", path).code)
}

// alike returns two texts whose digests begin with the same four digits.
func alike(t *testing.T) (string, string) {
	t.Helper()
	h, err := digest.NewHasher(digest.BLAKE3, nil)
	require.NoError(t, err)
	seen := map[string]string{}
	for i := 0; ; i++ {
		s := fmt.Sprintf(`{"n":%d}`, i)
		key := h.Sum([]byte(s)).Hex()[:4]
		if first, ok := seen[key]; ok {
			return first, s
		}
		seen[key] = s
	}
}

func TestExitCodesAndKinds(t *testing.T) {
	t.Parallel()
	wrap := func(err error) error { return fmt.Errorf("while testing: %w", err) }
	for _, tc := range []struct {
		err  error
		code int
		kind string
	}{
		{kvferry.ErrCorrupt, 3, "corrupt"},
		{kvferry.ErrNotFound, 4, "not-found"},
		{errors.Join(kvferry.ErrNotFound, kvferry.ErrCorrupt), 3, "corrupt"},
		{usage(kvferry.ErrNotFound), 2, "usage"},
		{typed(kvferry.ErrInvalid), 2, "usage"},
		{typed(kvferry.ErrAmbiguous), 2, "usage"},
		{typed(kvferry.ErrNotFound), 4, "not-found"},
		{kvferry.ErrInvalid, 1, "invalid"},
		{kvferry.ErrReadOnly, 1, "read-only"},
		{kvferry.ErrQuota, 1, "quota"},
		{kvferry.ErrNoSpace, 1, "no-space"},
		{kvferry.ErrNoDevice, 1, "no-device"},
		{kvferry.ErrUnsupported, 1, "unsupported"},
		{context.Canceled, 1, "cancelled"},
		{context.DeadlineExceeded, 1, "timeout"},
		{errors.New("other"), 1, "failed"},
	} {
		require.Equal(t, tc.code, codeOf(wrap(tc.err)), tc.err)
		require.Equal(t, tc.kind, kindOf(wrap(tc.err)), tc.err)
	}
	require.Zero(t, codeOf(nil))
	require.NoError(t, usage(nil))
}
