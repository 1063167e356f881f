// Package demotest makes a model for tests of the demo that costs next to
// nothing to run.
package demotest

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// The shape of the model; its vocabulary is the reserved tokens and the bytes.
const (
	dim, hidden, layers, heads, kvHeads = 16, 24, 2, 4, 2
	vocab, seqLen                       = 3 + 256, 512
	kvDim                               = dim / heads * kvHeads
)

// WriteModel writes a llama2.c checkpoint with weights that mean nothing, and
// its tokenizer, into dir and returns their paths.
func WriteModel(dir string) (checkpoint, tokenizer string, err error) {
	var b []byte
	for _, n := range []uint32{dim, hidden, layers, heads, kvHeads, vocab, seqLen} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	weights := vocab*dim + layers*(dim+2*dim*dim+2*kvDim*dim+dim+3*hidden*dim) + dim + seqLen*dim/heads
	x := uint32(1)
	for range weights {
		x = x*1664525 + 1013904223
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(int32(x))/(1<<32)))
	}
	pieces := []string{"<unk>", "<s>", "</s>"}
	for c := range 256 {
		pieces = append(pieces, fmt.Sprintf("<0x%02X>", c))
	}
	t := binary.LittleEndian.AppendUint32(nil, uint32(len(pieces[3])))
	for _, p := range pieces {
		t = binary.LittleEndian.AppendUint32(t, 0) // score
		t = binary.LittleEndian.AppendUint32(t, uint32(len(p)))
		t = append(t, p...)
	}
	checkpoint, tokenizer = filepath.Join(dir, "model.bin"), filepath.Join(dir, "tokenizer.bin")
	if err := os.WriteFile(checkpoint, b, 0o600); err != nil {
		return "", "", err
	}
	return checkpoint, tokenizer, os.WriteFile(tokenizer, t, 0o600)
}
