package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal returns both ends of a new pseudo-terminal.
func terminal(t *testing.T) (control, tty *os.File) {
	t.Helper()
	control, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	require.NoError(t, unix.IoctlSetPointerInt(int(control.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(control.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	return control, tty
}

func TestProgressBarOnATerminalOnly(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		args []string
		bar  bool
	}{
		{"people", nil, true},
		{"programs", []string{"--json"}, false},
	} {
		control, tty := terminal(t)
		var out bytes.Buffer
		shown := make(chan string, 1)
		go func() {
			var b bytes.Buffer
			_, _ = b.ReadFrom(control) // ends with an error when the terminal is gone
			shown <- b.String()
		}()
		args := append([]string{"capture", "--pager", "synthetic:pages=512", "--store", "mem:"}, tc.args...)
		code := run(t.Context(), args, console{in: strings.NewReader(""), out: &out, err: tty, getenv: func(string) string { return "" }})
		require.NoError(t, tty.Close())
		require.Zero(t, code)
		got := <-shown
		require.NoError(t, control.Close())
		require.Equal(t, tc.bar, strings.Contains(got, "capture"), "%s: %q", tc.name, got)
		require.NotContains(t, out.String(), "\r")
	}
}
