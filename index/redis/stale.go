package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// cacheFor is how long what is cached on the client lives at most.
const cacheFor = time.Minute

// cachedFields is fields with client-side caching of the block and of the leases:
// the server tells when a key changed, but only behind its answer to the writer.
func (x *Index) cachedFields(ctx context.Context, id *scopeID, hash string) ([]string, asked, error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	var a asked
	leases, err := x.cached(ctx, x.client.B().Zrange().Key(x.base("*")+"l").Min("0").Max("-1").Withscores().Cache())
	if err != nil {
		return nil, a, err
	}
	scores, err := leases.AsZScores()
	if err != nil {
		return nil, a, corrupt("locate", "leases")
	}
	now := float64(time.Now().UnixMilli())
	for _, s := range scores {
		if s.Score <= now {
			a.dead = append(a.dead, s.Member)
		}
	}
	m, err := x.cached(ctx, x.client.B().Hgetall().Key(x.base(id.digest)+"b"+hash).Cache())
	if err != nil {
		return nil, a, err
	}
	block, err := m.AsStrMap()
	if err != nil {
		return nil, a, corrupt("locate", "fields of a block")
	}
	flat := make([]string, 0, 2*len(block))
	for name, value := range block {
		flat = append(flat, name, value)
	}
	return flat, a, nil
}

func (x *Index) cached(ctx context.Context, c rueidis.Cacheable) (rueidis.RedisMessage, error) {
	m, err := x.client.DoCache(ctx, c, cacheFor).ToMessage()
	if err != nil {
		_, err = x.judge("locate", false, err, new(bool))
	}
	return m, err
}
