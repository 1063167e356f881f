package fsdir

// SpendNumbers leaves none that is reserved.
func (x *Index) SpendNumbers() { x.limit = x.feed.Seq() }
