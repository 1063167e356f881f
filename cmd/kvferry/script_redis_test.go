package main

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestScriptsOfRedis runs scripts on an index in a Redis server of the test's own,
// at INDEX (ADDRESS without password), where there is one; KVFERRY_REDIS=require makes its lack a failure.
func TestScriptsOfRedis(t *testing.T) {
	t.Parallel()
	needRedis(t)
	address := startRedis(t)
	testscript.Run(t, params(t, "redis", "INDEX", "redis://:s3cret@"+address, "ADDRESS", address))
}

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("KVFERRY_REDIS") == "require" {
			t.Fatalf("%v: KVFERRY_REDIS=require, but there is none", err)
		}
		t.Skipf("%v: install redis-server (make check-redis does)", err)
	}
}

// startRedis starts a server with a password that keeps nothing, and returns where
// it listens.
func startRedis(t *testing.T, args ...string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	require.NoError(t, l.Close()) // somebody else may take it now; then the server says so
	n, err := strconv.Atoi(port)
	require.NoError(t, err)
	args = append([]string{"--port", strconv.Itoa(n), "--bind", "127.0.0.1", "--save", "", "--requirepass", "s3cret", "--dir", t.TempDir()}, args...)
	cmd := exec.CommandContext(t.Context(), "redis-server", args...) //nolint:gosec // a command of this test
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	ready := false
	for !ready && lines.Scan() {
		ready = strings.Contains(lines.Text(), "Ready to accept connections")
	}
	require.True(t, ready, "the server ended: %v", lines.Err())
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() { // it must not wait for us
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-drained
		_ = cmd.Wait() // it was killed
	})
	return "127.0.0.1:" + port
}
