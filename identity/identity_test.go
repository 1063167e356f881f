package identity_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/identity"
)

func TestMismatchNamesTheField(t *testing.T) {
	t.Parallel()
	none, empty, named := (*string)(nil), new(string), new(string)
	*named = "lora"
	base := identity.Identity{Model: "m", Weights: "w", Tokenizer: "t", Tenant: "acme", Rank: 1, World: 2}
	require.Empty(t, base.Mismatch(base))
	for field, change := range map[string]func(*identity.Identity){
		"model":     func(i *identity.Identity) { i.Model = "n" },
		"weights":   func(i *identity.Identity) { i.Weights = "" },
		"tokenizer": func(i *identity.Identity) { i.Tokenizer = "u" },
		"tenant":    func(i *identity.Identity) { i.Tenant = "" },
		"rank":      func(i *identity.Identity) { i.Rank = 0 },
		"world":     func(i *identity.Identity) { i.World = 4 },
		"adapter":   func(i *identity.Identity) { i.Adapter = empty },
	} {
		other := base
		change(&other)
		require.Equal(t, field, base.Mismatch(other))
		require.Equal(t, field, other.Mismatch(base))
	}
	with := func(a *string) identity.Identity { return identity.Identity{Adapter: a} }
	require.Equal(t, "adapter", with(none).Mismatch(with(empty)), "no adapter is not an adapter without a name")
	require.Equal(t, "adapter", with(empty).Mismatch(with(named)))
	copied := "lora"
	require.Empty(t, with(named).Mismatch(with(&copied)))
}

func TestAWorldOfOneIsNothingToSpeakOf(t *testing.T) {
	t.Parallel()
	require.False(t, identity.Identity{}.Stated())
	require.False(t, identity.Identity{World: 1}.Stated())
	require.Empty(t, identity.Identity{World: 1}.Mismatch(identity.Identity{}))
	require.True(t, identity.Identity{World: 2}.Stated())
	require.True(t, identity.Identity{Adapter: new(string)}.Stated())
}
