package fsdir

// SpendNumbers leaves none that is reserved.
func (x *Index) SpendNumbers() { x.limit = x.feed.Seq() }

// SetMaxIdle makes workers without records few.
func (x *Index) SetMaxIdle(n int) { x.mostIdle = n }
