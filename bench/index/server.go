package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// serve starts the server that a backend needs, empty, with the backend's flags.
// What is returned ends it.
func (r *run) serve(ctx context.Context, b *Backend, t *task) (stop func() error, err error) {
	if b.server == nil {
		return func() error { return nil }, nil
	}
	dir := filepath.Join(t.Dir, "server")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	var log bytes.Buffer
	args := append(slices.Clone(b.server[1:]), "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", dir)
	cmd := exec.CommandContext(ctx, b.server[0], args...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &log, &log, 10*time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", b.server[0], err)
	}
	stop = func() error {
		err := cmd.Process.Kill()
		var exit *exec.ExitError
		if wait := cmd.Wait(); !errors.As(wait, &exit) {
			err = errors.Join(err, wait)
		}
		return err
	}
	t.Addr, t.ServerPID = net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), cmd.Process.Pid
	if err := answering(ctx, t.Addr); err != nil {
		return nil, errors.Join(fmt.Errorf("%s does not answer: %w", b.server[0], err), stop(), errors.New(log.String()))
	}
	return stop, nil
}

// freePort is one that was free a moment ago.
func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// answering waits until something listens at an address.
func answering(ctx context.Context, addr string) error {
	var d net.Dialer
	deadline := time.Now().Add(10 * time.Second)
	for {
		c, err := d.DialContext(ctx, "tcp", addr)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}
