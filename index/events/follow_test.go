package events_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
)

// An engine began anew while one of two did not see it. What it had before goes when
// it begins anew again, though the other, who saw the first time, is not there.
func TestRestartThatOnlyAnotherSaw(t *testing.T) {
	t.Parallel()
	p, l := newPublisher(t), newLeases(t)
	s := subscribe(t, l.open(), events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}})
	p.awaitSubscriber()
	first := stored(t, 1, nil, 1, 2)
	p.publish(first)
	settled(t, s, l, 1, ingested(t, first))
	ws, err := l.Workers(t.Context())
	require.NoError(t, err)
	other := l.open()
	_, err = other.Join(t.Context(), "a", ws[0].Incarnation, 99)
	require.NoError(t, err)
	second := stored(t, 2, nil, 7)
	p.send(5, second) // a gap here
	settled(t, s, l, 2, ingested(t, second))
	other.Leave("a")
	p.forget()
	third := stored(t, 3, nil, 9)
	p.publish(third)
	settled(t, s, l, 3, ingested(t, third))
}

// An engine that is connected is not away, if it says nothing, too.
func TestSilentIsNotAway(t *testing.T) {
	t.Parallel()
	var now, asked atomic.Int64
	x := model(t)
	o := events.Options{
		Away: time.Hour, Sources: []events.Source{{Engine: engineA, Endpoint: "tcp://127.0.0.1:0", Bind: true}},
		Now: func() time.Time { asked.Add(1); return time.UnixMilli(now.Load()) },
	}
	s := subscribe(t, x, o)
	c := pod(t, s)
	tell(t, c, "a", 0, stored(t, 1, nil, 1))
	until(t, func() bool { return len(records(t, x)) == 1 })
	require.NoError(t, c.Close())
	until(t, func() bool { return s.Stats().Disconnects == 1 })
	before := asked.Load()
	c = pod(t, s)
	until(t, func() bool { return asked.Load() > before })
	now.Add(2 * time.Hour.Milliseconds())
	require.NoError(t, pod(t, s).Close()) // a reason to look
	until(t, func() bool { return s.Stats().Disconnects == 2 })
	tell(t, c, "a", 1, stored(t, 2, uint64(1), 2))
	until(t, func() bool { return len(records(t, x)) == 2 })
	require.NoError(t, c.Close())
}

// waits is a Follower that is not done until it is asked to end.
type waits chan struct{}

// Lapsed implements events.Follower.
func (w waits) Lapsed(ctx context.Context, _ []string) error {
	close(w)
	<-ctx.Done()
	return ctx.Err()
}

// Who is asked to end in the midst of a lapse has not failed.
func TestFollowLeasesEndsAmidALapse(t *testing.T) {
	t.Parallel()
	x, w := newLeases(t).open(), make(waits)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- events.FollowLeases(ctx, x, w) }()
	x.lapsed <- []string{"a"}
	<-w
	cancel()
	require.NoError(t, <-ended)
}
