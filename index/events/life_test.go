package events_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/events"
)

// leases are what several who share an index know of its workers' lives.
type leases struct {
	index.Index

	mu      sync.Mutex
	lives   map[string]uint64
	holders map[string]int
	began   int
}

// leased is one way to an index with leases.
type leased struct {
	*leases

	held   map[string]bool // under the mutex of leases
	lapsed chan []string
}

func newLeases(t testing.TB) *leases {
	return &leases{Index: model(t), lives: map[string]uint64{}, holders: map[string]int{}}
}

func (l *leases) open() *leased {
	return &leased{leases: l, held: map[string]bool{}, lapsed: make(chan []string, 1)}
}

// Info says that others share the index.
func (l *leased) Info() index.Info { return index.Info{Name: "leased", Persistent: true, Shared: true} }

// Join implements index.Joiner.
func (l *leased) Join(ctx context.Context, worker string, was, incarnation uint64) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lives[worker] == 0 || l.lives[worker] == was {
		if err := l.Announce(ctx, worker, incarnation); err != nil {
			return 0, err
		}
		l.lives[worker] = incarnation
		l.began++
	}
	if !l.held[worker] {
		l.held[worker] = true
		l.holders[worker]++
	}
	return l.lives[worker], nil
}

// Leave implements index.Joiner.
func (l *leased) Leave(worker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[worker] {
		delete(l.held, worker)
		l.holders[worker]--
	}
}

// Lapsed implements index.Joiner.
func (l *leased) Lapsed(ctx context.Context) ([]string, error) {
	select {
	case ws := <-l.lapsed:
		return ws, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// alive returns how many hold a worker's lease.
func (l *leases) alive(worker string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holders[worker]
}

// end lets a worker's life end, as when nobody holds its lease.
func (l *leases) end(t *testing.T, worker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.ClearWorker(t.Context(), worker)
	require.NoError(t, err)
	delete(l.lives, worker)
}

// lifes returns how many lives began.
func (l *leases) lifes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.began
}

// Two follow one engine into one index: neither takes away what the other has put,
// and what the worker holds stays when one of them goes.
func TestTwoSubscribersOfOneEngine(t *testing.T) {
	t.Parallel()
	p, l := newPublisher(t), newLeases(t)
	source := []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}
	a := subscribe(t, l.open(), events.Options{Sources: source})
	p.awaitSubscriber()
	batches := [][]byte{stored(t, 1, nil, 1, 2), stored(t, 2, uint64(2), 3)}
	p.publish(batches[0])
	p.publish(batches[1])
	settled(t, a, l, 2, ingested(t, batches...))
	b := subscribe(t, l.open(), events.Options{Sources: source})
	p.awaitSubscriber()
	batches = append(batches, stored(t, 3, nil, 7), removed(t, 4, 2))
	p.publish(batches[2])
	p.publish(batches[3])
	settled(t, b, l, 2, ingested(t, batches...))
	settled(t, a, l, 4, ingested(t, batches...))
	require.Equal(t, 1, l.lifes())
	require.Equal(t, 2, l.alive("a"))

	// Both see that the engine began anew. What the second adds to the first is nothing.
	p.forget()
	batches = [][]byte{stored(t, 5, nil, 50), stored(t, 6, nil, 60)}
	p.publish(batches[0])
	p.publish(batches[1])
	settled(t, a, l, 6, ingested(t, batches...))
	settled(t, b, l, 4, ingested(t, batches...))
	require.Equal(t, 2, l.lifes())
	require.EqualValues(t, 1, a.Stats().Resets)
	require.EqualValues(t, 1, b.Stats().Resets)

	require.NoError(t, a.Close())
	require.Equal(t, 1, l.alive("a"))
	require.Equal(t, ingested(t, batches...), records(t, l))
	require.NoError(t, b.Close())
	require.Zero(t, l.alive("a"))
}

// What an engine had in a life that somebody else saw goes when it is followed from
// its first batch on: that one is of another life.
func TestSubscriberJoinsAtTheBeginning(t *testing.T) {
	t.Parallel()
	for _, replayed := range []bool{false, true} {
		p, l := newPublisher(t), newLeases(t)
		x := l.open()
		_, err := x.Join(t.Context(), "a", 0, 5)
		require.NoError(t, err)
		old := records(t, indexOf(t, stored(t, 1, nil, 1)))
		require.NoError(t, x.Put(t.Context(), old))
		o := events.Options{Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint()}}}
		first := stored(t, 2, nil, 2)
		if replayed {
			o.Sources[0].Replay = p.replay()
			p.keep(first)
		}
		s := subscribe(t, x, o)
		p.awaitSubscriber()
		if !replayed {
			p.publish(first)
		}
		settled(t, s, l, 1, ingested(t, first))
		require.Equal(t, 1, l.lifes())
	}
}

// indexOf is an index of batches.
func indexOf(t *testing.T, payloads ...[]byte) index.Index {
	x := model(t)
	ingest(t, events.NewIngester(x, engineA), payloads...)
	return x
}

