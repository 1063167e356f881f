package redis

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// cacheFor is how long what is cached on the client lives at most.
const cacheFor = time.Minute

// cachedBlock is read with client-side caching of the block and of the leases:
// the server tells when a key changed, but only behind its answer to the writer. The
// blocks of a scope are one key.
func (x *Index) cachedBlock(ctx context.Context, id *scopeID, hash string) (string, asked, error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Timeout)
	defer cancel()
	var a asked
	leases, err := x.cached(ctx, x.client.B().Zrange().Key(x.base("*")+"l").Min("0").Max("-1").Withscores().Cache())
	if err != nil {
		return "", a, err
	}
	scores, err := leases.AsZScores()
	if err != nil {
		return "", a, corrupt("locate", "leases")
	}
	now := float64(time.Now().UnixMilli())
	for _, s := range scores {
		if s.Score <= now {
			a.dead = append(a.dead, s.Member)
		}
	}
	m, err := x.cached(ctx, x.client.B().Hget().Key(x.base(id.digest)+"b").Field(escaped(hash)).Cache())
	if err != nil || m.IsNil() {
		return "", a, err
	}
	block, err := text(&m)
	return block, a, err
}

func (x *Index) cached(ctx context.Context, c rueidis.Cacheable) (rueidis.RedisMessage, error) {
	m, err := x.client.DoCache(ctx, c, cacheFor).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		_, err = x.judge("locate", false, err, new(bool))
		return m, err
	}
	return m, nil
}
