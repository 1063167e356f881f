package pagecache

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// TestWaitForArena: who waits for room in the arena sleeps until a frame is
// released, and looks again only then.
func TestWaitForArena(t *testing.T) {
	t.Parallel()
	a := newArena(t, ArenaOptions{LimitBytes: 2 * 512})
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20, Arena: a})
	f, g := insertHeld(t, p, 1, 512), insertHeld(t, p, 2, 512)
	_, err := p.Reserve(t.Context(), 3, 512, Refuse)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	var wg sync.WaitGroup
	wg.Go(func() {
		r, err := p.Reserve(t.Context(), 3, 512, Wait)
		if err != nil {
			t.Error(err)
			return
		}
		r.Abandon()
	})
	until(t, func() bool { return p.room.waiting.Load() == 1 })
	refused := a.Stats().Refused
	for range 1000 {
		runtime.Gosched()
	}
	require.LessOrEqual(t, a.Stats().Refused, refused+2)
	f.Release()
	wg.Wait()
	g.Release()
	require.NoError(t, p.Close())
	require.NoError(t, a.Close())
}

// TestNobodyHasRoom: of those who wait together for an arena that has nothing,
// none waits for the others.
func TestNobodyHasRoom(t *testing.T) {
	t.Parallel()
	a := newArena(t, ArenaOptions{LimitBytes: 512})
	own, err := a.Alloc(512)
	require.NoError(t, err)
	p := newPool(t, Options[uint64]{LimitBytes: 1 << 20, Arena: a})
	for range 200 {
		var wg sync.WaitGroup
		for k := range uint64(4) {
			wg.Go(func() {
				if _, err := p.Reserve(t.Context(), k, 512, Wait); err == nil {
					t.Error("room from nowhere")
				}
			})
		}
		wg.Wait()
	}
	require.NoError(t, p.Close())
	require.NoError(t, a.Free(own))
	require.NoError(t, a.Close())
}
