package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// closedPipe is an output whose reader is gone.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) {
	return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE}
}

func TestAReaderThatIsGoneIsNotComplainedAbout(t *testing.T) {
	t.Parallel()
	var stderr cancelling
	stderr.cancel = func() {}
	code := run(t.Context(), []string{"version"}, console{out: closedPipe{}, err: &stderr, getenv: func(string) string { return "" }})
	require.Equal(t, exitFailed, code)
	require.Empty(t, stderr.String())
}

func TestASignalIsACancellation(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("capture: %w", interrupted{syscall.SIGTERM})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "cancelled", kindOf(err))
	require.Equal(t, exitFailed, codeOf(err))
	require.Contains(t, err.Error(), "terminated")
}
