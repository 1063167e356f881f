package events_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
)

// A replay that cannot be had costs nothing that was learned without it; once it
// can, it brings what was missed.
func TestSubscriberWithoutItsReplay(t *testing.T) {
	t.Parallel()
	p := newPublisher(t)
	replay := p.rout.Addr().String()
	require.NoError(t, p.rout.Close())
	var now atomic.Int64
	x := model(t)
	s := subscribe(t, x, events.Options{
		Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: "tcp://" + replay}},
		Now:     func() time.Time { return time.UnixMilli(now.Load()) },
	})
	p.awaitSubscriber()
	until(t, func() bool { return s.Stats().ReplayErrors == 1 })
	p.keep(stored(t, 1, nil, 100))
	var batches [][]byte
	for i := range uint64(4) {
		b := stored(t, float64(i+1), nil, 2*i+1, 2*i+2)
		batches = append(batches, b)
		now.Add(time.Hour.Milliseconds())
		p.publish(b)
		settled(t, s, x, i+1, ingested(t, batches...))
	}
	st := s.Stats()
	require.Zero(t, st.WorkersCleared+st.Gaps)
	require.EqualValues(t, 4, st.ReplayErrors) // the first batch tries none
	p.rout = p.listenAt(replay, false, p.replays)
	now.Add(time.Hour.Milliseconds())
	batches = append(batches, stored(t, 9, nil, 99))
	p.publish(batches[4])
	settled(t, s, x, 5, ingested(t, append(batches, stored(t, 1, nil, 100))...))
	require.EqualValues(t, 1, s.Stats().WorkersCleared)
	require.Zero(t, s.Stats().Duplicates)
}
