package memory_test

import "context"

// panics is a context that panics when it is asked.
type panics struct{ context.Context }

func (panics) Err() error { panic("asked") }
