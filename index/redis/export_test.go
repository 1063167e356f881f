package redis

import (
	"context"
	"strings"
)

// ClearLife removes a worker's records of a life, as somebody does who is late.
func (x *Index) ClearLife(ctx context.Context, worker, life string) (int, error) {
	return x.clearCluster(ctx, "test", worker, life, false)
}

// spilling puts as if some bytes were many.
var spilling = newScript(true, commonLua, strings.Replace(blocksLua, "spillAt, largeAt = 1024, 4096", "spillAt, largeAt = 40, 60", 1), putLua)

// SpillEarly lets blocks have few children and records themselves.
func (x *Index) SpillEarly() {
	if spilling.text == putScript.text {
		panic("the limits have other names")
	}
	x.put = spilling
}

// BeginAnnounce looks at a worker, as Announce does in a cluster, and returns what
// that does then, if it has nothing to remove.
func (x *Index) BeginAnnounce(ctx context.Context, worker, number string) (end func() (bool, error), err error) {
	l, err := x.life(ctx, "test", worker)
	return func() (bool, error) { return x.live(ctx, "test", worker, &l, l.life, number, false) }, err
}

// Reap cleans up after a worker whose lease ran out.
func (x *Index) Reap(ctx context.Context, worker string) error { return x.reap(ctx, worker) }

// BeginAgain does what follows on the news that a lease ran out.
func (x *Index) BeginAgain(ctx context.Context, worker string) error {
	return x.beginAgain(ctx, []string{worker})
}
