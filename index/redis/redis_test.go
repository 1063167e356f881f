package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
	"github.com/kvferry/kvferry/index/redis"
)

// config opens indexes on one server, each below its own prefix.
func config(s *server) indextest.Config {
	var n atomic.Int64
	return indextest.Config{
		Slow: true,
		Open: func(t testing.TB, o index.Options) index.Index {
			ro := s.options(o)
			ro.Prefix = fmt.Sprintf("test%d:", n.Add(1))
			return s.open(t, ro)
		},
	}
}

// TestSpilled runs the suite with blocks that seem to have many children and records.
func TestSpilled(t *testing.T) {
	t.Parallel()
	c := config(startServer(t))
	open := c.Open
	c.Open = func(t testing.TB, o index.Options) index.Index {
		x := open(t, o).(*redis.Index)
		x.SpillEarly()
		return x
	}
	indextest.Run(t, c)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	indextest.Run(t, config(startServer(t)))
}
