//go:build !amd64

package blake3

// tree is what the kernels keep while they hash; there are none here.
type tree struct{}

func (*tree) init() {}

// available are the kernels that this processor can run, the fastest first.
func available() []kernel { return []kernel{library} }

// sumAVX512 is never called, since it is not available.
func (*Hasher) sumAVX512([]byte) [32]byte { panic("blake3: no AVX-512") }
