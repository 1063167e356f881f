package redis_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// all returns the records of an index.
func all(t testing.TB, x index.Index) map[string]index.Record {
	t.Helper()
	got := map[string]index.Record{}
	_, err := x.Snapshot(t.Context(), func(r *index.Record) error {
		got[r.Hash] = *r
		return nil
	})
	require.NoError(t, err)
	return got
}

// consistent requires that the counters say what there is.
func consistent(t testing.TB, x index.Index) map[string]index.Record {
	t.Helper()
	got := all(t, x)
	var bytes uint64
	for _, r := range got {
		bytes += r.Bytes
	}
	m, err := x.Metrics(t.Context())
	require.NoError(t, err)
	require.Equal(t, uint64(len(got)), m.ResidentBlocks)
	require.Equal(t, bytes, m.ResidentBytes)
	return got
}

// TestKilled: a server with appendfsync always loses nothing that was
// acknowledged, and the index finds it again by itself.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
	o := s.options(index.Options{})
	o.Timeout = 2 * time.Second
	x := s.open(t, o)
	require.NoError(t, x.Flush(t.Context()), "every write is durable")
	var mu sync.Mutex
	acknowledged, uncertain := map[string]index.Record{}, map[string]index.Record{}
	var next atomic.Int64
	stop := make(chan struct{})
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := record(int(next.Add(1)))
				err := x.Put(t.Context(), []index.Record{r})
				mu.Lock()
				switch {
				case err == nil:
					acknowledged[r.Hash] = r
				case errors.Is(err, kvferry.ErrUnknownOutcome):
					uncertain[r.Hash] = r
				case !errors.Is(err, redis.ErrUnavailable):
					t.Errorf("neither unknown nor unavailable: %v", err)
				}
				mu.Unlock()
			}
		})
	}
	kills := 3
	if os.Getenv("KVFERRY_SOAK") != "" {
		kills = 100
	}
	for range kills {
		grows(t, &mu, acknowledged)
		s.kill()
		s.start()
		grows(t, &mu, acknowledged)
	}
	close(stop)
	writers.Wait()
	got := consistent(t, x)
	for hash, r := range acknowledged {
		require.Equal(t, r, got[hash], "acknowledged")
	}
	for hash := range got {
		_, ok := uncertain[hash]
		_, sure := acknowledged[hash]
		require.True(t, ok || sure, "a record that failed for certain is there")
	}
}

// TestFlush: who cannot have what Flush promises is told.
func TestFlush(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--appendonly", "yes", "--appendfsync", "everysec")
	x := s.open(t, s.options(index.Options{}))
	require.True(t, x.Info().Persistent)
	require.ErrorIs(t, x.Flush(t.Context()), kvferry.ErrUnsupported)
	s.must("CONFIG", "SET", "appendfsync", "always")
	require.NoError(t, x.Flush(t.Context()))

	forgets := startServer(t)
	x = forgets.open(t, forgets.options(index.Options{}))
	require.NoError(t, x.Flush(t.Context()), "there is nothing to wait for")
	require.False(t, x.Info().Persistent)
}

// grows waits until more is acknowledged.
func grows(t testing.TB, mu *sync.Mutex, m map[string]index.Record) {
	t.Helper()
	mu.Lock()
	before := len(m)
	mu.Unlock()
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(m) > before+20
	}, patience, tick)
}

// TestLostAnswer: a write whose answer is lost says so, and is not sent again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s)
	o := s.options(index.Options{})
	o.Addresses = []string{p.address()}
	x, r := s.open(t, o), record(0)
	require.NoError(t, x.Put(t.Context(), []index.Record{record(1)}))
	_, err := x.Remove(t.Context(), []index.Removal{{Hash: "none"}})
	require.NoError(t, err, "the server knows both scripts now")
	before := s.scripts()
	p.lose.Store(&r.Hash)
	err = x.Put(t.Context(), []index.Record{r})
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	p.lose.Store(nil)
	require.Equal(t, before+1, s.scripts(), "the script ran once")
	require.Contains(t, consistent(t, x), r.Hash, "this one was applied")
	require.NoError(t, x.Put(t.Context(), []index.Record{r}), "to repeat it is harmless")
	require.Len(t, consistent(t, x), 2)

	p.lose.Store(&r.Hash)
	_, err = x.Remove(t.Context(), []index.Removal{{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}})
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	p.lose.Store(nil)
	require.Len(t, consistent(t, x), 1)
}

