package synthetic

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kvferry/kvferry/pager"
	"github.com/kvferry/kvferry/pager/pagertest"
)

func factory(set Ability) pagertest.Factory {
	return func(tb testing.TB, m pager.Meta, capacity int) pager.Pager {
		e, err := New(Options{Meta: m, Capacity: capacity})
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, e.Close()) })
		if capacity == 0 {
			e.slab = newSlab(m.PageBytes(), 0) // New takes 0 for the default
		}
		return e.With(set)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, set := range []Ability{NoAbility, AllAbilities} {
		t.Run(fmt.Sprintf("abilities=%05b", set), func(t *testing.T) {
			t.Parallel()
			pagertest.Run(t, factory(set))
		})
	}
}

func TestConformanceOfEveryCombination(t *testing.T) {
	t.Parallel()
	for set := range AllAbilities + 1 {
		t.Run(fmt.Sprintf("abilities=%05b", set), func(t *testing.T) {
			t.Parallel()
			pagertest.Run(t, factory(set), pagertest.Geometries()[1])
		})
	}
}

func TestConformanceOfAMillionPages(t *testing.T) {
	t.Parallel()
	pagertest.RunLarge(t, factory(AllAbilities))
}

func TestWithFindsExactlyTheAbilities(t *testing.T) {
	t.Parallel()
	e, err := New(Options{})
	require.NoError(t, err)
	for set := range AllAbilities + 1 {
		a := pager.AbilitiesOf(e.With(set))
		require.Equal(t, set&Releaser != 0, a.Releaser != nil)
		require.Equal(t, set&Reserver != 0, a.Reserver != nil)
		require.Equal(t, set&Generations != 0, a.Generations != nil)
		require.Equal(t, set&Digester != 0, a.Digester != nil)
		require.Equal(t, set&Mover != 0, a.Mover != nil)
	}
}

func BenchmarkPages(b *testing.B) { pagertest.Bench(b, factory(NoAbility)) }
