package redis_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/indextest"
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

func TestConformance(t *testing.T) {
	t.Parallel()
	indextest.Run(t, config(startServer(t)))
}
