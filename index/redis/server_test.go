package redis_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// needServer skips the test where there is no redis-server, unless
// KVFERRY_REDIS=require promises one.
func needServer(t testing.TB) {
	t.Helper()
	for _, name := range []string{"redis-server", "redis-cli"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("KVFERRY_REDIS") == "require" {
				t.Fatalf("%v: KVFERRY_REDIS=require, but there is none", err)
			}
			t.Skipf("%v: install redis-server (make check-redis does)", err)
		}
	}
}

// server is a redis-server of the test's own.
type server struct {
	t       testing.TB
	dir     string
	address string
	args    []string
	cmd     *exec.Cmd
}

// freePort returns a TCP port that nobody listens at. In a cluster the one 10000
// above is used, too.
func freePort(t testing.TB) int {
	t.Helper()
	for {
		var l net.ListenConfig
		a, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := a.Addr().(*net.TCPAddr).Port
		require.NoError(t, a.Close())
		if port+10000 > 65535 {
			port -= 20000
		}
		b, err := l.Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port+10000))
		if err != nil {
			continue
		}
		require.NoError(t, b.Close())
		return port
	}
}

// startServer starts a server on a Unix socket in a folder of its own, which
// keeps nothing unless the arguments say so.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	needServer(t)
	dir, err := os.MkdirTemp("", "kvf-redis") //nolint:usetesting // t.TempDir may be too long for a socket's path
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	s := &server{t: t, dir: dir, address: filepath.Join(dir, "s")}
	s.args = append([]string{"--port", "0", "--unixsocket", s.address, "--save", "", "--dir", dir}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

// startTCP starts a server at a port.
func startTCP(t testing.TB, args ...string) *server {
	t.Helper()
	needServer(t)
	dir, port := t.TempDir(), strconv.Itoa(freePort(t))
	s := &server{t: t, dir: dir, address: "127.0.0.1:" + port}
	s.args = append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", dir}, args...)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func networkOf(address string) string {
	if strings.HasPrefix(address, "/") {
		return "unix"
	}
	return "tcp"
}

// start starts the server and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.launch()
	require.Eventually(s.t, func() bool {
		var d net.Dialer
		c, err := d.DialContext(context.Background(), networkOf(s.address), s.address)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond, "the server does not answer: %s", filepath.Join(s.dir, "log"))
}

func (s *server) launch() {
	s.cmd = exec.CommandContext(context.Background(), "redis-server", append(s.args, "--logfile", filepath.Join(s.dir, "log"))...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(s.t, s.cmd.Start())
}

// kill ends the server as kill -9 does.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill() // it may have ended by itself
		_ = s.cmd.Wait()         // which says that it was killed
		s.cmd = nil
	}
}

// client is a plain connection, for what an index does not do.
func (s *server) client() rueidis.Client {
	s.t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.address}, ForceSingleClient: true, DisableCache: true,
		DialCtxFn: func(ctx context.Context, address string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, networkOf(address), address)
		},
	})
	require.NoError(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}

// do sends a command.
func (s *server) do(args ...string) rueidis.RedisResult {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	return c.Do(context.Background(), c.B().Arbitrary(args...).Build())
}

// must sends a command that has to succeed.
func (s *server) must(args ...string) rueidis.RedisMessage {
	s.t.Helper()
	m, err := s.do(args...).ToMessage()
	if !rueidis.IsRedisNil(err) {
		require.NoError(s.t, err, "%q", args)
	}
	return m
}

// text is the text that a command answers.
func (s *server) text(args ...string) (string, error) {
	s.t.Helper()
	return s.do(args...).ToString()
}

// options are those of an index on the server, below a prefix of the test's own.
func (s *server) options(o index.Options) redis.Options {
	return redis.Options{Options: o, Addresses: []string{s.address}, Timeout: 20 * time.Second, Lease: time.Hour}
}

// open opens an index on the server.
func (s *server) open(t testing.TB, o redis.Options) *redis.Index {
	t.Helper()
	x, err := redis.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, x.Close()) })
	return x
}
