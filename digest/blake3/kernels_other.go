//go:build !amd64

package blake3

// tree is what the kernels keep while they hash; there are none here.
type tree struct{}

func (*tree) init() {}

// available are the kernels that this processor can run, the fastest first.
func available() []kernel { return []kernel{library} }

// sumAVX512 and manyAVX512 are never called, since there is no such kernel.
func (*Hasher) sumAVX512([]byte) [32]byte { panic("blake3: no AVX-512") }

func (*Hasher) manyAVX512([][32]byte, [][]byte) { panic("blake3: no AVX-512") }
