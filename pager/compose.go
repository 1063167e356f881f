package pager

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
			Digester
		}{p, a.Digester}
	case 9:
		return struct {
			Pager
			Releaser
			Digester
		}{p, a.Releaser, a.Digester}
	case 10:
		return struct {
			Pager
			Reserver
			Digester
		}{p, a.Reserver, a.Digester}
	case 11:
		return struct {
			Pager
			Releaser
			Reserver
			Digester
		}{p, a.Releaser, a.Reserver, a.Digester}
	case 12:
		return struct {
			Pager
			ageing
			Digester
		}{p, a.Generations, a.Digester}
	case 13:
		return struct {
			Pager
			Releaser
			ageing
			Digester
		}{p, a.Releaser, a.Generations, a.Digester}
	case 14:
		return struct {
			Pager
			Reserver
			ageing
			Digester
		}{p, a.Reserver, a.Generations, a.Digester}
	case 15:
		return struct {
			Pager
			Releaser
			Reserver
			ageing
			Digester
		}{p, a.Releaser, a.Reserver, a.Generations, a.Digester}
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
			Digester
			Mover
		}{p, a.Digester, a.Mover}
	case 25:
		return struct {
			Pager
			Releaser
			Digester
			Mover
		}{p, a.Releaser, a.Digester, a.Mover}
	case 26:
		return struct {
			Pager
			Reserver
			Digester
			Mover
		}{p, a.Reserver, a.Digester, a.Mover}
	case 27:
		return struct {
			Pager
			Releaser
			Reserver
			Digester
			Mover
		}{p, a.Releaser, a.Reserver, a.Digester, a.Mover}
	case 28:
		return struct {
			Pager
			ageing
			Digester
			Mover
		}{p, a.Generations, a.Digester, a.Mover}
	case 29:
		return struct {
			Pager
			Releaser
			ageing
			Digester
			Mover
		}{p, a.Releaser, a.Generations, a.Digester, a.Mover}
	case 30:
		return struct {
			Pager
			Reserver
			ageing
			Digester
			Mover
		}{p, a.Reserver, a.Generations, a.Digester, a.Mover}
	case 31:
		return struct {
			Pager
			Releaser
			Reserver
			ageing
			Digester
			Mover
		}{p, a.Releaser, a.Reserver, a.Generations, a.Digester, a.Mover}
	}
	return struct{ Pager }{p}
}
