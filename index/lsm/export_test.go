package lsm

// SetPartBytes makes the batches of removals small.
func (x *Index) SetPartBytes(n int) { x.partBytes = n }

// SpendNumbers leaves none that is reserved.
func (x *Index) SpendNumbers() {
	<-x.writer
	defer x.unlock()
	x.limit = x.feed.Seq()
}
