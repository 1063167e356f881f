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
