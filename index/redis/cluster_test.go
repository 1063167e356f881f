package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/redis"
)

// cluster is some servers that are one.
type cluster struct {
	nodes []*server
}

// startCluster starts three primaries with so many replicas each.
func startCluster(t testing.TB, replicas int) *cluster {
	t.Helper()
	c := &cluster{}
	addresses := []string{"--cluster", "create"}
	for range 3 * (1 + replicas) {
		s := startTCP(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "1000",
			"--appendonly", "no", "--cluster-require-full-coverage", "no", "--repl-diskless-sync-delay", "0")
		c.nodes = append(c.nodes, s)
		addresses = append(addresses, s.address)
	}
	addresses = append(addresses, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-cli", addresses...).CombinedOutput()
	require.NoError(t, err, "%s", out)
	c.settle(t)
	return c
}

// settle waits until every node that lives takes part, and the replicas follow.
func (c *cluster) settle(t testing.TB) {
	t.Helper()
	for _, s := range c.nodes {
		if s.cmd == nil {
			continue
		}
		require.Eventually(t, func() bool {
			info, err := s.text("CLUSTER", "INFO")
			if err != nil || !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") {
				return false
			}
			role, err := s.text("INFO", "replication")
			return err == nil && (strings.Contains(role, "role:master") || strings.Contains(role, "master_link_status:up"))
		}, 60*time.Second, 20*time.Millisecond, "the cluster does not come up")
	}
}

func (c *cluster) options(o index.Options) redis.Options {
	r := redis.Options{Options: o, Timeout: 20 * time.Second, Lease: time.Hour}
	for _, s := range c.nodes {
		r.Addresses = append(r.Addresses, s.address)
	}
	return r
}

// TestClusterConformance runs the suite on a cluster of three.
func TestClusterConformance(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 0)
	var n atomic.Int64
	indextest.Run(t, indextest.Config{
		Slow: true, NoWatch: true,
		Open: func(t testing.TB, o index.Options) index.Index {
			ro := c.options(o)
			ro.Prefix = fmt.Sprintf("test%d:", n.Add(1))
			return c.nodes[0].open(t, ro)
		},
	})
}

// TestClusterLeases: leases in a cluster, and Watch, which there is none.
func TestClusterLeases(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 0)
	base := c.options(index.Options{})
	leases(t, prefixed(c.nodes[0], base))
	renewals(t, prefixed(c.nodes[0], base))
	joins(t, prefixed(c.nodes[0], base))

	x := c.nodes[0].open(t, base)
	var watched error
	for _, err := range x.Watch(t.Context(), 0) {
		watched = err
	}
	require.ErrorIs(t, watched, kvferry.ErrUnsupported)
	for _, node := range c.nodes { // one that evicts is enough
		node.must("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
		_, err := redis.Open(t.Context(), base)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
		node.must("CONFIG", "SET", "maxmemory-policy", "noeviction")
	}
	c.late(t, x)
	require.NoError(t, x.Clear(t.Context()))
	c.migrate(t, x)
}

// late: who cleans up after a life that another one has followed removes nothing.
func (c *cluster) late(t *testing.T, x *redis.Index) {
	t.Helper()
	r := record(0)
	require.NoError(t, x.Announce(t.Context(), "w", 1))
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	require.NoError(t, x.Announce(t.Context(), "w", 2))
	require.Equal(t, []int{0, 0, 0, 0, 0, 0}, reads(t, x, &r))
	n, err := x.ClearLife(t.Context(), "w", "1")
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, x.Put(t.Context(), []index.Record{r}))
	n, err = x.ClearLife(t.Context(), "w", "1")
	require.NoError(t, err)
	require.Zero(t, n, "the life of these is 2")
	require.Equal(t, []int{1, 1, 1, 1, 1, 1}, reads(t, x, &r))
	n, err = x.ClearLife(t.Context(), "w", "2")
	require.NoError(t, err)
	require.Equal(t, 1, n)
}

