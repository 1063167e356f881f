package lsm

// SetPartBytes makes the batches of removals small.
func (x *Index) SetPartBytes(n int) { x.partBytes = n }

// SpendNumbers leaves none that is reserved.
func (x *Index) SpendNumbers() error { return x.number(x.feed.Seq(), x.feed.Seq()) }
