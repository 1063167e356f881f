package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache"
	"github.com/kvferry/kvferry/pipelinecache/disk"
	"github.com/kvferry/kvferry/pipelinecache/remote"
)

func TestPipelineServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := disk.Open(dir, disk.Options{})
	require.NoError(t, err)
	f := pipelinecache.Kernel{PTX: []byte("ptx"), Major: 9}.Fingerprint()
	require.NoError(t, s.Put(t.Context(), f, []byte("cubin")))
	require.NoError(t, s.Close())

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, tell := io.Pipe()
	defer func() { _ = told.Close() }() // it never fails
	var out strings.Builder
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"pipeline", "serve", dir, "--provenance", "git:abc123", "--device", "cuda-sm90", "--json"},
			console{out: &out, err: tell, getenv: func(string) string { return "" }})
	}()
	line, err := bufio.NewReader(told).ReadString('\n')
	require.NoError(t, err)
	_, base, ok := strings.Cut(strings.TrimSpace(line), "serving kernels on ")
	require.True(t, ok, line)

	client, err := remote.NewClient(base, remote.Options{Required: remote.Metadata{Provenance: "git:abc123", Device: "cuda-sm90"}})
	require.NoError(t, err)
	got, err := client.Get(t.Context(), f)
	require.NoError(t, err)
	require.Equal(t, "cubin", string(got))
	_, err = client.Get(t.Context(), pipelinecache.Fingerprint{1})
	require.ErrorIs(t, err, kvferry.ErrNotFound)
	require.NoError(t, client.Close())
	other, err := remote.NewClient(base, remote.Options{Required: remote.Metadata{Device: "cuda-sm100"}})
	require.NoError(t, err)
	_, err = other.Get(t.Context(), f)
	require.ErrorIs(t, err, kvferry.ErrUnsupported)
	require.NoError(t, other.Close())

	cancel()
	require.Equal(t, exitDone, <-code)
	var doc served
	require.NoError(t, json.Unmarshal([]byte(out.String()), &doc))
	require.Equal(t, base, doc.Address)
	require.EqualValues(t, 2, doc.Artifacts)
	require.EqualValues(t, 1, doc.Missing)
}

func TestPipelineServeRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blocked := httptest.NewServer(nil)
	defer blocked.Close()
	junk := filepath.Join(dir, "junk.pem")
	require.NoError(t, os.WriteFile(junk, []byte("no key"), 0o600))
	for want, args := range map[int][][]string{
		exitUsage: {
			{dir}, {dir, "--provenance", "p"}, {dir, "--provenance", "p", "--device", "d", "--listen", "nonsense"}, {dir, "--provenance", "p", "--device", "d", "--tls-cert", "c"},
		},
		exitNotFound: {{filepath.Join(dir, "none"), "--provenance", "p", "--device", "d"}},
		exitFailed: {
			{dir, "--provenance", "p", "--device", "d", "--listen", blocked.Listener.Addr().String()},
			{dir, "--provenance", "p", "--device", "d", "--tls-cert", junk, "--tls-key", junk},
		},
	} {
		for _, a := range args {
			var out, err strings.Builder
			got := run(t.Context(), append([]string{"pipeline", "serve"}, a...), console{out: &out, err: &err, getenv: func(string) string { return "" }})
			require.Equal(t, want, got, "%v: %s", a, err.String())
		}
	}
}
