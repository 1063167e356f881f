package redis_test

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
