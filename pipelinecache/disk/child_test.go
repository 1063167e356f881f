package disk_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pipelinecache/disk"
)

const (
	childRoot   = "KVFERRY_TEST_DISK_ROOT"
	childNumber = "KVFERRY_TEST_DISK_NUMBER"
	childBudget = "KVFERRY_TEST_DISK_BUDGET"

	childKeys   = 6
	childRounds = 150
)

// signed returns an artifact that tells who wrote it for which key, so that
// whether it is whole can be seen from itself.
func signed(k, writer, round int) []byte {
	head := binary.LittleEndian.AppendUint32(nil, uint32(k))
	head = binary.LittleEndian.AppendUint32(head, uint32(writer))
	head = binary.LittleEndian.AppendUint32(head, uint32(round))
	seed := uint64(k)<<40 | uint64(writer)<<20 | uint64(round)
	return append(head, noise(seed, 1000+int(seed*7919%30_000))...)
}

func whole(k int, b []byte) bool {
	if len(b) < 12 {
		return false
	}
	writer, round := binary.LittleEndian.Uint32(b[4:]), binary.LittleEndian.Uint32(b[8:])
	return writer < 1000 && round < 1_000_000 && bytes.Equal(b, signed(k, int(writer), int(round)))
}

// child puts, gets and flushes in a directory that others use, too.
func child() int {
	number, err := strconv.Atoi(os.Getenv(childNumber))
	budget, err2 := strconv.ParseInt(os.Getenv(childBudget), 10, 64)
	s, err3 := disk.Open(os.Getenv(childRoot), disk.Options{BudgetBytes: budget})
	err = errors.Join(err, err2, err3)
	if err == nil {
		err = errors.Join(useDirectory(s, number), s.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func useDirectory(s *disk.Store, number int) error {
	ctx := context.Background()
	for i := range childRounds {
		k := (i + number) % childKeys
		if err := s.Put(ctx, key(k), signed(k, number, i)); err != nil {
			return err
		}
		for k := range childKeys {
			got, err := s.Get(ctx, key(k))
			if err != nil && !errors.Is(err, kvferry.ErrNotFound) {
				return err
			}
			if err == nil && !whole(k, got) {
				return fmt.Errorf("a wrong artifact of %d bytes for key %d", len(got), k)
			}
		}
		if i%50 == 0 {
			if err := s.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return s.Flush(ctx)
}

// TestTwoProcesses lets real processes use one directory, with and without a
// budget that makes them remove each other's files.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	for _, budget := range []int64{0, 50_000} {
		t.Run(fmt.Sprintf("budget=%d", budget), func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			var running []*exec.Cmd
			var out [3]bytes.Buffer
			for i := range out {
				c := exec.CommandContext(t.Context(), os.Args[0])
				c.Env = append(os.Environ(), childRoot+"="+root, childNumber+"="+strconv.Itoa(i), childBudget+"="+strconv.FormatInt(budget, 10))
				c.Stdout, c.Stderr = &out[i], &out[i]
				require.NoError(t, c.Start())
				running = append(running, c)
			}
			for i, c := range running {
				require.NoError(t, c.Wait(), out[i].String())
			}
			s := open(t, root, disk.Options{BudgetBytes: budget})
			hits := 0
			for k := range childKeys {
				if got, err := s.Get(t.Context(), key(k)); err == nil {
					require.True(t, whole(k, got))
					hits++
				}
			}
			require.Len(t, names(t, root), hits, "temporary files were left")
			if budget == 0 {
				require.Equal(t, childKeys, hits)
			} else {
				require.LessOrEqual(t, s.Metrics().CachedBytes, uint64(budget))
				require.Positive(t, hits)
			}
		})
	}
}