// A publisher that is away is let go, and what it has is another's to take away:
// here nobody's. When it is back in time it goes on; else it is asked for all.
func TestAwayLetsGo(t *testing.T) {
	t.Parallel()
	p, l := newPublisher(t), newLeases(t)
	s := subscribe(t, l.open(), events.Options{Away: 20 * time.Millisecond, Sources: []events.Source{{Engine: engineA, Endpoint: p.endpoint(), Replay: p.replay()}}})
	p.awaitSubscriber()
	batches := [][]byte{stored(t, 1, nil, 1, 2)}
	p.publish(batches[0])
	settled(t, s, l, 1, ingested(t, batches...))
	require.Equal(t, 1, l.alive("a"))
	for _, ended := range []bool{false, true} {
		address := p.pub.Addr().String()
		require.NoError(t, p.pub.Close())
		p.hangUp()
		until(t, func() bool { return l.alive("a") == 0 })
		require.Equal(t, ingested(t, batches...), records(t, l), "it is not for us to clear")
		if ended {
			l.end(t, "a")
		}
		p.keep(stored(t, 2, uint64(2), 3))
		batches = append(batches, p.log[len(p.log)-1])
		p.pub = p.listenAt(address, true, p.subscriber)
		p.awaitSubscriber()
		until(t, func() bool { return l.alive("a") == 1 })
		settled(t, s, l, 2, ingested(t, batches...))
	}
	require.Equal(t, 2, l.lifes())
}

// Leases that ran out are told to whom they belong, who brings back what it can.
func TestLapsedLeases(t *testing.T) {
	t.Parallel()
	for _, replays := range []bool{false, true} {
		p, l := newPublisher(t), newLeases(t)
		x := l.open()
		source := events.Source{Engine: engineA, Endpoint: p.endpoint()}
		if replays {
			source.Replay = p.replay()
		}
		s := subscribe(t, x, events.Options{Sources: []events.Source{source}})
		intake := events.NewIntake(x, []events.Endpoint{{ID: "h", Model: "m"}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- events.FollowLeases(ctx, x, s, intake) }()
		p.awaitSubscriber()
		batches := [][]byte{stored(t, 1, nil, 1, 2), stored(t, 2, uint64(2), 3)}
		p.publish(batches[0])
		p.publish(batches[1])
		settled(t, s, l, 2, ingested(t, batches...))
		_, err := intake.Ingest(t.Context(), &events.Batch{EngineID: "h", Events: []events.Event{{Kind: events.Stored, Hashes: []string{"y", "z"}, BlockSize: 1}}})
		require.NoError(t, err)
		require.Equal(t, 1, l.alive("h"))
		for _, w := range []string{"a", "h"} {
			_, err = x.ClearWorker(t.Context(), w)
			require.NoError(t, err)
		}
		x.lapsed <- []string{"a", "h", "other"}
		until(t, func() bool { return s.Stats().WorkersCleared > 0 && intake.Stats().WorkersCleared == 1 })
		if replays {
			settled(t, s, l, 4, ingested(t, batches...))
		}
		_, err = intake.Ingest(t.Context(), &events.Batch{EngineID: "h", Events: []events.Event{{Kind: events.Stored, Hashes: []string{"w"}, Parent: ptr("z"), BlockSize: 1}}})
		require.NoError(t, err)
		require.Contains(t, briefs(t, l), "h hbm w<z #0 g0 t1 none", "where z stood is not known any more")
		_, err = x.ClearWorker(t.Context(), "h")
		require.NoError(t, err)
		cancel()
		require.NoError(t, <-ended)
		intake.Close()
		require.Zero(t, l.alive("h"))
	}
}

func ptr[T any](v T) *T { return &v }

// persistent is an index that outlives its process.
type persistent struct{ index.Index }

// Info says so.
func (persistent) Info() index.Info { return index.Info{Persistent: true} }

// Where records outlive the process, an Intake tells which are of an earlier time.
func TestIntakeAnnounces(t *testing.T) {
	t.Parallel()
	for _, lasts := range []bool{true, false} {
		var x index.Index = model(t)
		if lasts {
			x = persistent{x}
		}
		in := events.NewIntake(x, []events.Endpoint{{ID: "h"}})
		_, err := in.Ingest(t.Context(), &events.Batch{EngineID: "h", Events: []events.Event{{Kind: events.Stored, Hashes: []string{"y"}, BlockSize: 1}}})
		require.NoError(t, err)
		ws, err := x.Workers(t.Context())
		require.NoError(t, err)
		require.Len(t, ws, 1)
		require.Equal(t, lasts, ws[0].Incarnation != 0)
	}
}

// TestFollowLeasesEnds: without leases there is nothing to follow, and an index that
// is closed is an error.
func TestFollowLeasesEnds(t *testing.T) {
	t.Parallel()
	require.NoError(t, events.FollowLeases(t.Context(), model(t)))
	require.ErrorIs(t, events.FollowLeases(t.Context(), closedLeases{newLeases(t).open()}), kvferry.ErrClosed)
}

type closedLeases struct{ *leased }

// Lapsed is what a closed index says.
func (closedLeases) Lapsed(context.Context) ([]string, error) { return nil, kvferry.ErrClosed }

// A pod that says nothing for long is let go though its proxy is there, and
// forgotten when nobody can have kept it alive any more.
func TestSilentPods(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Hour.Milliseconds())
	for _, shares := range []bool{true, false} {
		l := newLeases(t)
		x := l.Index
		if shares {
			x = l.open()
		}
		s := subscribe(t, x, events.Options{
			Silent: time.Hour, Lease: time.Hour, Sources: shared(engineA), Now: func() time.Time { return time.UnixMilli(now.Load()) },
		})
		c := pod(t, s)
		tell(t, c, "talks", 0, stored(t, 1, nil, 1))
		tell(t, c, "falls-silent", 0, stored(t, 1, nil, 2))
		until(t, func() bool { return len(records(t, l)) == 2 })
		now.Add(time.Hour.Milliseconds() - 5)
		tell(t, c, "talks", 1, stored(t, 1, nil, 3))
		until(t, func() bool { return len(records(t, l)) == 3 })
		now.Add(5)
		tell(t, c, "new", 0, stored(t, 1, nil, 9)) // somebody new is a reason to look
		if !shares {
			until(t, func() bool {
				return strings.Join(workersOf(t, l), " ") == "new talks"
			})
			require.NoError(t, c.Close())
			continue
		}
		until(t, func() bool { return l.alive("falls-silent") == 0 && len(records(t, l)) == 4 })
		require.Equal(t, 1, l.alive("talks"))
		l.end(t, "falls-silent")
		tell(t, c, "falls-silent", 1, stored(t, 1, nil, 4))
		until(t, func() bool { return len(records(t, l)) == 4 })
		require.Equal(t, 1, l.alive("falls-silent"))
		require.NoError(t, c.Close())
	}
}

