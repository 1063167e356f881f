//go:build !amd64 && !arm64

package planes

// available are the kernels that this processor can run, the fastest first.
func available() []*kernels { return []*kernels{&portable} }
