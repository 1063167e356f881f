//go:build race

package capture_test

// thin is how many times fewer places the sweeps over faults and damage look
// at under the race detector: what it is after are orders of goroutines, which
// are the same at most places, and the plain tests look at every one. It is
// odd, so that strides still come by every bit of a byte.
const thin = 3
