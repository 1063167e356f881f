package redis

import (
	"context"
	"strings"
	"sync"
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
	ahead, err := x.clock.ahead(ctx, x)
	if err != nil {
		return "", a, err
	}
	now := float64(time.Now().Add(ahead).UnixMilli())
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
	if err == nil && strings.Contains(block, isLarge) {
		return x.readBlock(ctx, id, hash)
	}
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

// serverClock knows how far the server's clock is ahead of the own one, by which
// leases end.
type serverClock struct {
	mu sync.Mutex
	by time.Duration
	at time.Time // when it was asked; the zero time: never
}

// clockFor is how long an answer of the server's clock holds.
const clockFor = 10 * time.Second

func (c *serverClock) ahead(ctx context.Context, x *Index) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := time.Now()
	if !c.at.IsZero() && sent.Sub(c.at) < clockFor {
		return c.by, nil
	}
	m, err := x.send(ctx, "locate", func() rueidis.Completed { return x.client.B().Time().Build() })
	if err != nil {
		return 0, err
	}
	l, err := m.AsIntSlice()
	if err != nil || len(l) != 2 {
		return 0, corrupt("locate", "time of the server")
	}
	c.at = time.Now()
	// The server read its clock between the two.
	c.by = time.Unix(l[0], l[1]*1000).Sub(sent.Add(c.at.Sub(sent) / 2))
	return c.by, nil
}
