//go:build race

package dir_test

// faultStride is how many operations lie between two that fail: a commit is one
// goroutine's, and without the race detector each of them fails.
const faultStride = 3
