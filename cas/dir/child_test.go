package dir_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas"
	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// The test binary runs itself as a second process with these variables.
const (
	childRoot = "KVFERRY_TEST_DIR_CHILD"
	childJob  = "KVFERRY_TEST_DIR_JOB"
)

// child commits snapshots until it is killed, or 40 of them if the job says
// so, and prints the root of each when its commit returned.
func child(root, job string) {
	s, err := dir.Open(root, dir.Options{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	start := uint64(os.Getpid()) << 32
	for i := uint64(0); job == "forever" || i < 40; i++ {
		var parts [][]byte
		for j := range uint64(25) {
			parts = append(parts, noise(start+i*20+j, 3000)) // five are those of the one before
		}
		d, err := commit(context.Background(), s, digest.BLAKE3, []string{"last"}, parts...)
		if err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println("committed", d)
	}
	if err := s.Close(); err != nil {
		fmt.Println("error", err)
	}
}

// startChild runs the child and returns its output.
func startChild(t *testing.T, root, job string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childRoot+"="+root, childJob+"="+job)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// TestKilled kills a writing process again and again: what it was told to be
// committed is there, and nothing is there by half.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	committed := map[string]bool{}
	for round := range 6 {
		cmd, lines := startChild(t, root, "forever")
		for i := 0; i <= round && lines.Scan(); i++ {
			var d string
			_, err := fmt.Sscanf(lines.Text(), "committed %s", &d)
			require.NoError(t, err, lines.Text())
			committed[d] = true
		}
		require.NoError(t, cmd.Process.Kill())
		for lines.Scan() { // what it managed to say
			var d string
			if _, err := fmt.Sscanf(lines.Text(), "committed %s", &d); err == nil && len(d) == len("blake3:")+64 {
				committed[d] = true
			}
		}
		require.Error(t, cmd.Wait())

		s := open(t, root, dir.Options{})
		found := map[string]bool{}
		for _, e := range wantWhole(t, s) {
			found[e.Root.String()] = true
		}
		for d := range committed {
			require.True(t, found[d], "%s was committed", d)
		}
		_, err := s.Catalog().Lookup(t.Context(), "last")
		require.NoError(t, err)
		st, err := s.Stats(t.Context())
		require.NoError(t, err)
		require.Zero(t, st.Sessions, "a killed process has no session")
		collect(t, s, cas.CollectOptions{})
		require.Empty(t, problems(t, s), "a collection leaves nothing of the killed process")
		require.Len(t, wantWhole(t, s), len(found))
		require.NoError(t, s.Close())
	}
	require.Greater(t, len(committed), 6)
}

// TestCollectBesideAnotherProcess collects while a second process commits.
func TestCollectBesideAnotherProcess(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := open(t, root, dir.Options{})
	cmd, lines := startChild(t, root, "")
	commits := 0
	for lines.Scan() {
		require.Contains(t, lines.Text(), "committed")
		commits++
		r := collect(t, s, cas.CollectOptions{KeepLast: 1000})
		require.GreaterOrEqual(t, len(r.Kept), commits)
	}
	require.NoError(t, cmd.Wait())
	require.Equal(t, 40, commits)
	require.Len(t, wantWhole(t, s), 40)
	require.Zero(t, collect(t, s, cas.CollectOptions{}).Deleted)
}
