package synthetic

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/pager"
)

func TestParseSpec(t *testing.T) {
	t.Parallel()
	bench := Config{Meta: plain(t, 8, 4, 4, 8, pager.BF16), Pages: 64, Fill: FillSeed}
	other := Config{Meta: plain(t, 16, 22, 4, 64, pager.BF16), Pages: 3, Seed: 1<<64 - 1, Fill: FillKV}
	for spec, want := range map[string]Config{
		"synthetic":  bench,
		"synthetic:": bench,
		"synthetic:page-tokens=8,layers=4,kv-heads=4,head-dim=8,dtype=bf16,pages=64,seed=0": bench,
		"synthetic:fill=seed": bench,
		"synthetic:seed=18446744073709551615,fill=kv,pages=3,head-dim=64,layers=22,page-tokens=16": other,
	} {
		c, err := ParseSpec(spec)
		require.NoError(t, err, spec)
		require.Equal(t, want, c, spec)
		again, err := ParseSpec(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	}
}

func TestParseSpecRefuses(t *testing.T) {
	t.Parallel()
	for spec, say := range map[string]string{
		"":                              `want "synthetic"`,
		"syntetic:pages=1":              `want "synthetic"`,
		"synthetic:page=1":              `unknown key "page", want one of page-tokens`,
		"synthetic:pages=1,pages=1":     `key "pages" occurs twice`,
		"synthetic:pages":               `key "pages" has no value`,
		"synthetic:pages=":              `key "pages" has no value`,
		"synthetic:pages=1,":            `unknown key ""`,
		"synthetic:pages=-1":            "a whole number from 0",
		"synthetic:pages=4294967296":    "a whole number from 0 to 4294967295",
		"synthetic:layers=1e3":          "a whole number",
		"synthetic:seed=0x1":            "a whole number from 0 to 18446744073709551615",
		"synthetic:dtype=BF16":          "is not one of bf16",
		"synthetic:fill=zero":           "want seed or kv",
		"synthetic:fill=kv,dtype=f16":   "fill=kv needs dtype=bf16",
		"synthetic:head-dim=4294967295": "exceeds",
		"synthetic: pages=1":            "unknown key",
		"synthetic:pages=1;seed=2":      "a whole number",
	} {
		_, err := ParseSpec(spec)
		require.ErrorIs(t, err, kvferry.ErrInvalid, spec)
		require.ErrorContains(t, err, say, spec)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, fill := range []Fill{FillSeed, FillKV} {
		c := Config{Meta: plain(t, 8, 1, 1, 4, pager.BF16), Pages: 5, Seed: 1, Fill: fill}
		e, err := c.Open()
		require.NoError(t, err)
		ids, err := e.OccupiedPages(t.Context())
		require.NoError(t, err)
		require.Len(t, ids, 5)
		require.Equal(t, DefaultCapacity-5, e.FreePages())
		require.NoError(t, e.Close())
	}
	_, err := Config{Pages: -1}.Open()
	require.ErrorIs(t, err, kvferry.ErrInvalid)
}

func FuzzParseSpec(f *testing.F) {
	f.Add("synthetic")
	f.Add("synthetic:page-tokens=8,layers=4,kv-heads=4,head-dim=8,dtype=bf16,pages=64,seed=0,fill=kv")
	f.Add("synthetic:pages=,seed")
	f.Fuzz(func(t *testing.T, spec string) {
		c, err := ParseSpec(spec)
		if err != nil {
			require.ErrorIs(t, err, kvferry.ErrInvalid)
			return
		}
		require.NoError(t, c.Meta.Validate())
		again, err := ParseSpec(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}
