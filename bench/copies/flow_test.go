package copies

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/gpu"
)

// mover notes which jobs are under way.
type mover struct {
	flying map[pager.Ticket]pager.Job
	pages  map[pager.PageID]bool // of those jobs
	most   int
	jobs   int
	clash  bool
	fails  int // the job that does; 0: none
	cancel context.CancelFunc
}

var errJob = errors.New("a job that failed")

func (m *mover) Submit(_ context.Context, j pager.Job) (pager.Ticket, error) {
	m.jobs++
	t := pager.Ticket(m.jobs)
	m.flying[t] = j
	m.most = max(m.most, len(m.flying))
	for i, id := range j.Pages {
		m.clash = m.clash || m.pages[id] || int(j.Frames[i][0]) != int(id)
		m.pages[id] = true
	}
	if m.jobs == 4 && m.cancel != nil {
		m.cancel()
	}
	return t, nil
}

func (m *mover) Wait(_ context.Context, t pager.Ticket) (pager.Completion, error) {
	for _, id := range m.flying[t].Pages {
		delete(m.pages, id)
	}
	delete(m.flying, t)
	if int(t) == m.fails {
		return pager.Completion{Outcome: pager.NotStarted, Err: errJob}, nil
	}
	return pager.Completion{Outcome: pager.Done}, nil
}

// flowing is a world of 24 runs over a mover of the test.
func flowing() (*world, *mover) {
	m := &mover{flying: map[pager.Ticket]pager.Job{}, pages: map[pager.PageID]bool{}}
	w := &world{movers: map[gpu.Path]pager.Mover{gpu.Plain: m}}
	for i := range 24 {
		w.ids, w.frames = append(w.ids, pager.PageID(i)), append(w.frames, []byte{byte(i)})
	}
	return w, m
}

// TestFlow: several jobs are under way, none of which has another's pages or
// frames, and all of them end, also when one fails or nobody waits any more.
func TestFlow(t *testing.T) {
	t.Parallel()
	for runs, most := range map[int]int{1: mostFlying, 3: mostFlying, 5: 4, 12: apart} {
		w, m := flowing()
		ns, err := w.flow(t.Context(), gpu.Plain, pager.Out, runs, time.Millisecond)
		require.NoError(t, err)
		require.Positive(t, ns)
		require.Equal(t, most, m.most, "jobs of %d of 24 runs", runs)
		require.Greater(t, m.jobs, most)
		require.False(t, m.clash)
		require.Empty(t, m.flying)
	}
	w, m := flowing()
	m.fails = 5
	_, err := w.flow(t.Context(), gpu.Plain, pager.Out, 3, time.Hour)
	require.ErrorIs(t, err, errJob)
	require.Empty(t, m.flying)

	w, m = flowing()
	ctx, cancel := context.WithCancel(t.Context())
	m.cancel = cancel
	_, err = w.flow(ctx, gpu.Plain, pager.Out, 3, time.Hour)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, m.flying)
}