// scripts returns how many scripts the server ran.
func (s *server) scripts() int {
	s.t.Helper()
	text, err := s.text("INFO", "commandstats")
	require.NoError(s.t, err)
	sum := 0
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_evalsha:calls="); ok {
			n, err := strconv.Atoi(rest[:strings.IndexByte(rest, ',')])
			require.NoError(s.t, err)
			sum += n
		}
	}
	return sum
}

// TestSlow: with a server that does not answer, calls end in time, and no more
// than so many are under way.
func TestSlow(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s)
	o := s.options(index.Options{})
	o.Addresses, o.Timeout, o.InFlight = []string{p.address()}, 600*time.Millisecond, 2
	x, r := s.open(t, o), record(0)
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	hold := make(chan struct{})
	p.hold.Store(&hold)

	err := x.Put(t.Context(), []index.Record{r})
	require.ErrorIs(t, err, kvferry.ErrUnknownOutcome)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = x.Locate(t.Context(), &r.Key, nil)
	require.ErrorIs(t, err, redis.ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, x.Put(ctx, []index.Record{r}), context.Canceled)
	require.NotErrorIs(t, x.Put(ctx, []index.Record{r}), kvferry.ErrUnknownOutcome, "it was not sent")

	var calls sync.WaitGroup
	before := s.scripts()
	for range 20 {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
			defer cancel()
			// Of those who wait for a connection given up meanwhile, some are told that.
			if err := x.Put(ctx, []index.Record{r}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, redis.ErrUnavailable) {
				t.Errorf("neither the end of its time nor of the connection: %v", err)
			}
		})
	}
	calls.Wait()
	require.LessOrEqual(t, s.scripts(), before+2, "no more than InFlight were sent")

	p.hold.Store(nil)
	close(hold)
	require.Eventually(t, func() bool { return x.Put(t.Context(), []index.Record{r}) == nil }, patience, tick)
	require.Len(t, consistent(t, x), 1)
}

// TestPaused: a server that pauses its clients is waited for.
func TestPaused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x, r := s.open(t, s.options(index.Options{})), record(0)
	s.must("CLIENT", "PAUSE", "100")
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))
}

// TestFull: a server without room for more says so, keeps what it has, and takes
// records again once there is room. Leases go on meanwhile.
func TestFull(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
	x := s.open(t, s.options(index.Options{}))
	var put int
	for {
		batch := make([]index.Record, 100)
		for i := range batch {
			batch[i] = record(put + i)
		}
		if err := x.Put(t.Context(), batch); err != nil {
			require.ErrorIs(t, err, kvferry.ErrNoSpace)
			break
		}
		put += len(batch)
	}
	require.Positive(t, put)
	require.Len(t, consistent(t, x), put, "all or nothing of a call")
	require.NoError(t, x.Announce(t.Context(), "w", 1))
	require.NoError(t, x.Announce(t.Context(), "w", 1), "a lease is renewed")
	r := record(0)
	n, err := x.Remove(t.Context(), []index.Removal{{Scope: r.Scope, Worker: r.Worker, Hash: r.Hash}})
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = x.Expire(t.Context(), uint64(put))
	require.NoError(t, err)
	require.Equal(t, put-1, n)
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.Len(t, consistent(t, x), 1)
}

// TestEviction: a server that drops keys by itself is refused.
func TestEviction(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	_, err := redis.Open(t.Context(), s.options(index.Options{}))
	require.ErrorIs(t, err, kvferry.ErrInvalid)
	require.ErrorContains(t, err, "noeviction")
}

// TestScriptsForgotten: a server that forgot its scripts is told them again, in
// the midst of parallel calls.
func TestScriptsForgotten(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	x := s.open(t, s.options(index.Options{}))
	var writers sync.WaitGroup
	var done atomic.Int64
	for w := range 4 {
		writers.Go(func() {
			for i := range 100 {
				r := record(100*w + i)
				if err := x.Put(t.Context(), []index.Record{r}); err != nil {
					t.Error(err)
				}
				if got, err := x.Locate(t.Context(), &r.Key, nil); err != nil || len(got) != 1 {
					t.Errorf("%d records, %v", len(got), err)
				}
				done.Add(1)
			}
		})
	}
	for done.Load() < 400 && !t.Failed() {
		s.must("SCRIPT", "FLUSH")
	}
	writers.Wait()
	require.Len(t, consistent(t, x), 400)
}
