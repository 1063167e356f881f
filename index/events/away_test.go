package events_test

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index/events"
	"github.com/kvferry/kvferry/index/events/internal/zmtp"
)

// pod connects to a source that binds.
func pod(t *testing.T, s *events.Subscriber) *zmtp.Conn {
	t.Helper()
	c, err := zmtp.Dial(t.Context(), "tcp://"+s.Addr(0).String(), "PUB", testLimits)
	require.NoError(t, err)
	_, err = c.Subscription()
	require.NoError(t, err)
	return c
}

func tell(t *testing.T, c *zmtp.Conn, name string, seq uint64, payload []byte) {
	t.Helper()
	require.NoError(t, c.Write([]byte("kv@"+name+"@m"), binary.BigEndian.AppendUint64(nil, seq), payload))
}

func shared(engine events.Engine) []events.Source {
	return []events.Source{{Engine: engine, Endpoint: "tcp://127.0.0.1:0", Bind: true, WorkerFromTopic: true}}
}

// A publisher that is away is cleared, though another one of the same source is
// there; and it is taken anew when it comes back.
func TestSubscriberAwayBesideOthers(t *testing.T) {
	t.Parallel()
	x := model(t)
	s := subscribe(t, x, events.Options{Away: 20 * time.Millisecond, Sources: shared(engineA)})
	stays, leaves := pod(t, s), pod(t, s)
	defer func() { require.NoError(t, stays.Close()) }()
	tell(t, stays, "stays", 0, stored(t, 1, nil, 1))
	tell(t, leaves, "leaves", 0, stored(t, 1, nil, 2))
	until(t, func() bool { return len(records(t, x)) == 2 })
	require.NoError(t, leaves.Close())
	until(t, func() bool { return len(records(t, x)) == 1 })
	require.Equal(t, []string{"stays hbm 1<root #0 g0 t2 none"}, briefs(t, x))
	again := pod(t, s)
	tell(t, again, "leaves", 1, stored(t, 1, nil, 3))
	until(t, func() bool { return len(records(t, x)) == 2 })
	require.NoError(t, again.Close())
	until(t, func() bool { return len(records(t, x)) == 1 })
	require.Zero(t, s.Stats().Gaps)
}

// Of more workers than a source remembers, those that went away, or are silent for
// long, make room.
func TestSubscriberForgetsPods(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Hour.Milliseconds())
	x := openMemory(t)
	s := subscribe(t, x, events.Options{Sources: shared(engineA), Now: func() time.Time { return time.UnixMilli(now.Add(1)) }})
	resident := func() uint64 {
		m, err := x.Metrics(t.Context())
		require.NoError(t, err)
		return m.ResidentBlocks
	}
	const most, more = 1024, 50
	c := pod(t, s)
	defer func() { require.NoError(t, c.Close()) }()
	for i := range most + more {
		tell(t, c, fmt.Sprint("pod-", i), 0, stored(t, 1, nil, uint64(i)))
	}
	until(t, func() bool { return resident() == most && s.Stats().UnknownTopics == more })
	now.Add(time.Hour.Milliseconds())
	for i := range more {
		tell(t, c, fmt.Sprint("pod-", most+i), 0, stored(t, 1, nil, uint64(i)))
	}
	until(t, func() bool { return s.Stats().Batches == most+more && resident() == most })
	rs, err := x.ByHash(t.Context(), "7", nil)
	require.NoError(t, err)
	require.Len(t, rs, 1)
	require.Equal(t, "pod-1031", rs[0].Worker) // and no more pod-7
	require.NoError(t, c.Close())
	until(t, func() bool { return s.Stats().Disconnects == 1 })
	c = pod(t, s)
	for i := range more {
		tell(t, c, fmt.Sprint("new-", i), 0, stored(t, 1, nil, uint64(i)))
	}
	until(t, func() bool { return s.Stats().Batches == most+2*more && resident() == most })
	require.EqualValues(t, more, s.Stats().UnknownTopics)
}
