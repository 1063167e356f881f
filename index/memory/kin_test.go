package memory

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/index"
)

// TestKin: one hash under many parents, positions, adapters, tenants and workers,
// put and removed in any order: removals find all of their worker's and no other.
func TestKin(t *testing.T) {
	t.Parallel()
	x, ctx, r := newIndex(t), t.Context(), rand.New(rand.NewPCG(7, 8))
	type id struct {
		index.Key
		worker string
		tier   index.Tier
	}
	there := map[id]bool{}
	far := 0
	for step := range 6000 {
		var k id
		k.Hash, k.Prefix, k.Index = "x", strconv.Itoa(r.IntN(6)), r.Uint32N(3)
		k.Tenant, k.worker, k.tier = strconv.Itoa(r.IntN(2)), strconv.Itoa(r.IntN(12)), index.Tier(1+r.IntN(2))
		if a := r.IntN(3); a > 0 {
			k.Adapter = index.Named(strconv.Itoa(a))
		}
		if fill := step / 500 % 2 * 6; r.IntN(10) < 2+fill {
			d := index.Removal{Scope: k.Scope, AnyAdapter: r.IntN(2) == 0, Worker: k.worker, Hash: "x"}
			if r.IntN(2) == 0 {
				d.Tier = k.tier
			}
			want := 0
			for o := range there {
				same := o.Scope == k.Scope || d.AnyAdapter && o.Tenant == k.Tenant
				if same && o.worker == k.worker && (d.Tier == 0 || d.Tier == o.tier) {
					delete(there, o)
					want++
				}
			}
			n, err := x.Remove(ctx, []index.Removal{d})
			require.NoError(t, err)
			require.Equal(t, want, n)
		} else {
			require.NoError(t, x.Put(ctx, []index.Record{{Key: k.Key, Worker: k.worker, Tier: k.tier}}))
			there[k] = true
		}
		if step%100 == 0 {
			check(t, x)
			for i := range x.shards {
				far += x.shards[i].kin.n
			}
		}
	}
	require.Positive(t, far)
	got, err := x.ByHash(ctx, "x", nil)
	require.NoError(t, err)
	require.Len(t, got, len(there))
	for i := range got {
		require.True(t, there[id{got[i].Key, got[i].Worker, got[i].Tier}])
	}
	require.NoError(t, x.Clear(ctx))
	requireEmpty(t, x)
}
