package kernels

import _ "embed" // the PTX

//go:embed kernels.ptx
var ptx []byte

// PTX returns the text that Open compiles: PTX ISA 7.0 for compute capability
// 8.0, which every driver since CUDA 11.0 compiles for every device since.
func PTX() string { return string(ptx) }
