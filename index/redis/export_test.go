package redis

import "context"

// ClearLife removes a worker's records of a life, as somebody does who is late.
func (x *Index) ClearLife(ctx context.Context, worker, life string) (int, error) {
	return x.clearCluster(ctx, "test", worker, life, false)
}
