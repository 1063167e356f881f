package redis_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
	"github.com/kvferry/kvferry/index/redis"
)

// TestBoundedSweeps: no step looks at more than some thousand records, however few
// prefixes and blocks these are behind.
func TestBoundedSweeps(t *testing.T) {
	t.Parallel()
	const n = 6000
	for name, shape := range map[string]func(i int, r *index.Record){
		"one prefix": func(_ int, r *index.Record) { r.Prefix = index.Root },
		"few blocks": func(i int, r *index.Record) {
			r.Hash, r.Prefix, r.Worker = fmt.Sprint(i%900), index.Root, fmt.Sprint(i/900)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			x := s.open(t, s.options(index.Options{}))
			rs := make([]index.Record, n)
			for i := range rs {
				rs[i] = record(i)
				rs[i].LastAccess = uint64(i)
				shape(i, &rs[i])
			}
			for way, sweep := range []func(x *redis.Index) error{
				func(x *redis.Index) error {
					removed, err := x.Expire(t.Context(), n/2)
					require.Equal(t, n/2, removed)
					return err
				},
				func(x *redis.Index) error { return x.Clear(t.Context()) },
			} {
				require.NoError(t, x.Put(t.Context(), rs))
				before := s.scripts()
				require.NoError(t, sweep(x))
				require.GreaterOrEqual(t, s.scripts()-before, 3, "expire, clear: %d", way)
			}
			require.Equal(t, []int{0, 0, 0, 0, 0, 0}, reads(t, x, &rs[0]))
			require.NoError(t, x.Put(t.Context(), rs[:1]))
			require.NoError(t, x.Clear(t.Context()))
			require.Equal(t, []string{"kvferry:{*}q", "kvferry:{*}r", "kvferry:{*}v"}, s.keys())
		})
	}
}
