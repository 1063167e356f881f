package pagecache

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
)

// flag is an event that happens when it is told to.
type flag struct {
	done  atomic.Bool
	err   error
	asked atomic.Int32
}

func (e *flag) Query() (bool, error) {
	e.asked.Add(1)
	return e.done.Load(), e.err
}

// TestReleaseAfter: a frame is released after its event, not before, and
// without a goroutine.
func TestReleaseAfter(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 4 * 512})
	var all []*flag
	for k := range uint64(4) {
		f := insertHeld(t, p, k, 512)
		e := &flag{}
		all = append(all, e)
		f.ReleaseAfter(e)
	}
	require.Zero(t, p.Poll())
	require.EqualValues(t, 4, p.Metrics().Pending)
	_, err := p.Reserve(t.Context(), 9, 512, Refuse)
	require.ErrorIs(t, err, kvferry.ErrOutOfMemory)
	all[2].done.Store(true)
	insert(t, p, 9, 512) // asks
	require.EqualValues(t, 3, p.Metrics().Pending)
	require.False(t, p.Contains(2))
	for _, e := range all {
		e.done.Store(true)
	}
	require.Equal(t, 3, p.Poll())
	require.Zero(t, p.Metrics().Pinned)
	asked := all[0].asked.Load()
	p.Poll()
	require.Equal(t, asked, all[0].asked.Load(), "asked after it was done")

	f, ok := p.Get(9)
	require.True(t, ok)
	f.ReleaseAfter(all[0]) // has happened: released at once
	require.Zero(t, p.Metrics().Pending)
	require.Zero(t, p.Metrics().Pinned)
	audit(t, p)
	require.NoError(t, p.Close())
}

// TestManyEvents: releases do not pile up while their events happen, even if
// nobody polls.
func TestManyEvents(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 512})
	f := insertHeld(t, p, 1, 512)
	var last [100]*flag
	for i := range 10000 {
		f.Retain()
		e := &flag{}
		if old := last[i%100]; old != nil {
			old.done.Store(true)
		}
		last[i%100] = e
		f.ReleaseAfter(e)
		require.LessOrEqual(t, p.events.pending.Load(), int64(300))
	}
	for _, e := range last {
		e.done.Store(true)
	}
	p.Poll()
	require.EqualValues(t, 1, f.state.Load()&refMask)
	f.Release()
	require.NoError(t, p.Close())
}

// TestAbandonAfter: memory that a copy may write to is nobody else's before
// the copy's end, while the page itself may be tried again.
func TestAbandonAfter(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options[uint64]{LimitBytes: 2 * 512})
	r, err := p.Reserve(t.Context(), 1, 512, Refuse)
	require.NoError(t, err)
	late := r.Bytes()
	e := &flag{}
	r.AbandonAfter(e)
	r.AbandonAfter(e)
	insert(t, p, 1, 512)
	pattern(late, 77)
	f, ok := p.Get(1)
	require.True(t, ok)
	require.True(t, patterned(f.Bytes(), 1))
	f.Release()
	require.EqualValues(t, 1024, p.Metrics().Bytes)
	e.done.Store(true)
	require.Equal(t, 1, p.Poll())
	require.EqualValues(t, 512, p.Metrics().Bytes)
	require.NoError(t, p.Close())
}

// TestLostEvent: a frame whose event fails is fenced: its memory is never used
// again, metrics and Close say so.
func TestLostEvent(t *testing.T) {
	t.Parallel()
	cause := errors.New("device lost")
	p := newPool(t, Options[uint64]{LimitBytes: 1024})
	insertHeld(t, p, 1, 512).ReleaseAfter(&flag{err: cause})
	m := p.Metrics()
	require.EqualValues(t, 1, m.Fenced)
	require.EqualValues(t, 1, m.Pinned)
	require.Zero(t, m.Pending)
	for k := range uint64(10) {
		insert(t, p, 10+k, 512)
	}
	require.True(t, p.Contains(1))
	for range 2 {
		err := p.Close()
		require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
		require.ErrorIs(t, err, cause)
		require.ErrorContains(t, err, "1 never end")
	}
}
