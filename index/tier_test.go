package index_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/index"
)

// TestGoldenTiers: the original's parser took and refused these names.
func TestGoldenTiers(t *testing.T) {
	t.Parallel()
	taken, refused := 0, 0
	golden(t, "index-vectors-tiers.jsonl.gz", func(v struct{ In, Tier, Display, Err, JSON string }) {
		if v.JSON != "" {
			return // see TestGoldenTierDocuments
		}
		tier, err := index.ParseTier(v.In)
		if v.Err != "" {
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			require.ErrorContains(t, err, v.Err)
			refused++
			return
		}
		require.NoError(t, err, v.In)
		require.Equal(t, v.Display, tier.String())
		require.Equal(t, v.Tier, tier.Variant())
		again, err := index.ParseVariant(v.Tier)
		require.NoError(t, err)
		require.Equal(t, tier, again)
		taken++
	})
	require.Positive(t, taken)
	require.Positive(t, refused)
}

// TestGoldenTierDocuments: the original took and refused these as the tier in a
// document.
func TestGoldenTierDocuments(t *testing.T) {
	t.Parallel()
	n := 0
	golden(t, "index-vectors-tiers.jsonl.gz", func(v struct {
		JSON, Display string
		OK            bool
	}) {
		if v.JSON == "" {
			return
		}
		n++
		r := full()
		data := strings.Replace(string(r.AppendJSON(nil)), `"ObjectStore"`, v.JSON, 1)
		r, err := index.ParseRecord([]byte(data))
		if !v.OK {
			require.ErrorIs(t, err, kvferry.ErrCorrupt, data)
			return
		}
		require.NoError(t, err, data)
		require.Equal(t, v.Display, r.Tier.String())
	})
	require.Positive(t, n)
}

func TestTiers(t *testing.T) {
	t.Parallel()
	volatile := map[index.Tier]bool{index.HBM: true, index.RemoteHBM: true, index.CPUDRAM: true}
	for tier := index.Tier(1); tier < index.Tiers; tier++ {
		require.True(t, tier.Valid())
		require.Equal(t, volatile[tier], tier.Volatile())
		if tier > 1 {
			require.Greater(t, tier.String(), (tier - 1).String(), "the numbers are in the order of the names")
		}
	}
	for _, none := range []index.Tier{0, index.Tiers, 255} {
		require.False(t, none.Valid())
		require.False(t, none.Volatile())
		require.Empty(t, none.Variant())
	}
	require.Equal(t, "tier(9)", index.Tier(9).String())
	for _, name := range []string{"", "hbm", "gpu", "HBM", "Hbm "} {
		_, err := index.ParseVariant(name)
		require.ErrorIs(t, err, kvferry.ErrInvalid)
	}
}
