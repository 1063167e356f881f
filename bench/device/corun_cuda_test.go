//go:build cuda

package main

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/internal/softcuda"
	"github.com/kvferry/kvferry/pager"
)

// selfish is a load that keeps its speed: no copy begins while it runs beside
// copies.
type selfish struct {
	running sync.RWMutex
	runs    int
	ended   time.Time
}

func (s *selfish) name() string { return "a load that lets nobody else run" }
func (s *selfish) unit() unit   { return flops }

// rate is called in turns alone and beside copies. Beside them it runs for ten
// times as long as the copies had for themselves in between.
func (s *selfish) rate(time.Duration) (float64, error) {
	if s.runs++; s.runs%2 == 0 {
		s.running.Lock()
		defer s.running.Unlock()
		<-time.After(10 * time.Since(s.ended))
	}
	s.ended = time.Now()
	return 1, nil
}

// polite is a mover that waits for a selfish load.
type polite struct {
	pager.Mover
	load *selfish
}

func (p polite) Submit(ctx context.Context, j pager.Job) (pager.Ticket, error) {
	p.load.running.RLock()
	defer p.load.running.RUnlock()
	return p.Mover.Submit(ctx, j)
}

// TestSelfishLoad: what keeps all of its speed because the copies stand still
// has reached nothing.
func TestSelfishLoad(t *testing.T) {
	softcuda.Device(t)
	dir := t.TempDir()
	b := newBench(t.Context(), options{out: dir, work: dir, small: true, budget: total()}, os.Stderr)
	t.Cleanup(func() { require.NoError(t, b.close()) })
	l, err := interleaved(8<<10, 4, 4)
	require.NoError(t, err)
	d, err := b.duplex(l)
	require.NoError(t, err)
	load := new(selfish)
	d.out.mover, d.in.mover = polite{d.out.mover, load}, polite{d.in.mover, load}
	require.NoError(t, b.beside(d, load, true))
	rows, err := b.journal.rows()
	require.NoError(t, err)
	require.Len(t, rows, 3)
	for _, r := range rows {
		require.Equal(t, 1.0, median(r.Ratios), r.label())
		require.Less(t, median(r.Copies), 0.5, r.label())
	}
	require.Equal(t, 2, strings.Count(goalTable(rows, false), "**missed**"))
}
