package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
)

// process runs the command as a process of its own.
func process(ctx context.Context, line string, args ...any) ([]byte, error) {
	var out, stderr bytes.Buffer
	c := exec.CommandContext(ctx, "kvferry", strings.Fields(fmt.Sprintf(line, args...))...) //nolint:gosec // a command of this test
	c.Stdout, c.Stderr = &out, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s%.4000s", c, err, stderr.String(), out.String())
	}
	return out.Bytes(), nil
}

// TestProcessesShareAStore lets two writers, which also remove, a collector, two
// readers and a check work on one store, each a process at a time, for some
// rounds. What is named is there whenever somebody looks, and in the end nothing
// is left over.
func TestProcessesShareAStore(t *testing.T) {
	t.Parallel()
	kinds(t, shareAStore)
}

func shareAStore(t *testing.T, store string) {
	t.Helper()
	rounds := 6
	if raceEnabled { // which sees into each process alone
		rounds = 3
	}
	if os.Getenv("KVFERRY_SOAK") == "1" {
		rounds = 150
	}
	eg, ctx := errgroup.WithContext(t.Context())
	_, err := process(ctx, "capture --pager synthetic:pages=200,seed=1 --store %s --name base", store)
	require.NoError(t, err)
	each := func(do func(i int) error) {
		eg.Go(func() error {
			for i := range rounds {
				if err := do(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for w := range 2 {
		each(func(i int) error { // half of the pages are those of the round before
			_, err := process(ctx, "capture --pager synthetic:pages=%d,seed=%d --store %s --name w%d-%d", 150+50*(i%3), (i/2+1)<<32, store, w, i)
			if err == nil && i > 1 {
				_, err = process(ctx, "rm w%d-%d --store %s", w, i-2, store)
			}
			return err
		})
	}
	for _, line := range []string{
		"gc --store %s", "restore base --store %s", "verify --all --store %s", "check --store %s", "ls --store %s", "stats --store %s",
	} {
		each(func(int) error {
			_, err := process(ctx, line, store)
			return err
		})
	}
	require.NoError(t, eg.Wait())

	ctx = t.Context()
	for _, line := range []string{"verify --all --store %s", "gc --store %s", "check --store %s"} {
		_, err := process(ctx, line, store)
		require.NoError(t, err)
	}
	out, err := process(ctx, "stats --json --store %s", store)
	require.NoError(t, err)
	var s statistics
	require.NoError(t, json.Unmarshal(out, &s))
	require.Equal(t, 3, s.Snapshots, "base and, under the names of both writers, the last two")
	require.Zero(t, s.Sessions)
	out, err = process(ctx, "gc --dry-run --json --store %s", store)
	require.NoError(t, err)
	var c collection
	require.NoError(t, json.Unmarshal(out, &c))
	require.Zero(t, c.DeletedBlobs)
	require.Zero(t, c.Stale)
	require.Equal(t, s.Blobs, c.LiveBlobs)
}
