package pager

import (
	"context"
	"fmt"

	"github.com/kvferry/kvferry"
	"github.com/kvferry/kvferry/digest"
)

// Abilities are the optional interfaces of a Pager, each nil where the pager
// does not have it.
type Abilities struct {
	Releaser    Releaser
	Reserver    Reserver
	Generations Generations
	Digester    Digester
	Mover       Mover
}

// ageing is Generations under a name to embed: a field called Generations
// would hide the method of that name.
type ageing = Generations

// AbilitiesOf returns the abilities that type assertion finds in p.
func AbilitiesOf(p Pager) Abilities {
	var a Abilities
	a.Releaser, _ = p.(Releaser)
	a.Reserver, _ = p.(Reserver)
	a.Generations, _ = p.(Generations)
	a.Digester, _ = p.(Digester)
	a.Mover, _ = p.(Mover)
	return a
}

// Compose returns a Pager with p's nine operations in which type assertion
// finds exactly the abilities that are set in a. A wrapper of a Pager that must
// not hide or invent abilities is built with it; so is an engine that learns
// its abilities only when it starts.
func Compose(p Pager, a Abilities) Pager {
	// A method set is fixed when a type is compiled, so there is one type for
	// each combination.
	set := 0
	for i, has := range [...]bool{a.Releaser != nil, a.Reserver != nil, a.Generations != nil, a.Digester != nil, a.Mover != nil} {
		if has {
			set |= 1 << i
		}
	}
	if set < 16 {
		return composeStill(p, a, set)
	}
	return composeMoving(p, a, set)
}

// digesting is what a composed pager with a Digester has.
type digesting interface {
	Digester
	Comparer
}

// comparing adds Comparer to a Digester that may not have it.
type comparing struct{ Digester }

// ComparePages implements Comparer.
func (c comparing) ComparePages(ctx context.Context, a digest.Algorithm, key *digest.Key, ids []PageID, want []digest.Digest, changed []int, sums []digest.Digest) ([]int, []digest.Digest, error) {
	d, ok := c.Digester.(Comparer)
	if !ok {
		return changed, sums, fmt.Errorf("pager: compare pages: the engine cannot: %w", kvferry.ErrUnsupported)
	}
	return d.ComparePages(ctx, a, key, ids, want, changed, sums)
}

// composeStill composes without a Mover; bit 0 of set is Releaser, bit 3 Digester.
func composeStill(p Pager, a Abilities, set int) Pager {
	switch set {
	case 1:
		return struct {
			Pager
			Releaser
		}{p, a.Releaser}
	case 2:
		return struct {
			Pager
			Reserver
		}{p, a.Reserver}
	case 3:
		return struct {
			Pager
			Releaser
			Reserver
		}{p, a.Releaser, a.Reserver}
	case 4:
		return struct {
			Pager
			ageing
		}{p, a.Generations}
	case 5:
		return struct {
			Pager
			Releaser
			ageing
		}{p, a.Releaser, a.Generations}
	case 6:
		return struct {
			Pager
			Reserver
			ageing
		}{p, a.Reserver, a.Generations}
	case 7:
		return struct {
			Pager
			Releaser
			Reserver
			ageing
		}{p, a.Releaser, a.Reserver, a.Generations}
	case 8:
		return struct {
			Pager
			digesting
		}{p, comparing{a.Digester}}
	case 9:
		return struct {
			Pager
			Releaser
			digesting
		}{p, a.Releaser, comparing{a.Digester}}
	case 10:
		return struct {
			Pager
			Reserver
			digesting
		}{p, a.Reserver, comparing{a.Digester}}
	case 11:
		return struct {
			Pager
			Releaser
			Reserver
			digesting
		}{p, a.Releaser, a.Reserver, comparing{a.Digester}}
	case 12:
		return struct {
			Pager
			ageing
			digesting
		}{p, a.Generations, comparing{a.Digester}}
	case 13:
		return struct {
			Pager
			Releaser
			ageing
			digesting
		}{p, a.Releaser, a.Generations, comparing{a.Digester}}
	case 14:
		return struct {
			Pager
			Reserver
			ageing
			digesting
		}{p, a.Reserver, a.Generations, comparing{a.Digester}}
	case 15:
		return struct {
			Pager
			Releaser
			Reserver
			ageing
			digesting
		}{p, a.Releaser, a.Reserver, a.Generations, comparing{a.Digester}}
	}
	return struct{ Pager }{p}
}

// composeMoving composes with a Mover, which is bit 4 of set.
func composeMoving(p Pager, a Abilities, set int) Pager {
	switch set {
	case 16:
		return struct {
			Pager
			Mover
		}{p, a.Mover}
	case 17:
		return struct {
			Pager
			Releaser
			Mover
		}{p, a.Releaser, a.Mover}
	case 18:
		return struct {
			Pager
			Reserver
			Mover
		}{p, a.Reserver, a.Mover}
	case 19:
		return struct {
			Pager
			Releaser
			Reserver
			Mover
		}{p, a.Releaser, a.Reserver, a.Mover}
	case 20:
		return struct {
			Pager
			ageing
			Mover
		}{p, a.Generations, a.Mover}
	case 21:
		return struct {
			Pager
			Releaser
			ageing
			Mover
		}{p, a.Releaser, a.Generations, a.Mover}
	case 22:
		return struct {
			Pager
			Reserver
			ageing
			Mover
		}{p, a.Reserver, a.Generations, a.Mover}
	case 23:
		return struct {
			Pager
			Releaser
			Reserver
			ageing
			Mover
		}{p, a.Releaser, a.Reserver, a.Generations, a.Mover}
	case 24:
		return struct {
			Pager
			digesting
			Mover
		}{p, comparing{a.Digester}, a.Mover}
	case 25:
		return struct {
			Pager
			Releaser
			digesting
			Mover
		}{p, a.Releaser, comparing{a.Digester}, a.Mover}
	case 26:
		return struct {
			Pager
			Reserver
			digesting
			Mover
		}{p, a.Reserver, comparing{a.Digester}, a.Mover}
	case 27:
		return struct {
			Pager
			Releaser
			Reserver
			digesting
			Mover
		}{p, a.Releaser, a.Reserver, comparing{a.Digester}, a.Mover}
	case 28:
		return struct {
			Pager
			ageing
			digesting
			Mover
		}{p, a.Generations, comparing{a.Digester}, a.Mover}
	case 29:
		return struct {
			Pager
			Releaser
			ageing
			digesting
			Mover
		}{p, a.Releaser, a.Generations, comparing{a.Digester}, a.Mover}
	case 30:
		return struct {
			Pager
			Reserver
			ageing
			digesting
			Mover
		}{p, a.Reserver, a.Generations, comparing{a.Digester}, a.Mover}
	case 31:
		return struct {
			Pager
			Releaser
			Reserver
			ageing
			digesting
			Mover
		}{p, a.Releaser, a.Reserver, a.Generations, comparing{a.Digester}, a.Mover}
	}
	return struct{ Pager }{p}
}