// workersOf are those who have records.
func workersOf(t *testing.T, x index.Index) []string {
	names := map[string]bool{}
	for _, r := range records(t, x) {
		names[r.Worker] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for name, fine := range map[string]bool{
		"a": true, "": true, "a/dp": true, "a/dp0": true, "a/dp01": true, "a/dp1x": true, "a/dp-1": true, "dp1": true,
		"a/dp1": false, "a/dp1023": false, "/dp1": false, "a/dp1/dp2": false, events.WorkerName("a", 7): false,
	} {
		err := events.CheckName(name)
		if fine {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, kvferry.ErrInvalid, name)
		_, err = events.Subscribe(model(t), events.Options{Sources: []events.Source{{Engine: events.Engine{Name: name}, Endpoint: "tcp://127.0.0.1:1"}}})
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		_, err = events.NewIntake(model(t), []events.Endpoint{{ID: name}}).Ingest(t.Context(), &events.Batch{EngineID: name})
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
	s := subscribe(t, model(t), events.Options{Sources: shared(engineA)})
	c := pod(t, s)
	tell(t, c, "a/dp1", 0, stored(t, 1, nil, 1))
	until(t, func() bool { return s.Stats().UnknownTopics == 1 })
	require.NoError(t, c.Close())
}

// Who is subscribed to is not taken over HTTP as well, and nothing was changed.
func TestIntakeRefusesTheSubscribed(t *testing.T) {
	t.Parallel()
	x := model(t)
	in := events.NewIntake(x, []events.Endpoint{{ID: "a", Subscribed: true}})
	_, err := in.Ingest(t.Context(), &events.Batch{EngineID: "a", Events: []events.Event{{Kind: events.Stored, Hashes: []string{"h"}, BlockSize: 1}}})
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "subscribed")
	require.Empty(t, records(t, x))
}

// What has no time came now: it must not expire at once.
func TestArrivalIsTheTime(t *testing.T) {
	t.Parallel()
	x := model(t)
	before := uint64(time.Now().UnixMilli())
	in := events.NewIntake(x, []events.Endpoint{{ID: "a"}})
	_, err := in.Ingest(t.Context(), &events.Batch{EngineID: "a", Events: []events.Event{{Kind: events.Stored, Hashes: []string{"h"}, BlockSize: 1}}})
	require.NoError(t, err)
	ingest(t, events.NewIngester(x, engineA), pack(t, list{nil, list{store(list{1}, nil, nil)}, 0}), pack(t, list{7.0, list{store(list{2}, nil, nil)}, 0}))
	var times []uint64
	for _, r := range records(t, x) {
		times = append(times, r.LastAccess)
	}
	slices.Sort(times)
	require.Len(t, times, 3)
	require.EqualValues(t, 7000, times[0])
	require.GreaterOrEqual(t, times[1], before)
	require.LessOrEqual(t, times[2], uint64(time.Now().UnixMilli()))
}
