package lsm

// SetPartBytes makes the batches of removals small.
func (x *Index) SetPartBytes(n int) { x.partBytes = n }
