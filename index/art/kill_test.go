package art_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/art"
)

// childEnv makes this test program one that puts records until it is killed.
const childEnv = "KVFERRY_TEST_ART_CHILD"

// child opens the index in a directory and tells of each put that returned.
func child(spec string) error {
	mode, dir, _ := strings.Cut(spec, ":")
	ctx := context.Background()
	x, err := art.Open(ctx, dir, art.Options{Write: mode == "write", Sync: mode == "sync", CompactBytes: 20_000})
	if err != nil {
		return err
	}
	m, err := x.Metrics(ctx)
	if err != nil {
		return err
	}
	for i := int(m.ResidentBlocks); ; i++ {
		if err := x.Put(ctx, []index.Record{killed(i)}); err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func killed(i int) index.Record {
	r := benchRecord(fmt.Sprint("p", i/3), fmt.Sprint("h", i), i)
	r.Tier, r.Bytes = index.LocalSSD, uint64(i)
	return r
}

// TestKilled: a process that is killed loses nothing that it was told is there,
// nor does the next one, which goes on.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"map", "write", "sync"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for round := range 3 {
				acked := kill(t, mode+":"+dir, 150+round*217)
				x := openDir(t, dir, art.Options{})
				require.NoError(t, art.Check(x))
				m, err := x.Metrics(t.Context())
				require.NoError(t, err)
				require.Greater(t, int(m.ResidentBlocks), acked)
				var rs []index.Record
				for i := range int(m.ResidentBlocks) {
					want := killed(i)
					rs, err = x.Locate(t.Context(), &want.Key, rs[:0])
					require.NoError(t, err)
					require.Equal(t, []index.Record{want}, rs)
				}
				require.NoError(t, x.Close())
			}
		})
	}
}

// kill starts a child, kills it after so many puts and returns the last that it
// told of.
func kill(t *testing.T, spec string, puts int) (acked int) {
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), childEnv+"="+spec)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	acked = -1
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		i, err := strconv.Atoi(lines.Text())
		require.NoError(t, err)
		acked = i
		if n == puts {
			require.NoError(t, c.Process.Kill())
		}
	}
	require.Error(t, c.Wait(), "it was killed")
	return acked
}
