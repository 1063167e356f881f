//go:build race

package table

// The model is one goroutine: the race detector gets a part of it, and of the
// digests, so that as much happens to each.
const (
	modelSteps   = 1800
	modelDigests = 500
)