// migrate moves the slot of a scope, as resharding does, with calls under way.
func (c *cluster) migrate(t *testing.T, x *redis.Index) {
	t.Helper()
	r := record(0)
	require.NoError(t, x.Put(t.Context(), []index.Record{r, record(1)}))
	var from, to *server
	var key string
	for _, s := range c.nodes {
		for _, k := range s.keysWith("}b") {
			from, key = s, k
		}
	}
	require.NotNil(t, from)
	for _, s := range c.nodes {
		if s != from {
			to = s
		}
	}
	n, err := from.do("CLUSTER", "KEYSLOT", key).AsInt64()
	require.NoError(t, err)
	slot := fmt.Sprint(n)
	id := func(s *server) string {
		text, err := s.text("CLUSTER", "MYID")
		require.NoError(t, err)
		return text
	}
	to.must("CLUSTER", "SETSLOT", slot, "IMPORTING", id(from))
	from.must("CLUSTER", "SETSLOT", slot, "MIGRATING", id(to))

	// While it moves nothing can be done in the slot, in part or whole.
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		// The last attempt in the time that a call has may get no answer.
		return errors.Is(x.Put(ctx, []index.Record{record(2)}), redis.ErrUnavailable)
	}, patience, tick)
	for _, s := range []*server{from, to} { // the slot answers a plain command, or not at all
		there, err := s.do("HEXISTS", key, record(2).Hash).AsInt64()
		require.True(t, err != nil || there == 0, "it was put")
	}
	waiting := make(chan error, 1)
	go func() { waiting <- x.Put(t.Context(), []index.Record{record(3)}) }()

	host, port, err := net.SplitHostPort(to.address)
	require.NoError(t, err)
	m := from.must("CLUSTER", "GETKEYSINSLOT", slot, "1000")
	keys, err := m.AsStrSlice()
	require.NoError(t, err)
	for _, k := range keys {
		from.must("MIGRATE", host, port, k, "0", "5000")
	}
	for _, s := range []*server{to, from, c.nodes[0], c.nodes[1], c.nodes[2]} {
		s.must("CLUSTER", "SETSLOT", slot, "NODE", id(to))
	}
	require.NoError(t, <-waiting)
	require.Len(t, consistent(t, x), 3)
}

// keysWith returns the keys of the default prefix that end so.
func (s *server) keysWith(end string) []string {
	s.t.Helper()
	return slices.DeleteFunc(s.keys(), func(k string) bool {
		return !strings.HasSuffix(k, end) || !strings.HasPrefix(k, redis.DefaultPrefix)
	})
}

// TestFailover: a replica takes over from a killed primary, with all that it had.
func TestFailover(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	x := c.nodes[0].open(t, c.options(index.Options{}))
	rs := many(300)
	for i := range rs {
		rs[i].Tenant = fmt.Sprint(i % 20) // so that every server has some
	}
	require.NoError(t, x.Put(t.Context(), rs))
	require.Len(t, consistent(t, x), len(rs))
	for _, s := range c.nodes[:3] {
		require.Eventually(t, func() bool { return c.caughtUp(s) }, patience, tick, "the replicas have everything")
	}
	stop, writers := c.write(t)
	c.nodes[1].kill()
	c.settle(t)
	close(stop)
	writers.Wait()
	got := consistent(t, x)
	for _, r := range rs {
		require.Equal(t, r, got[r.Hash], "nothing is lost that the replica had")
	}
	for i := range rs {
		rs[i].Bytes++
	}
	require.NoError(t, x.Put(t.Context(), rs))
	got = consistent(t, x)
	for _, r := range rs {
		require.Equal(t, r, got[r.Hash])
	}
}

// write puts records in the background, whose errors have to say what happened.
func (c *cluster) write(t *testing.T) (stop chan struct{}, writers *sync.WaitGroup) {
	t.Helper()
	o := c.options(index.Options{})
	o.Timeout = 300 * time.Millisecond
	x := c.nodes[0].open(t, o)
	stop, writers = make(chan struct{}), &sync.WaitGroup{}
	for w := range 2 {
		writers.Go(func() {
			for i := 1000 * (w + 1); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				r := record(i)
				r.Tenant = fmt.Sprint(i % 20)
				err := x.Put(t.Context(), []index.Record{r})
				if err != nil && !errors.Is(err, kvferry.ErrUnknownOutcome) && !errors.Is(err, redis.ErrUnavailable) && !errors.Is(err, kvferry.ErrReadOnly) {
					t.Errorf("neither unknown nor unavailable: %v", err)
				}
			}
		})
	}
	return stop, writers
}

// caughtUp reports whether the replicas of a primary have all it was told.
func (c *cluster) caughtUp(s *server) bool {
	text, err := s.text("INFO", "replication")
	if err != nil {
		return false
	}
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		values[name] = value
	}
	return strings.Contains(values["slave0"], "offset="+values["master_repl_offset"]+",")
}
