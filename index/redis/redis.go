// Package redis is a residency index in a Redis server or cluster, shared by many
// workers and routers.
package redis

import (
	"context"

	"github.com/kvferry/kvferry/index"
)

// Index is a residency index in Redis.
type Index struct{ index.Index }

// Open connects to the server or cluster.
func Open(ctx context.Context, o Options) (*Index, error) {
	panic("not written yet")
}
