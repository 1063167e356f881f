package tiered_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/cas/dir"
	"github.com/kvferry/kvferry/digest"
)

// childRoot tells a process of the test binary that it is the writer, and
// childPack that near is a store of package pack.
const (
	childRoot = "KVFERRY_TIERED_CHILD"
	childPack = "KVFERRY_TIERED_CHILD_PACK"
)

// child commits and drops snapshots until it is killed, and tells of each
// after it was acknowledged.
func child(root string) {
	s, _, err := disk{root: root, pack: os.Getenv(childPack) != ""}.open(&trouble{})
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	ctx := context.Background()
	entries, err := s.Catalog().Entries(ctx)
	if err != nil {
		fmt.Println("failed", err)
		return
	}
	for i := len(entries) + 1; ; i++ {
		snapshot, err := commit(ctx, s, i, []string{fmt.Sprintf("name%d", i%5)}, noise(uint64(i%7), 2000), noise(uint64(os.Getpid()*1000+i), 500))
		if err != nil {
			fmt.Println("failed", err)
			return
		}
		fmt.Println("committed", snapshot)
		if i%4 == 0 {
			fmt.Println("dropping", snapshot)
			if err := s.Catalog().Drop(ctx, snapshot); err != nil {
				fmt.Println("failed", err)
				return
			}
			fmt.Println("dropped", snapshot)
		}
	}
}

// TestKilled kills a writing process, again and again over the same stores:
// what it acknowledged is there and whole, and reaches far.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, d := range []disk{{root: t.TempDir()}, {root: t.TempDir(), pack: true}} {
		t.Run(fmt.Sprintf("pack=%t", d.pack), func(t *testing.T) {
			t.Parallel()
			testKilled(t, d)
		})
	}
}

func testKilled(t *testing.T, d disk) {
	rounds := 6
	if soak := os.Getenv("KVFERRY_SOAK"); soak != "" && soak != "0" {
		rounds = 100
	}
	r := rand.New(rand.NewPCG(2, 6))
	there := map[digest.Digest]bool{} // false: its drop was not acknowledged
	for range rounds {
		told := killAfter(t, d, 1+r.IntN(25))
		for _, line := range told {
			what, text, ok := strings.Cut(line, " ")
			require.True(t, ok && what != "failed", line)
			root, err := digest.Parse(text)
			require.NoError(t, err)
			switch what {
			case "committed":
				there[root] = true
			case "dropping":
				there[root] = false
			case "dropped":
				delete(there, root)
			}
		}
		now := open(t, d)
		for root, sure := range there {
			require.True(t, now.roots[root] || !sure, "snapshot %v is lost", root)
		}
		require.LessOrEqual(t, len(now.roots), len(there)+1, "one may not have been acknowledged in time")
		there = map[digest.Digest]bool{}
		for root := range now.roots {
			there[root] = true
		}
	}
	require.NotEmpty(t, there)
}

// killAfter runs a child until it told so many lines, kills it and returns all
// that it told.
func killAfter(t *testing.T, d disk, lines int) (told []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // this test binary
	cmd.Env = append(os.Environ(), childRoot+"="+d.root)
	if d.pack {
		cmd.Env = append(cmd.Env, childPack+"=1")
	}
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	for scan := bufio.NewScanner(out); scan.Scan(); {
		told = append(told, scan.Text())
		if len(told) == lines {
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "it was killed")
	return told
}

// open opens what a killed process left, empties the queue, and returns the
// catalog, which is whole in far alone.
func open(t *testing.T, d disk) known {
	t.Helper()
	s, end, err := d.open(&trouble{})
	require.NoError(t, err)
	defer end()
	now := knownOf(t, s)
	require.NoError(t, s.Drain(t.Context()))
	require.True(t, now.equal(knownOf(t, s)))
	end()
	far, err := dir.Open(filepath.Join(d.root, "far"), dir.Options{})
	require.NoError(t, err)
	require.True(t, now.equal(knownOf(t, far)))
	require.NoError(t, whole(t.Context(), far))
	require.NoError(t, far.Close())
	return now
}
