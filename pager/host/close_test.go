package host_test

import (
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/host"
)

// copying reads with every pager until it is told that the memory is gone. It
// returns when all of them are at it.
func copying(group *sync.WaitGroup, t *testing.T, pagers ...pager.Pager) <-chan error {
	ended := make(chan error, 2*len(pagers))
	var begun sync.WaitGroup
	for _, p := range slices.Concat(pagers, pagers) {
		begun.Add(1)
		group.Go(func() {
			buf := make([]byte, p.Meta().PageBytes())
			for n := 0; ; n++ {
				err := p.ReadPage(t.Context(), 0, buf)
				if n == 0 {
					begun.Done()
				}
				runtime.Gosched() // Close wants a turn too
				if errors.Is(err, kvferry.ErrClosed) {
					return
				}
				if err != nil {
					ended <- err
					return
				}
			}
		})
	}
	begun.Wait()
	return ended
}

// TestCloseOfAFileListedTwice: a copy that holds a file already must not wait
// for it behind its Close.
func TestCloseOfAFileListedTwice(t *testing.T) {
	t.Parallel()
	l := must(t)(pager.KVOrdered(plainMeta(t), 3, "BLNHC"))
	for range 50 {
		f, _ := mapped(t, l)
		p, err := host.New(host.Config{Layout: l, Regions: [][]byte{f.Bytes()}, Files: []*host.File{f, f, f}, Engine: newEngine(nP, 3)})
		require.NoError(t, err)
		require.NoError(t, p.ReadPage(t.Context(), 0, make([]byte, l.Meta.PageBytes())))
		var group sync.WaitGroup
		failed := copying(&group, t, p)
		require.NoError(t, f.Close())
		group.Wait()
		require.Empty(t, failed)
	}
}

// TestCloseOfFilesListedInAnyOrder: nor must copies of two pagers, each of which
// holds the file that the other wants.
func TestCloseOfFilesListedInAnyOrder(t *testing.T) {
	t.Parallel()
	l := must(t)(pager.KVOrdered(plainMeta(t), 3, "BLNHC"))
	for range 50 {
		a, _ := mapped(t, l)
		b, _ := mapped(t, l)
		var pagers []pager.Pager
		for _, files := range [][]*host.File{{a, b}, {b, a}} {
			p, err := host.New(host.Config{Layout: l, Regions: [][]byte{a.Bytes()}, Files: files, Engine: newEngine(nP, 3)})
			require.NoError(t, err)
			pagers = append(pagers, p)
		}
		var group sync.WaitGroup
		failed := copying(&group, t, pagers...)
		errs := make([]error, 2)
		for i, f := range []*host.File{a, b} {
			group.Go(func() { errs[i] = f.Close() })
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		require.Empty(t, failed)
	}
}
