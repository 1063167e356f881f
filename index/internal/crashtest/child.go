package crashtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// childEnv has the directory that a child writes to.
const childEnv = "KVFERRY_TEST_INDEX_CHILD"

// batchRecords is how many records the child puts at once.
const batchRecords = 3

// Child is called first in TestMain, with how an index is opened. In a process
// that Killed started it writes until it is killed, and does not return.
func Child(open func(dir string) (index.Index, error)) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return
	}
	x, err := open(dir)
	for i := 0; err == nil; i++ {
		rs := batch(i)
		if err = x.Put(context.Background(), rs[:]); err == nil {
			_, err = fmt.Println(i) // the pipe has it when Println returns
		}
	}
	_, _ = fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func batch(i int) (rs [batchRecords]index.Record) {
	for k := range rs {
		rs[k] = record(fmt.Sprintf("%d/%d", i, k), "w", index.LocalSSD, uint64(i))
	}
	return rs
}

// Killed has a process write to dir, kills it without a warning after some
// writes, and requires that all that it had acknowledged is there, and nothing
// that it did not write.
func Killed(t *testing.T, dir string, open func(dir string) (index.Index, error)) {
	for round := range 3 {
		acknowledged := write(t, dir, 50*(round+1))
		x, err := open(dir)
		require.NoError(t, err)
		for i := range acknowledged + 1 {
			for _, want := range batch(i) {
				got, err := x.Locate(t.Context(), &want.Key, nil)
				require.NoError(t, err)
				require.Equal(t, []index.Record{want}, got)
			}
		}
		_, err = x.Snapshot(t.Context(), func(r *index.Record) error {
			require.Contains(t, batch(int(r.Bytes)), *r)
			require.LessOrEqual(t, int(r.Bytes), acknowledged+1, "one may be under way")
			return nil
		})
		require.NoError(t, err)
		require.NoError(t, x.Clear(t.Context()))
		require.NoError(t, x.Close())
	}
}

// write returns the last write that a child acknowledged before it was killed, at
// some time after so many.
func write(t *testing.T, dir string, writes int) int {
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	last := -1
	for lines := bufio.NewScanner(out); lines.Scan(); {
		last, err = strconv.Atoi(lines.Text())
		require.NoError(t, err)
		if last == writes {
			require.NoError(t, child.Process.Kill())
		}
	}
	require.Error(t, child.Wait(), "it was killed")
	require.GreaterOrEqual(t, last, writes)
	return last
}
