package pagertest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

// frames returns n frames that lie apart from each other.
func frames(m pager.Meta, n int) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		out[i] = make([]byte, m.PageBytes())
	}
	return out
}

func testMover(t *testing.T, s *suite) {
	p := s.open(t)
	m, has := p.(pager.Mover)
	if lacks(t, has, "Mover") {
		return
	}
	ids := filled(t, p, s.g.Pages, 1)
	const jobs = 5
	var tickets []pager.Ticket
	// Every job writes the same pages: the last one has to be the last.
	for j := range jobs {
		fs := frames(s.g.Meta, len(ids))
		for i := range fs {
			content(fs[i], uint64(100*(j+1)+i))
		}
		ticket, err := m.Submit(t.Context(), pager.Job{Direction: pager.In, Pages: ids, Frames: fs})
		require.NoError(t, err)
		require.NotContains(t, tickets, ticket, "tickets are unique")
		tickets = append(tickets, ticket)
	}
	for _, k := range []int{3, 0, 4, 1, 2} { // waiting takes any order
		done(t, m, tickets[k])
		_, err := m.Wait(t.Context(), tickets[k])
		require.ErrorIs(t, err, kvferry.ErrNotFound, "a completion is handed out once")
	}
	holds(t, p, ids, 100*jobs)
	out := frames(s.g.Meta, len(ids))
	ticket, err := m.Submit(t.Context(), pager.Job{Direction: pager.Out, Pages: ids, Frames: out, Deadline: time.Now().Add(time.Hour)})
	require.NoError(t, err)
	done(t, m, ticket)
	for i := range out {
		require.Equal(t, bytesOf(s.g.Meta, uint64(100*jobs+i)), out[i])
	}
	ticket, err = m.Submit(t.Context(), pager.Job{Direction: pager.Out})
	require.NoError(t, err, "a job without pages")
	done(t, m, ticket)
}

func done(t *testing.T, m pager.Mover, ticket pager.Ticket) {
	t.Helper()
	c, err := m.Wait(t.Context(), ticket)
	require.NoError(t, err)
	require.Equal(t, pager.Completion{Ticket: ticket, Outcome: pager.Done}, c)
}

func testMoverRefuses(t *testing.T, s *suite) {
	p := s.open(t)
	m, has := p.(pager.Mover)
	if lacks(t, has, "Mover") {
		return
	}
	ids := filled(t, p, s.g.Pages, 1)
	absent := append(append([]pager.PageID{}, ids...), pager.PageID(s.g.Pages))
	fs := frames(s.g.Meta, len(absent))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		job  pager.Job
		want error
	}{
		"direction": {t.Context(), pager.Job{Pages: ids, Frames: fs[:len(ids)]}, kvferry.ErrInvalid},
		"lengths":   {t.Context(), pager.Job{Direction: pager.In, Pages: ids, Frames: fs}, kvferry.ErrInvalid},
		"absent":    {t.Context(), pager.Job{Direction: pager.In, Pages: absent, Frames: fs}, kvferry.ErrNotFound},
		"cancelled": {cancelled, pager.Job{Direction: pager.In, Pages: ids, Frames: fs[:len(ids)]}, context.Canceled},
	} {
		_, err := m.Submit(c.ctx, c.job)
		require.ErrorIs(t, err, c.want, name)
	}
	if len(ids) > 0 {
		short := frames(s.g.Meta, len(ids))
		short[len(ids)-1] = append(short[len(ids)-1], 0)
		_, err := m.Submit(t.Context(), pager.Job{Direction: pager.In, Pages: ids, Frames: short})
		require.ErrorIs(t, err, kvferry.ErrInvalid, "a frame of the wrong length")
	}
	holds(t, p, ids, 1) // nothing was started
	_, err := m.Wait(t.Context(), 1<<63)
	require.ErrorIs(t, err, kvferry.ErrNotFound, "a ticket that nobody has")
}

func testMoverDeadline(t *testing.T, s *suite) {
	p := s.open(t)
	m, has := p.(pager.Mover)
	if lacks(t, has, "Mover") {
		return
	}
	ids := filled(t, p, s.g.Pages, 1)
	job := pager.Job{Direction: pager.In, Pages: ids, Frames: frames(s.g.Meta, len(ids)), Deadline: time.Unix(1, 0)}
	ticket, err := m.Submit(t.Context(), job)
	if err != nil {
		isOneOf(t, err, context.DeadlineExceeded)
	} else {
		c, err := m.Wait(t.Context(), ticket)
		require.NoError(t, err)
		require.Equal(t, pager.NotStarted, c.Outcome)
		require.ErrorIs(t, c.Err, context.DeadlineExceeded)
	}
	holds(t, p, ids, 1)

	// A done context ends the waiting, not the job.
	ticket, err = m.Submit(t.Context(), pager.Job{Direction: pager.Out, Pages: ids, Frames: frames(s.g.Meta, len(ids))})
	require.NoError(t, err)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := m.Wait(cancelled, ticket)
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
		done(t, m, ticket)
		return
	}
	require.Equal(t, pager.Done, c.Outcome)
}
